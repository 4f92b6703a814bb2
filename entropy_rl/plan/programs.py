"""The programs of a training step, compiled for chips that need not be there; nothing is allocated.

They are the functions that training itself calls, with stand-ins for their arrays: what one program returns
has the shapes and the shardings with which the next is compiled.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.parallelism import parameter_shardings, spec_of
from entropy_rl.plan.compiler import compile_once
from entropy_rl.plan.job import Job
from entropy_rl.sampler import Sampler, wave, working
from entropy_rl.training import learner as learning
from entropy_rl.training.batch import Minibatch
from entropy_rl.training.learner import Learner
from entropy_rl.types import Rollout

PHASES = ("reshard", "prefill", "decode", "ref_logp", "old_logp", "update")
"""Programs of a step in the order in which they run; not every run needs the first and the fourth."""

FIRST_SEGMENT = 128
"""Any size would do."""

ANY_TOKEN = 0
"""Stands for the tokenizer's stop token and padding: which they are changes no program's size."""


@dataclass(frozen=True)
class Program:
    """What is known of one compiled program, of one chip."""

    argument_bytes: int
    output_bytes: int
    """Of results that do not take the place of arguments."""
    temporary_bytes: int
    host_bytes: int
    """Memory of the host: what is offloaded."""
    flops: float
    """By XLA's cost analysis, which counts the body of a loop once; 0 for GPUs."""
    text: str
    seconds: float
    """What compiling took."""

    @property
    def total_bytes(self) -> int:
        """All that must be in memory while it runs."""
        return self.argument_bytes + self.output_bytes + self.temporary_bytes


