"""Scalars that describe a batch and what an objective did to it, under the names they are logged by."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from entropy_rl.objectives.divergences import K3
from entropy_rl.objectives.numerics import as_float, count, log_ratio, masked_mean, masked_sum
from entropy_rl.objectives.selection import DEFAULT_SELECTOR, DESCRIPTION, Selection, by_name
from pallas_kernels.covariance_selection import CovarianceSelector

Metrics = dict[str, Array]

ENTROPY_QUANTILES = {
    "min": 0.0,
    "q10": 0.1,
    "q25": 0.25,
    "q50": 0.5,
    "q75": 0.75,
    "q90": 0.9,
    "q99": 0.99,
    "max": 1.0,
}
"""Quantiles of the token entropy, by the names they are logged by."""
TENTHS = 10


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


def entropy_distribution(
    entropy_BT: Float[Array, "B T"],
    mask_BT: Bool[Array, "B T"],
    *,
    selector: CovarianceSelector = DEFAULT_SELECTOR,
) -> Metrics:
    """Quantiles of the token entropy, nats, and the mean over the fifth of the tokens that have the most.

    Exact and the same for any cut of the rows; tokens whose entropy is not finite are left out.
    """
    found = selector.distribution(
        entropy_BT, mask_BT, quantiles=tuple(ENTROPY_QUANTILES.values()), top_shares=(0.2,)
    )
    values = zip(ENTROPY_QUANTILES, found.quantiles_Q, strict=True)
    return {
        **{f"entropy/{name}": value for name, value in values},
        "entropy/top_20_percent": found.top_means_S[0],
    }


def entropy_deciles(entropy_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"]) -> Metrics:
    """The mean entropy in each tenth of the length of the responses, nats; rows are filled from the left.

    Token t of a response of L tokens takes [10 t, 10 t + 10) of its length of 10 L, tenth n the stretch
    [(n - 1) L, n L): a token counts in each tenth as far as it reaches into it. So every response has L / 10
    tokens in each, however short it is, and the mean of the tenths is the mean of all tokens.
    """
    length_B1 = jnp.sum(mask_BT, axis=1, keepdims=True, dtype=jnp.int32)
    begin_1T = TENTHS * jnp.arange(mask_BT.shape[1], dtype=jnp.int32)[None]

    def mean_of(number: int):
        first, last = (jnp.maximum(begin_1T, number * length_B1), (number + 1) * length_B1)
        share_BT = jnp.maximum(jnp.minimum(begin_1T + TENTHS, last) - first, 0)
        sum_ = masked_sum(as_float(entropy_BT) * share_BT, mask_BT)
        return sum_ / jnp.maximum(count(mask_BT), 1)

    return {f"entropy/decile_{number + 1}": mean_of(number) for number in range(TENTHS)}


def surprisal_metrics(
    logp_BT: Float[Array, "B T"], entropy_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"]
) -> Metrics:
    """The mean of -logp, and how far it may lie from the mean entropy by chance, nats.

    The error is that of a ratio of sums over n responses which are drawn independently: with d the sum of
    (-logp - entropy) over a response of L tokens and D = sum d / sum L, it is
    sqrt(n / (n - 1) * sum (d - D L)^2) / sum L. It is nan for a single response.
    """
    length_B = jnp.sum(mask_BT, axis=1, dtype=jnp.int32)
    difference_BT = jnp.where(mask_BT, -as_float(logp_BT) - as_float(entropy_BT), 0)
    rest_B = jnp.sum(difference_BT, axis=1) - masked_mean(difference_BT, mask_BT) * length_B
    num_responses = count(length_B > 0)
    variance = num_responses / (num_responses - 1) * jnp.sum(rest_B**2)
    return {
        "policy/surprisal": -masked_mean(logp_BT, mask_BT),
        "policy/surprisal_error": jnp.sqrt(variance) / jnp.maximum(count(mask_BT), 1),
    }
