"""All updates of one rollout: which mini-batches, which old log-probs, and what the step reports."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from entropy_rl.objectives import CoefficientOfStep
from entropy_rl.observability.clock import Clock
from entropy_rl.training.batch import Minibatch
from entropy_rl.training.learner import Learner, TrainState, UpdateReport
from entropy_rl.training.theory_probe import TheoryProbe, theorem_metrics
from entropy_rl.training.update_metrics import mean_entropy, over_updates, rollout_metrics, token_metrics
from entropy_rl.types import Rollout, tree_of_arrays


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class SeenTokens:
    """What was found of the tokens of one mini-batch."""

    rollout: Rollout
    logp_PGT: Float[Array, "P G T"]
    """The learner's before the first update of the step."""
    entropy_PGT: Float[Array, "P G T"]
    """Of the same policy, nats."""
    covariance_PGT: Float[Array, "P G T"]
    """As in the `UpdateReport` of its update."""
    selected_PGT: Bool[Array, "P G T"]


def learn(
    learner: Learner,
    state: TrainState,
    rollout: Rollout,
    adv_PG: Float[Array, "P G"],
    key: jax.Array,
    *,
    prompts_per_update: int,
    num_updates: int | None = None,
    ref_logp_PGT: Float[Array, "P G T"] | None = None,
    stale_P: Bool[Array, " P"] | None = None,
    theory_fraction: float | None = None,
    entropy_coef: Callable[[float | None], float] | None = None,
    clock: Clock | None = None,
    on_pause: Callable[[], None] = lambda: None,
) -> tuple[TrainState, dict[str, float | int], list[SeenTokens]]:
    """Updates on consecutive mini-batches of whole groups.

    Returns the state, the metrics of the step, and what was found of the tokens of each mini-batch.

    Only the first `num_updates` mini-batches are learned from (None: all). Groups without a token in any
    response change nothing. Those of `stale_P` were sampled before this step (None: none was): what they tell
    of sampler and learner is reported apart. With `theory_fraction` the theory's two sides are measured too,
    on at most this share of the responses. `entropy_coef` is told the entropy of what is learned from, where
    the entropy bonus goes by it, and tells the bonus's coefficient (None: that of a run's first step).

    `state` is donated to the first update, before which `on_pause` is called. Mini-batches lie on the devices
    as the rollout does. How they are packed is decided before the first update, so that the host waits for
    none of them.

    In the first update old log-probs are the current ones; only the mini-batches after it need a pass for
    theirs, made before anything changes. With one update a rollout there is no such pass at all, unless
    tokens must be chosen before the first micro-batch's gradient (`Learner.needs_first_old_logp`), or the
    entropy bonus goes by the entropy of the whole rollout.
    """
    clock = clock or Clock()
    num_updates = num_updates or len(adv_PG) // prompts_per_update
    whole = (rollout, adv_PG, ref_logp_PGT)
    parts = [_prompts(whole, n * prompts_per_update, prompts_per_update) for n in range(num_updates)]
    with clock("old_logp"):
        packings = [learner.packing(part) for part, *_ in parts]
        known = _old_statistics(learner, state, [part for part, *_ in parts], packings)
        coef = _entropy_coef(learner, rollout, known, entropy_coef)
    probe = _theory_before(learner, state, rollout, theory_fraction, clock)
    on_pause()
    with clock("update"):
        state, reports = _updates(learner, state, parts, packings, known, coef, key)
        jax.block_until_ready(state)
    before = [(reports[0].logp_PGT, reports[0].entropy_PGT), *(known[n] for n in range(1, num_updates))]
    seen = [_seen(mine, *rest) for (mine, *_), *rest in zip(parts, before, reports, strict=True)]
    metrics = _step_metrics(learner, rollout, stale_P, len(known), seen, reports)
    metrics |= {} if coef is None else {"guard/entropy_coef": coef}
    return state, metrics | _theory_after(probe, state, rollout, adv_PG, before, clock), seen


def _seen(rollout: Rollout, before: tuple, report: UpdateReport) -> SeenTokens:
    """Of one mini-batch; `before` are its (logp, entropy) before the updates of the step."""
    return SeenTokens(
        rollout=rollout,
        logp_PGT=before[0],
        entropy_PGT=before[1],
        covariance_PGT=report.covariance_PGT,
        selected_PGT=report.selected_PGT,
    )