@dataclass(frozen=True)
class Programs:
    """The programs of a job, compiled as they are asked for."""

    job: Job
    tell: Callable[[str], None] = field(default=lambda line: None)
    """Is told what is compiled, which takes a while; from any thread."""

    @property
    def _devices(self) -> list[jax.Device]:
        return self.job.topology.devices()

    @cached_property
    def mesh(self) -> Mesh:
        """The mesh of the topology's devices."""
        return self.job.config.mesh.build(self._devices)

    @cached_property
    def policy(self) -> Policy:
        """The policy with the kernels of the topology's chips."""
        return self.job.config.policy_of(self.job.architecture, self._devices)

    @cached_property
    def learner(self) -> Learner:
        """The learner that training would make."""
        return self.job.config.learner(self.policy, self._devices)

    @cached_property
    def sampler(self) -> Sampler:
        """The sampler that training would make."""
        batch = self.job.config.batch
        return Sampler(
            policy=self.policy,
            sampling=self.job.config.sampling,
            stop_ids=(ANY_TOKEN,),
            pad_id=ANY_TOKEN,
            num_samples=batch.samples_per_prompt,
            max_new_tokens=self.job.responses.longest,
            prompts_per_wave=batch.prompts_per_wave,
            watches_logits=True,
        )

    @cached_property
    def params(self):
        """Parameters in training's layout."""
        shapes = self.policy.abstract_params(self.job.config.policy.param_dtype)
        return _place(shapes, parameter_shardings(self.mesh, logical_axes(self.job.architecture), shapes))

    @cached_property
    def working(self):
        """Parameters as the sampler reads them."""
        if not self.sampler.needs_working_params(self.params):
            return self.params
        compiled, shapes = self._compiled("reshard"), jax.eval_shape(self.sampler.working_params, self.params)
        return _place(shapes, compiled.output_shardings)

    def program(self, phase: str) -> Program:
        """One of PHASES. Raises DoesNotFitError when the compiler says that it, or a program whose results it
        takes, is too large."""
        compiled, seconds = self._compiled_in(phase)
        memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
        cost = cost[0] if isinstance(cost, list) else cost
        return Program(
            argument_bytes=memory.argument_size_in_bytes,
            output_bytes=memory.output_size_in_bytes - memory.alias_size_in_bytes,
            temporary_bytes=memory.temp_size_in_bytes,
            host_bytes=memory.host_temp_size_in_bytes,
            flops=max(cost.get("flops", 0.0), 0.0),
            text=compiled.as_text(),
            seconds=seconds,
        )

    def lowered(self, phase: str) -> jax.stages.Lowered:
        """One of PHASES before it is compiled."""
        return getattr(self, f"_{phase}")()

    def _compiled(self, phase: str) -> jax.stages.Compiled:
        return self._compiled_in(phase)[0]

    def _compiled_in(self, phase: str) -> tuple[jax.stages.Compiled, float]:
        return self._compile(phase, self.lowered(phase))

    def _compile(self, name: str, lowered: jax.stages.Lowered) -> tuple[jax.stages.Compiled, float]:
        return compile_once(name, lowered, self.job.topology.name, self.tell)

    def _reshard(self):
        return working.working_params.lower(self.policy, self.params)

    def _prefill(self):
        prompts, S = self.job.prompts_per_wave, self.job.prompts.longest
        return wave.prefill_wave.lower(
            self.sampler,
            self.working,
            self._by_prompt((prompts, S), jnp.int32),
            self._by_prompt((prompts, S), jnp.bool_),
            self._by_prompt((prompts,), jnp.int32),
            self._key,
        )

    def _decode(self):
        """The last of the decode programs, whose cache is the largest."""
        prefill = self.lowered("prefill")
        of_prompts, responses = _place(prefill.out_info, self._compiled("prefill").output_shardings)
        segments = [self._segment(size) for size in wave.segment_sizes(self.job.responses.longest)]
        *past, cache = segments
        number = self._whole((), jnp.int32)
        return wave.decode_call.lower(
            self.sampler, self.working, of_prompts, tuple(past), cache, responses, number
        )

    def _old_logp(self):
        packing = self.learner.abstract_packing(self._rollout)
        return learning._log_probs.lower(self.learner, self.params, self._rollout, packing)

    # Of the whole rollout at once, which changes the inputs alone: micro-batches are the same.
    _ref_logp = _old_logp

    def _update(self):
        P, G, T = self._responses_shape
        known, regularizer = None, self.job.config.regularizer
        if regularizer.needs_reference:
            known = self._by_prompt((P, G, T), jnp.float32)
        batch = Minibatch(
            rollout=self._rollout,
            adv_PG=self._by_prompt((P, G), jnp.float32),
            old_logp_PGT=self._by_prompt((P, G, T), jnp.float32),
            on_policy=self._whole((), jnp.bool_),
            ref_logp_PGT=known,
            entropy_coef=self._whole((), jnp.float32) if regularizer.needs_entropy else None,
        )
        packing = self.learner.abstract_packing(self._rollout)
        return learning._update.lower(self.learner, self.state, batch, self._key, packing)

    @cached_property
    def state(self):
        """Parameters and optimiser state, as training lays them out at its start."""
        lowered = learning._init.lower(self.learner, self.params)
        compiled, _ = self._compile("the optimiser's state", lowered)
        return _place(lowered.out_info, compiled.output_shardings)

    @property
    def _responses_shape(self) -> tuple[int, int, int]:
        batch = self.job.config.batch
        return batch.prompts_per_update, batch.samples_per_prompt, self.job.responses.longest

    @property
    def _rollout(self) -> Rollout:
        P, G, T = self._responses_shape
        S = self.job.prompts.longest
        return Rollout(
            prompt_ids_PS=self._by_prompt((P, S), jnp.int32),
            prompt_mask_PS=self._by_prompt((P, S), jnp.bool_),
            prompt_id_P=self._by_prompt((P,), jnp.int32),
            response_ids_PGT=self._by_prompt((P, G, T), jnp.int32),
            response_mask_PGT=self._by_prompt((P, G, T), jnp.bool_),
            behavior_logp_PGT=self._by_prompt((P, G, T), jnp.float32),
            logp_PGT=self._by_prompt((P, G, T), jnp.float32),
        )

    def _segment(self, size: int):
        """One segment of the cache; all lie alike, so that one is compiled."""
        shapes = self._empty_segment(size).out_info
        if self.mesh.size == 1:  # a program of no arguments and no mesh would be one for the CPU
            return _place(shapes, NamedSharding(self.mesh, spec_of(())))
        compiled, _ = self._compile("the cache", self._empty_segment(FIRST_SEGMENT))
        return _place(shapes, compiled.output_shardings)

    def _empty_segment(self, size: int):
        return wave.empty_segment.lower(self.sampler, self.job.prompts_per_wave, size)

    @property
    def _key(self):
        return _place(jax.eval_shape(lambda: jax.random.key(0)), NamedSharding(self.mesh, spec_of(())))

    def _by_prompt(self, shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(self.mesh, spec_of(("batch",))))

    def _whole(self, shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(self.mesh, spec_of(())))


def _place(shapes, shardings):
    """Stand-ins of these shapes, lying so: a tree of shardings, or one for all."""
    if isinstance(shardings, jax.sharding.Sharding):
        shardings = jax.tree.map(lambda _: shardings, shapes)
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes, shardings
    )
