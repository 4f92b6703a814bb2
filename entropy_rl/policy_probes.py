"""Looking at the policies of a run themselves: what they are sure of, and whether settings really act.

Each policy answers some training prompts of the run's own task by the run's own sampler. What is told of it
is of those tokens, or of as many of them as the memory of their logits allows (training/theory_probe.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from entropy_rl.config import RunConfig
from entropy_rl.data.pipeline import collate
from entropy_rl.data.prompts import Prompt, within_length
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.objectives import Regularizer, as_float, entropy_of_logits, masked_mean
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.probes import Probes
from entropy_rl.parallelism import MeshConfig
from entropy_rl.recorded_config import recorded_config
from entropy_rl.sampler import Sampling
from entropy_rl.sampler.estimates import certainty, likeliest_temperature, with_repetition_penalty
from entropy_rl.starting_policy import (
    demonstration_pairs,
    load_policy,
    policy_before_warm_start,
    warm_start_folder,
)
from entropy_rl.stored_policy import StoredPolicy
from entropy_rl.training.batch import Minibatch
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.theory_probe import TheoryProbe
from entropy_rl.training.warm_start import Demonstrations, supervised_loss
from entropy_rl.types import Rollout

NUM_PROMPTS = 32
NUM_SAMPLES = 4
"""Responses to each prompt."""
MAX_NEW_TOKENS = 64
"""Only the beginnings of longer responses are looked at."""
NUM_DEMONSTRATIONS = 128
"""Those on which the start policy's loss is measured."""
MOST_UPDATES = 16
"""By the entropy term alone, until entropy has changed by MEASURABLE_NATS: learning rates may be tiny."""
MEASURABLE_NATS = 1e-3


