"""All updates of one rollout: which mini-batches, which old log-probs, and what the step reports."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from entropy_rl.observability.clock import Clock
from entropy_rl.training.batch import Minibatch
from entropy_rl.training.learner import Learner, TrainState
from entropy_rl.training.update_metrics import over_updates, rollout_metrics
from entropy_rl.types import Rollout


def learn(
    learner: Learner,
    state: TrainState,
    rollout: Rollout,
    adv_PG: Float[Array, "P G"],
    key: jax.Array,
    *,
    prompts_per_update: int,
    ref_logp_PGT: Float[Array, "P G T"] | None = None,
    clock: Clock | None = None,
) -> tuple[TrainState, dict[str, float | int]]:
    """Updates on consecutive mini-batches of whole groups; returns the state and the metrics of the step.

    `state` is donated. Mini-batches lie on the devices as the rollout does.

    In the first update old log-probs are the current ones; only the mini-batches after it need a pass for
    theirs, made before anything changes. With one update a rollout there is no such pass at all, unless
    tokens must be chosen before the first micro-batch's gradient (`Learner.needs_first_old_logp`).
    """
    clock = clock or Clock()
    starts = range(0, adv_PG.shape[0], prompts_per_update)

    def part(tree, start):
        # A slice of a sharded array is whole on every device unless it is put back.
        stop = start + prompts_per_update
        return jax.tree.map(lambda x: jax.device_put(x[start:stop], x.sharding), tree)

    with clock("old_logp"):
        needed = starts if learner.needs_first_old_logp else starts[1:]
        known = {start: learner.log_probs(state.params, part(rollout, start)) for start in needed}
        jax.block_until_ready(known)
    reports = []
    with clock("update"):
        for number, start in enumerate(starts):
            mine = part(rollout, start)
            batch = Minibatch(
                rollout=mine,
                adv_PG=part(adv_PG, start),
                old_logp_PGT=known[start][0] if start in known else jnp.zeros_like(mine.logp_PGT),
                on_policy=jnp.bool_(number == 0),
                ref_logp_PGT=part(ref_logp_PGT, start),
            )
            state, report = learner.update(state, batch, jax.random.fold_in(key, number))
            reports.append(report)
        jax.block_until_ready(state)
    before = [(reports[0].logp_PGT, reports[0].entropy_PGT), *(known[start] for start in starts[1:])]
    old_logp_PGT, entropy_PGT = (jnp.concatenate(parts) for parts in zip(*before, strict=True))
    of_rollout = rollout_metrics(rollout, old_logp_PGT, entropy_PGT)
    of_rollout, *of_updates = jax.device_get([of_rollout, *(report.metrics for report in reports)])
    metrics = _scalars(of_rollout) | over_updates([_scalars(metrics) for metrics in of_updates])
    return state, metrics | _pass_metrics(learner, len(starts), len(known), metrics["passes/selection"])


def _pass_metrics(
    learner: Learner, num_updates: int, num_old_logp: int, num_selection: int
) -> dict[str, int]:
    """Forward passes of a mini-batch beside those of the gradient: made, and left out in the first update."""
    num_usual = num_updates * (2 if learner.chooses_ahead else 1)
    return {"passes/old_logp": num_old_logp, "passes/saved": num_usual - num_old_logp - num_selection}


def _scalars(metrics: dict) -> dict[str, float | int]:
    return {name: value.item() for name, value in metrics.items()}
