"""Scalars that describe a batch and what an objective did to it, under the names they are logged by."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from entropy_rl.objectives.divergences import K3
from entropy_rl.objectives.numerics import as_float, count, log_ratio, masked_mean
from entropy_rl.objectives.selection import DEFAULT_SELECTOR, DESCRIPTION, Selection, by_name
from pallas_kernels.covariance_selection import CovarianceSelector

Metrics = dict[str, Array]


def selection_metrics(
    selection: Selection,
    mask_BT: Bool[Array, "B T"],
    *,
    selector: CovarianceSelector = DEFAULT_SELECTOR,
) -> Metrics:
    """Covariance over the valid tokens, and how many tokens were selected, by sign of their advantage.

    A rare token of negative advantage has a large covariance, and so has a likely one of positive advantage:
    the split by sign tells which kind was held back. Only a selection by micro-batches needs `selector`:
    the quantiles of the whole do not follow from those of its parts.
    """
    covariance = selection.covariance
    if covariance is None:
        covariance = by_name(selector.distribution(selection.covariance_BT, mask_BT, **DESCRIPTION))
    return {
        **{f"covariance/{name}": value for name, value in covariance.items()},
        "selection/candidates": selection.num_candidates,
        "selection/quota": selection.quota,
        "selection/selected": selection.num_selected,
        "selection/selected_fraction": selection.num_selected / jnp.maximum(count(mask_BT), 1),
        "selection/selected_positive_advantage": selection.num_selected_positive,
        "selection/selected_negative_advantage": selection.num_selected_negative,
        "selection/nonfinite_tokens": selection.num_nonfinite,
    }


def ratio_metrics(
    logp_BT: Float[Array, "B T"], old_logp_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"]
) -> Metrics:
    """How far the policy has moved since the rollout, in the same terms for every objective.

    The tokens were drawn from the old policy, so these estimate KL(old || current): k1 is mean(-d), k3 is
    mean(exp(d) - 1 - d), clamped as `K3`.
    """
    d_BT = log_ratio(logp_BT, old_logp_BT, mask_BT)
    return {
        "policy/approx_kl": masked_mean(-d_BT, mask_BT),
        "policy/approx_kl_k3": masked_mean(K3()(old_logp_BT, logp_BT, mask_BT), mask_BT),
        "policy/absolute_log_ratio": masked_mean(jnp.abs(d_BT), mask_BT),
        "policy/ratio_max": jnp.where(
            mask_BT.any(), jnp.exp(jnp.max(d_BT, where=mask_BT, initial=-jnp.inf)), 0
        ),
    }


def clip_fractions(causes: dict[str, Bool[Array, "B T"]], mask_BT: Bool[Array, "B T"]) -> Metrics:
    """The fraction of valid tokens that each cause of `PolicyObjective.clip_causes` altered."""
    return {
        f"policy/clip_fraction_{cause}": masked_mean(as_float(hit_BT), mask_BT)
        for cause, hit_BT in causes.items()
    }


def entropy_metrics(entropy_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"]) -> Metrics:
    """The mean entropy of all tokens, and the mean over sequences of each one's own mean (Eq. 5)."""
    length_B = jnp.sum(mask_BT, axis=1, dtype=jnp.int32)
    sum_B = jnp.sum(jnp.where(mask_BT, as_float(entropy_BT), 0), axis=1)
    return {
        "policy/entropy": masked_mean(entropy_BT, mask_BT),
        "policy/entropy_sequence_mean": masked_mean(sum_B / jnp.maximum(length_B, 1), length_B > 0),
    }
