"""Scalars that describe a batch and what an objective did to it, under the names they are logged by."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from entropy_rl.objectives.divergences import K3
from entropy_rl.objectives.numerics import as_float, count, log_ratio, masked_mean
from entropy_rl.objectives.order import masked_quantiles
from entropy_rl.objectives.selection import Selection

COVARIANCE_QUANTILES = {"min": 0.0, "q50": 0.5, "q90": 0.9, "q99": 0.99, "q999": 0.999, "max": 1.0}

Metrics = dict[str, Array]


def selection_metrics(
    selection: Selection, adv_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"]
) -> Metrics:
    """Covariance over the valid tokens, and how many tokens were selected, by sign of their advantage.

    A rare token of negative advantage has a large covariance, and so has a likely one of positive advantage:
    the split by sign tells which kind was held back.
    """
    covariance_BT, selected_BT = selection.covariance_BT, selection.selected_BT & mask_BT
    quantiles = masked_quantiles(covariance_BT, mask_BT, tuple(COVARIANCE_QUANTILES.values()))
    covariance = dict(zip(COVARIANCE_QUANTILES, quantiles, strict=True))
    return {
        "covariance/mean": masked_mean(covariance_BT, mask_BT),
        **{f"covariance/{name}": value for name, value in covariance.items()},
        "selection/candidates": selection.num_candidates,
        "selection/quota": selection.quota,
        "selection/selected": count(selected_BT),
        "selection/selected_fraction": masked_mean(as_float(selected_BT), mask_BT),
        "selection/selected_positive_advantage": count(selected_BT & (adv_BT > 0)),
        "selection/selected_negative_advantage": count(selected_BT & (adv_BT < 0)),
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
