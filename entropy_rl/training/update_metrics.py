"""What a step reports of its tokens: computed over whole mini-batches and rollouts, never by micro-batch."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from entropy_rl.objectives import (
    K3,
    PolicyObjective,
    Selection,
    clip_fractions,
    entropy_deciles,
    entropy_distribution,
    entropy_metrics,
    masked_mean,
    ratio_metrics,
    selection_metrics,
    surprisal_metrics,
)
from entropy_rl.training.batch import TokenBatch
from entropy_rl.types import Rollout
from pallas_kernels.covariance_selection import CovarianceSelector


def update_metrics(
    objective: PolicyObjective,
    selector: CovarianceSelector,
    tokens: TokenBatch,
    selection: Selection,
    logp_BT: Float[Array, "B T"],
) -> dict[str, Array]:
    """Metrics of one mini-batch; `logp_BT` is of the policy before this update."""
    old_logp_BT = tokens.old_or(logp_BT)
    causes = objective.clip_causes(
        logp_BT=logp_BT,
        old_logp_BT=old_logp_BT,
        adv_BT=tokens.adv_BT,
        mask_BT=tokens.mask_BT,
        selected_BT=selection.selected_BT,
    )
    return {
        **ratio_metrics(logp_BT, old_logp_BT, tokens.mask_BT),
        **clip_fractions(causes, tokens.mask_BT),
        **selection_metrics(selection, tokens.mask_BT, selector=selector),
    }


@jax.jit
def rollout_metrics(
    rollout: Rollout,
    logp_PGT: tuple[Float[Array, "_ G T"], ...],
    entropy_PGT: tuple[Float[Array, "_ G T"], ...],
    stale_P: Bool[Array, " P"] | None = None,
) -> dict[str, Array]:
    """Entropy and sampler-learner gap; log-probs are the learner's before the updates.

    They come in parts that follow one another, one for each mini-batch from the first on; prompts beyond them
    are not looked at. In stale groups the gap is between two policies, and reported as such.
    """
    logp_PGT, entropy_PGT = jnp.concatenate(logp_PGT), jnp.concatenate(entropy_PGT)
    rollout, stale_P = jax.tree.map(lambda x: x[: len(logp_PGT)], (rollout, stale_P))
    num_tokens = rollout.response_mask_PGT.shape[-1]
    mask_BT = rollout.response_mask_PGT.reshape(-1, num_tokens)
    gap_BT = jnp.abs(rollout.logp_PGT - logp_PGT).reshape(mask_BT.shape)
    return {
        **entropy_metrics(entropy_PGT.reshape(mask_BT.shape), mask_BT),
        **_gaps(gap_BT, mask_BT, stale_P),
    }


@jax.jit
def mean_entropy(
    entropy_PGT: tuple[Float[Array, "_ G T"], ...], mask_PGT: Bool[Array, "P G T"]
) -> Float[Array, ""]:
    """Token mean of entropies that come in parts, of the first prompts of the mask."""
    entropy_PGT = jnp.concatenate(entropy_PGT)
    shape = (-1, entropy_PGT.shape[-1])
    return masked_mean(entropy_PGT.reshape(shape), mask_PGT[: len(entropy_PGT)].reshape(shape))


@jax.jit
def reference_metrics(rollout: Rollout, ref_logp_PGT: Float[Array, "P G T"]) -> dict[str, Array]:
    """Divergence of the policy that sampled from the reference; responses without a token do not count."""
    arrays = rollout.logp_PGT, ref_logp_PGT, rollout.response_mask_PGT
    logp_BT, ref_logp_BT, mask_BT = (x.reshape(-1, x.shape[-1]) for x in arrays)
    return {"policy/reference_kl": masked_mean(K3()(logp_BT, ref_logp_BT, mask_BT), mask_BT)}


@partial(jax.jit, static_argnums=0)
def token_metrics(
    selector: CovarianceSelector,
    mask_PGT: tuple[Bool[Array, "_ G T"], ...],
    logp_PGT: tuple[Float[Array, "_ G T"], ...],
    entropy_PGT: tuple[Float[Array, "_ G T"], ...],
) -> dict[str, Array]:
    """How entropy and surprisal are distributed over the tokens; log-probs are as in `rollout_metrics`.

    The mini-batches come in parts of the same shape. They are put side by side by their samples, whose axis
    is not cut over devices: no token leaves its own.
    """
    mask_BT, logp_BT, entropy_BT = (
        jnp.concatenate(parts, axis=1).reshape(-1, parts[0].shape[-1])
        for parts in (mask_PGT, logp_PGT, entropy_PGT)
    )
    return {
        **entropy_distribution(entropy_BT, mask_BT, selector=selector),
        **entropy_deciles(entropy_BT, mask_BT),
        **surprisal_metrics(logp_BT, entropy_BT, mask_BT),
    }


def _gaps(gap_BT, mask_BT, stale_P) -> dict[str, Array]:
    """Gap of sampler and learner with the same parameters; that of stale groups goes by another name.

    Where all groups are stale the first is nan, not a 0 that would look like a perfect fit.
    """
    if stale_P is None:
        fresh_BT, staleness = mask_BT, {}
    else:
        stale_BT = mask_BT & jnp.repeat(stale_P, len(mask_BT) // len(stale_P))[:, None]
        fresh_BT = mask_BT & ~stale_BT
        staleness = {"staleness/logp_gap_mean": masked_mean(gap_BT, stale_BT)}
    gaps = {
        "mismatch/logp_gap_max": jnp.max(gap_BT, where=fresh_BT, initial=0.0),
        "mismatch/logp_gap_mean": masked_mean(gap_BT, fresh_BT),
    }
    if stale_P is not None:
        gaps = {name: jnp.where(fresh_BT.any(), gap, jnp.nan) for name, gap in gaps.items()}
    return gaps | staleness


SUMMED = (
    "selection/candidates",
    "selection/quota",
    "selection/selected",
    "selection/nonfinite_tokens",
    "optimizer/skipped_updates",
    "passes/",
    "update/microbatches",
)
"""Prefixes of names that add up over the updates of a step."""
EXTREMES = {
    "policy/ratio_max": max,
    "covariance/max": max,
    "covariance/min": min,
    "optimizer/skipped_in_a_row": max,
}


def over_updates(reports: list[dict[str, float | int]]) -> dict[str, float | int]:
    """The metrics of a step from those of its updates: counts add up, extremes stay, the rest is averaged."""

    def merge(name, values):
        if name in EXTREMES:
            return EXTREMES[name](values)
        return (
            sum(values)
            if name.startswith(SUMMED) and not name.endswith("_fraction")
            else sum(values) / len(values)
        )

    return {name: merge(name, [report[name] for report in reports]) for name in reports[0]}
