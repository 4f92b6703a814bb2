"""The specification, by sorting: what the selection must equal, element by element."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int, Shaped

from pallas_kernels.covariance_selection.keys import without_subnormals


def first_reference(
    value_BT: Shaped[Array, "B T"],
    eligible_BT: Bool[Array, "B T"],
    k: Int[Array, ""],
    sequence_id: Int[Array, "#B #T"],
    position: Int[Array, "#B #T"],
) -> Bool[Array, "B T"]:
    """The k eligible tokens, or all if there are fewer, that come first by (value, sequence id, position)."""
    keys = (position, sequence_id, value_BT, ~eligible_BT)
    order_N = jnp.lexsort([jnp.broadcast_to(key, value_BT.shape).reshape(-1) for key in keys])
    chosen_N = jnp.zeros(order_N.shape, bool).at[order_N].set(jnp.arange(order_N.size) < k)
    return chosen_N.reshape(value_BT.shape) & eligible_BT


def largest_reference(score_BT: Float[Array, "B T"], eligible_BT, k, sequence_id, position):
    """The k finite eligible tokens of largest score; arguments and ties as in `first_reference`."""
    finite_BT = jnp.isfinite(score_BT)
    descending_BT = without_subnormals(-jnp.where(finite_BT, score_BT, 0))
    return first_reference(descending_BT, eligible_BT & finite_BT, k, sequence_id, position)


def quantiles_reference(
    x_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"], quantiles: tuple[float, ...]
) -> Float[Array, " quantiles"]:
    """For each q the entry number floor(q * (N - 1)) of the N finite ones under the mask; 0 if N = 0."""
    mask_BT = mask_BT & jnp.isfinite(x_BT)
    ascending_N = jnp.sort(jnp.where(mask_BT, without_subnormals(x_BT), jnp.inf).reshape(-1))
    last = max(int(mask_BT.sum()) - 1, 0)
    places = jnp.array([int(Fraction(repr(q)) * last) for q in quantiles])
    return jnp.where(mask_BT.any(), ascending_N[places], 0)


def top_means_reference(
    x_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"], top_shares: tuple[float, ...]
) -> Float64[np.ndarray, " top_shares"]:
    """For each share s the mean of the floor(s * N) largest of the N finite ones, or of one; 0 if N = 0."""
    descending_N = -np.sort(-np.asarray(x_BT, np.float64)[np.asarray(mask_BT & jnp.isfinite(x_BT))])
    sizes = [max(int(Fraction(repr(share)) * len(descending_N)), 1) for share in top_shares]
    return np.array([descending_N[:size].mean() if len(descending_N) else 0 for size in sizes], np.float64)