def _updates(
    learner: Learner,
    state: TrainState,
    parts: list[tuple],
    packings: list,
    known: dict[int, tuple],
    entropy_coef: float | None,
    key: jax.Array,
) -> tuple[TrainState, list[UpdateReport]]:
    """One update on each mini-batch (rollout, adv_PG, ref_logp_PGT)."""
    reports = []
    for number, (rollout, adv_PG, ref_logp_PGT) in enumerate(parts):
        batch = Minibatch(
            rollout=rollout,
            adv_PG=adv_PG,
            # Of the first they are not looked at where they are not known.
            old_logp_PGT=known[number][0] if number in known else rollout.logp_PGT,
            on_policy=jnp.bool_(number == 0),
            ref_logp_PGT=ref_logp_PGT,
            entropy_coef=None if entropy_coef is None else jnp.float32(entropy_coef),
        )
        fold_key = jax.random.fold_in(key, number)
        state, report = learner.update(state, batch, fold_key, packing=packings[number])
        reports.append(report)
    return state, reports


def _prompts(tree, start: int, number: int):
    """So many prompts of every array from one on, each lying as the whole does."""
    leaves, structure = jax.tree.flatten(tree)
    cut = _cut_into(tuple(leaf.sharding for leaf in leaves), number)
    return jax.tree.unflatten(structure, cut(leaves, start))


@cache
def _cut_into(shardings: tuple[jax.sharding.Sharding, ...], number: int):
    """A program, since a slice of a sharded array is whole on every device unless it is told otherwise."""

    def cut(leaves, start):
        return [jax.lax.dynamic_slice_in_dim(leaf, start, number) for leaf in leaves]

    return jax.jit(cut, out_shardings=list(shardings))


def _old_statistics(
    learner: Learner, state: TrainState, rollouts: list[Rollout], packings: list
) -> dict[int, tuple]:
    """(logp, entropy) of the mini-batches, by their number, that the updates must be told of."""
    first = 0 if learner.needs_first_statistics else 1
    known = {
        number: learner.log_probs(state.params, rollouts[number], packing=packings[number])
        for number in range(first, len(rollouts))
    }
    return jax.block_until_ready(known)


def _entropy_coef(
    learner: Learner, rollout: Rollout, known: dict[int, tuple], entropy_coef: Callable | None
) -> float | None:
    """The coefficient of the entropy bonus; None where there is none."""
    regularizer, entropy = learner.regularizer, None
    if not regularizer.needs_entropy:
        return None
    if regularizer.entropy_bonus.needs_entropy:
        entropy_PGT = tuple(known[number][1] for number in range(len(known)))
        entropy = float(jax.device_get(mean_entropy(entropy_PGT, rollout.response_mask_PGT)))
    return (entropy_coef or CoefficientOfStep(regularizer))(entropy)


def _theory_before(
    learner: Learner, state: TrainState, rollout: Rollout, fraction: float | None, clock: Clock
) -> TheoryProbe | None:
    if fraction is None:
        return None
    with clock("observatory"):
        return TheoryProbe.before(learner, state.params, rollout, fraction)


def _theory_after(
    probe: TheoryProbe | None, state: TrainState, rollout: Rollout, adv_PG, before: list[tuple], clock: Clock
) -> dict[str, float | int]:
    """Of a probe of before the updates; `before` are (logp, entropy) of the mini-batches then."""
    if probe is None:
        return {}
    with clock("observatory"):
        logp_PGT, _ = zip(*before, strict=True)
        theorems = theorem_metrics(logp_PGT, rollout.response_mask_PGT, adv_PG)
        return _scalars(jax.device_get(probe.after(state.params) | theorems))


def _step_metrics(
    learner: Learner,
    rollout: Rollout,
    stale_P,
    num_old_logp: int,
    seen: list[SeenTokens],
    reports: list[UpdateReport],
) -> dict[str, float | int]:
    """Of a rollout and its updates; so many passes were made for old log-probs."""
    logp_PGT, entropy_PGT = (tuple(getattr(x, name) for x in seen) for name in ("logp_PGT", "entropy_PGT"))
    of_rollout = rollout_metrics(rollout, logp_PGT, entropy_PGT, stale_P)
    mask_PGT = tuple(x.rollout.response_mask_PGT for x in seen)
    of_tokens = token_metrics(learner.selector, mask_PGT, logp_PGT, entropy_PGT)
    of_rollout, of_tokens, *of_updates = jax.device_get(
        [of_rollout, of_tokens, *(report.metrics for report in reports)]
    )
    metrics = _scalars(of_rollout | of_tokens) | over_updates([_scalars(metrics) for metrics in of_updates])
    return metrics | _pass_metrics(learner, len(reports), num_old_logp, metrics["passes/selection"])


def _pass_metrics(
    learner: Learner, num_updates: int, num_old_logp: int, num_selection: int
) -> dict[str, int]:
    """Updates; forward passes beside those of their gradients: made, and left out in the first update."""
    num_usual = num_updates * (2 if learner.chooses_ahead else 1)
    return {
        "optimizer/updates": num_updates,
        "passes/old_logp": num_old_logp,
        "passes/saved": num_usual - num_old_logp - num_selection,
    }


def _scalars(metrics: dict) -> dict[str, float | int]:
    return {name: value.item() for name, value in metrics.items()}
