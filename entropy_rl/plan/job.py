"""What a plan is of: a run, the chips it is to run on, and how long its prompts and responses are."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from entropy_rl.config import RunConfig
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.hf import load_config as load_architecture
from entropy_rl.models.policy import Policy
from entropy_rl.plan.lengths import Lengths
from entropy_rl.plan.topology import Topology
from entropy_rl.sampler.wave import segment_sizes
from entropy_rl.training.layout import Packed
from entropy_rl.training.learner import Learner
from entropy_rl.training.packing import Geometry, place

NUM_DRAWS = 4
"""Mini-batches that are drawn and packed to see how many micro-batches an update takes."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run on a topology."""

    config: RunConfig
    topology: Topology
    prompts: Lengths
    """Tokens of a prompt."""
    responses: Lengths
    """Tokens of a response, the stop token among them."""

    def __post_init__(self):
        mesh, chips = self.config.mesh, self.topology.num_chips
        if mesh.size != chips:
            raise ValueError(
                f"mesh.data * mesh.fsdp * mesh.tensor must be the {chips} chips of {self.topology.name}, got "
                f"{mesh.data} x {mesh.fsdp} x {mesh.tensor}"
            )

    @cached_property
    def architecture(self) -> Qwen2Config:
        """Sizes of the policy, given or read from its folder."""
        policy = self.config.policy
        return policy.architecture or load_architecture(Path(policy.directory))

    @property
    def num_shards(self) -> int:
        """Shards of tokens: data x fsdp."""
        return self.config.num_shards

    @property
    def num_sequences(self) -> int:
        """Responses of one step."""
        return self.config.batch.prompts_per_step * self.config.batch.samples_per_prompt

    @property
    def sequences_per_update(self) -> int:
        """Responses of one mini-batch."""
        return self.config.batch.prompts_per_update * self.config.batch.samples_per_prompt

    @property
    def prompts_per_wave(self) -> int:
        """Prompts that are sampled together."""
        return self.config.batch.prompts_per_wave or self.config.batch.prompts_per_step

    @property
    def num_waves(self) -> int:
        """Waves of one step."""
        return -(-self.config.batch.prompts_per_step // self.prompts_per_wave)

    @property
    def wave_sizes(self) -> list[int]:
        """Sizes of a wave that the plan may choose from, the largest first."""
        prompts = self.config.batch.prompts_per_step
        return [n for n in range(prompts, 0, -1) if prompts % n == 0 and n % self.num_shards == 0]

    @property
    def decode_steps(self) -> float:
        """Expected tokens drawn one after another in a wave: its longest response, without the first token,
        which prefill draws."""
        of_wave = self.prompts_per_wave * self.config.batch.samples_per_prompt
        return max(self.responses.expected_longest(of_wave) - 1, 0.0)

    @cached_property
    def mean_slots(self) -> float:
        """Slots of a sequence's cache that exist, full or not, in the mean over a wave's decode steps."""
        full, steps, reads, drawn = 0, self.decode_steps, 0.0, 0.0
        for size in segment_sizes(self.responses.longest):
            full += size
            here = min(steps - drawn, size)
            reads, drawn = reads + here * full, drawn + here
        return reads / max(steps, 1e-9)

    @property
    def geometry(self) -> Geometry | None:
        """Shapes of packed micro-batches; None where rows are padded."""
        layout = self.config.batch.layout
        if not isinstance(layout, Packed):
            return None
        longest = self.prompts.longest + self.responses.longest
        return layout.geometry(self.sequences_per_update, longest, self.num_shards)

    @cached_property
    def _placed(self) -> tuple[tuple[float, ...], float]:
        """(Expected micro-batches of an update, of each shape; expected share of slots that is empty)."""
        random, batch = np.random.default_rng(0), self.config.batch
        counts, padding = [], []
        for _ in range(NUM_DRAWS):
            prompt = random.choice(self.prompts.quantiles(1024), batch.prompts_per_update)
            response = random.choice(self.responses.quantiles(4096), self.sequences_per_update)
            slots = np.repeat(prompt, batch.samples_per_prompt) + response - 1
            counts.append(place(slots, self.geometry).counts)
            padding.append(1 - slots.sum() / np.dot(counts[-1], self.geometry.slots))
        return tuple(np.mean(counts, axis=0).tolist()), float(np.mean(padding))

    @property
    def microbatches(self) -> tuple[float, ...]:
        """Expected micro-batches of an update, of each shape of the geometry."""
        return self._placed[0]

    @property
    def padding_fraction(self) -> float:
        """Expected share of an update's slots that hold no token."""
        if self.geometry is not None:
            return self._placed[1]
        S, T, group = self.prompts, self.responses, self.config.batch.samples_per_prompt
        return 1 - (S.mean + group * (T.mean - 1)) / (S.longest + group * max(T.longest - 1, 1))

    @property
    def num_updates(self) -> int:
        """Optimiser updates of a step."""
        return self.config.batch.updates_per_step

    @cached_property
    def learner(self) -> Learner:
        """The learner without its kernels: enough to ask which passes it makes."""
        config = self.config
        return Learner(
            policy=Policy(self.architecture),
            objective=config.objective,
            optimizer=config.optimizer,
            regularizer=config.regularizer,
            layout=config.batch.layout,
        )

    @property
    def num_old_logp(self) -> int:
        """Mini-batches of a step whose old log-probs take a pass."""
        return self.num_updates if self.learner.needs_first_statistics else self.num_updates - 1

    @property
    def num_selections(self) -> int:
        """Mini-batches of a step whose tokens take a forward pass to be chosen ahead of the gradient."""
        return self.num_updates - 1 if self.learner.chooses_ahead else 0

    def with_wave(self, prompts_per_wave: int) -> "Job":
        """The same in waves of that size."""
        batch = replace(self.config.batch, prompts_per_wave=prompts_per_wave)
        return replace(self, config=replace(self.config, batch=batch))
