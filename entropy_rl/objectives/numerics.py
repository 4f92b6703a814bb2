"""Masked reductions that nothing under the mask can reach.

Masked entries are replaced before any arithmetic, never multiplied by zero afterwards: 0 * inf and 0 * nan
are nan, in a value and in its gradient. Half-precision inputs are added up in float32; float64 stays.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32


def as_float(x: Array) -> Array:
    """`x` in float32, or in float64 if it is that already."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def count(mask: Bool[Array, "*shape"]) -> Int32[Array, ""]:
    """The number of true entries, exact up to 2**31 - 1."""
    return jnp.sum(mask, dtype=jnp.int32)


def masked_sum(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"]) -> Float[Array, ""]:
    """The sum of the entries of `x` where `mask` is true."""
    return jnp.sum(jnp.where(mask, as_float(x), 0))


def masked_mean(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"]) -> Float[Array, ""]:
    """The mean of the entries of `x` where `mask` is true; 0 where it is true nowhere."""
    return masked_sum(x, mask) / jnp.maximum(count(mask), 1)


def log_ratio(
    logp_BT: Float[Array, "B T"], reference_logp_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"]
) -> Float[Array, "B T"]:
    """log(pi / pi_reference) of each token, 0 where masked; no gradient flows into the reference."""
    difference_BT = as_float(logp_BT) - jax.lax.stop_gradient(as_float(reference_logp_BT))
    return jnp.where(mask_BT, difference_BT, 0)