def probe_policy(record: RunRecord, policy: Path, *, repetition_penalty: float = 1.0) -> Probes:
    """Looks at the policies that a run came from, and at this one: a run's folder or a Hugging Face folder.

    On the first device, whatever the mesh of the run. A policy that is no longer where the settings say is
    left out. The sampler applies no repetition penalty; what one of this size would do is told all the same.
    Raises ValueError where the run's settings cannot be read, or the policy cannot.
    """
    config = replace(recorded_config(record.path), mesh=MeshConfig())
    if repetition_penalty <= 0:
        raise ValueError(f"repetition_penalty must be positive, got {repetition_penalty}; 1 is none")
    present = load_policy(config, policy)
    trained = config.task.train_prompts(present.tokenizer).prompts
    prompts = _some_of(trained, config, present)
    base = _look(config, lambda: _base(config), prompts)
    start = _look(config, lambda: _start(config), prompts) if config.warm_start else base
    look = Look.at(config, present, prompts)
    drawn_at = likeliest_temperature(look.logits_NV, look.token_N)
    probability_at_1, probability_drawn = (
        certainty(look.logits_NV, temperature)[0].mean() for temperature in (1.0, drawn_at)
    )
    without, held = look.entropies_under_penalty(repetition_penalty)
    return Probes(
        **_named("base", base),
        **_named("start", start),
        **_named("policy", look.certainty()),
        repetition_penalty=repetition_penalty,
        entropy_without_penalty_nats=without,
        entropy_with_penalty_nats=held,
        temperature=config.sampling.temperature,
        temperature_effect=float(probability_at_1 - probability_drawn),
        **demonstration_numbers(config, present.tokenizer, trained),
        entropy_bonus_change_nats=entropy_bonus_change(config, present, look.rollout),
    )


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a policy drew, with all that it might have drawn."""

    temperature: float
    """The configured one."""
    rollout: Rollout
    logits_NV: Float[Array, "N V"]
    """Of the chosen tokens, unscaled, by a pass of the learner."""
    token_N: Int32[Array, " N"]
    """The tokens that were drawn."""
    place_N: tuple[np.ndarray, np.ndarray]
    """(sequence, place in the response) of each, among the P G sequences of the rollout."""

    @classmethod
    def at(cls, config: RunConfig, stored: StoredPolicy, prompts: list[Prompt]) -> "Look":
        """The policy's answers to these prompts, drawn at the run's temperature from the whole vocabulary."""
        longest = max(len(prompt.encode(stored.tokenizer)) for prompt in prompts)
        batch = collate(prompts, stored.tokenizer, longest)
        sampler = replace(
            config.sampler(stored.policy, stored.tokenizer),
            # Without a cut of the distribution, which would tell of itself and not of the temperature.
            sampling=Sampling(temperature=config.sampling.temperature),
            num_samples=NUM_SAMPLES,
            max_new_tokens=min(config.task.max_response_tokens, MAX_NEW_TOKENS),
            prompts_per_wave=None,
        )
        arrays = map(jnp.asarray, (batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P))
        rollout = sampler(sampler.working_params(stored.params), *arrays, config.key("sampler"))
        learner = replace(config.learner(stored.policy), temperature=1.0)
        probe = TheoryProbe.before(learner, stored.params, rollout, 1.0)
        slot_BT = np.asarray(probe.share.slot_BT)
        place_N = np.nonzero(slot_BT)  # row by row, as tokens are numbered
        return cls(
            temperature=config.sampling.temperature,
            rollout=rollout,
            logits_NV=probe.logits_MNV.reshape(-1, probe.logits_MNV.shape[-1])[: len(place_N[0])],
            token_N=jnp.asarray(np.asarray(probe.share.rollout.response_ids_PGT)[:, 0][place_N]),
            place_N=place_N,
        )

    def certainty(self) -> dict[str, float]:
        """Means at the configured temperature."""
        max_probability_N, gap_N = certainty(self.logits_NV, self.temperature)
        entropy_N = entropy_of_logits(self.logits_NV / self.temperature)
        means = {"entropy_nats": entropy_N, "max_probability": max_probability_N, "gap": gap_N}
        return {name: float(x_N.mean()) for name, x_N in means.items()}

    def entropies_under_penalty(self, penalty: float) -> tuple[float, float]:
        """Mean entropy (nats) at the configured temperature, without a repetition penalty and with it."""
        prompt_ids_PS, prompt_mask_PS, ids_PGT = (
            np.asarray(x)
            for x in (self.rollout.prompt_ids_PS, self.rollout.prompt_mask_PS, self.rollout.response_ids_PGT)
        )
        group, length = ids_PGT.shape[1:]
        seen_NV = np.zeros(self.logits_NV.shape, bool)
        for n, (sequence, place) in enumerate(zip(*self.place_N, strict=True)):
            prompt = sequence // group
            seen_NV[n, prompt_ids_PS[prompt, prompt_mask_PS[prompt]]] = True
            seen_NV[n, ids_PGT.reshape(-1, length)[sequence, :place]] = True
        penalised_NV = with_repetition_penalty(self.logits_NV, jnp.asarray(seen_NV), penalty)
        without, held = (
            float(entropy_of_logits(logits_NV / self.temperature).mean())
            for logits_NV in (self.logits_NV, penalised_NV)
        )
        return without, held


def entropy_bonus_change(config: RunConfig, stored: StoredPolicy, rollout: Rollout) -> float:
    """Entropy (nats) on the tokens of a rollout after updates of nothing but the entropy bonus, minus before.

    The updates are the run's own, by its optimizer and its objective, but for what is not the bonus: all
    advantages are 0, on policy, without weight decay or a KL term. The bonus has the run's coefficient, or 1
    where that is 0. `stored.params` are donated.
    """
    learner = config.learner(stored.policy)
    coef = config.regularizer.entropy_coef or 1.0
    without_decay = {"weight_decay": 0.0} if isinstance(config.optimizer, AdamW) else {}
    learner = replace(
        learner,
        regularizer=Regularizer(entropy_coef=coef),
        optimizer=replace(config.optimizer, warmup_updates=0, **without_decay),
        layout=learner.layout.for_prompts(len(rollout.prompt_id_P), 1),
    )
    packing, mask_PGT = learner.packing(rollout), rollout.response_mask_PGT

    def entropy(params) -> float:
        _, entropy_PGT = learner.log_probs(params, rollout, packing=packing)
        return float(masked_mean(as_float(entropy_PGT), mask_PGT))

    before, state = entropy(stored.params), learner.init(stored.params)
    batch = Minibatch(
        rollout=rollout,
        adv_PG=jnp.zeros(mask_PGT.shape[:2]),
        old_logp_PGT=rollout.logp_PGT,
        on_policy=jnp.bool_(True),
    )
    for number in range(MOST_UPDATES):
        state, _ = learner.update(state, batch, config.key("selection", number), packing=packing)
        change = entropy(state.params) - before
        if abs(change) > MEASURABLE_NATS:
            break
    return change


def _some_of(trained: Sequence[Prompt], config: RunConfig, stored: StoredPolicy) -> list[Prompt]:
    """The first that are short enough."""
    few = trained[: 8 * NUM_PROMPTS]
    return within_length(few, stored.tokenizer, config.task.max_prompt_tokens)[:NUM_PROMPTS]


def _look(
    config: RunConfig, load: Callable[[], StoredPolicy | None], prompts: list[Prompt]
) -> dict[str, float] | None:
    """What is told of a policy, which is gone on return; None where there is none."""
    stored = load()
    return None if stored is None else Look.at(config, stored, prompts).certainty()


def _base(config: RunConfig) -> StoredPolicy | None:
    directory = config.policy.directory
    return policy_before_warm_start(config) if directory is None or directory.is_dir() else None


def _start(config: RunConfig) -> StoredPolicy | None:
    """The warm-started policy, if it is still kept; none is made anew."""
    if config.policy.directory is not None and not config.policy.directory.is_dir():
        return None
    kept = warm_start_folder(config)
    return load_policy(config, kept) if (kept / "config.json").is_file() else None


def _named(whose: str, numbers: dict[str, float] | None) -> dict[str, float]:
    return {f"{whose}_{name}": value for name, value in (numbers or {}).items()}


def demonstration_numbers(config: RunConfig, tokenizer: Tokenizer, trained: Sequence[Prompt]) -> dict:
    """What the warm start learned from, beside the training prompts; nothing without one."""
    if config.warm_start is None:
        return {}
    pairs = demonstration_pairs(config)
    lengths = np.array([len(tokenizer.encode(completion)) + 1 for _, completion in pairs])
    shown = {prompt for prompt, _ in pairs}
    loss, start = {}, _start(config)
    if start is not None:
        some = Demonstrations.encode(pairs[:NUM_DEMONSTRATIONS], tokenizer)
        arrays = map(jnp.asarray, some.rows(np.arange(len(some.prompt_ids_NS))))
        loss_of = jax.jit(supervised_loss, static_argnums=0)
        loss = {"demonstration_loss_nats": float(loss_of(start.policy, start.params, *arrays))}
    return {
        "demonstration_overlap_fraction": float(np.mean([prompt.text in shown for prompt in trained])),
        "demonstration_length_quantiles_tokens": (
            float(lengths.min()),
            float(np.median(lengths)),
            float(lengths.mean()),
        ),
        **loss,
    }
