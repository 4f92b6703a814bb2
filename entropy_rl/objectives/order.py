"""Order statistics without a sort: the k-th smallest is found bit by bit, each by one count over the batch.

Against a sort, millions of tokens stay on the devices that hold them, only scalars are reduced over the mesh,
and one CPU core takes a fraction of the time.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, UInt

from entropy_rl.objectives.numerics import as_float, count
from entropy_rl.objectives.quota import exact_quota


def sortable_bits(x: Array) -> UInt[Array, "..."]:
    """Unsigned integers in the order of `x` (signed integers, or floats without nan; -0.0 equals 0.0)."""
    num_bits = 8 * x.dtype.itemsize
    unsigned = jnp.dtype(f"uint{num_bits}")
    sign = unsigned.type(1 << (num_bits - 1))
    if jnp.issubdtype(x.dtype, jnp.integer):
        return jax.lax.bitcast_convert_type(x, unsigned) ^ sign
    bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0, x), unsigned)
    # Negative floats are stored as sign and magnitude: their bits grow as they fall.
    return jnp.where(bits & sign, ~bits, bits | sign)


def kth_smallest(
    keys: UInt[Array, "*shape"], among: Bool[Array, "*shape"], k: Int32[Array, ""]
) -> UInt[Array, ""]:
    """The k-th smallest of the keys where `among` is true, for 1 <= k <= their number."""
    num_bits = 8 * keys.dtype.itemsize

    def settle_bit(i, prefix):
        # The answer is the largest value with fewer than k keys below it.
        raised = prefix | (jnp.ones_like(prefix) << (num_bits - 1 - i).astype(prefix.dtype))
        return jnp.where(count(among & (keys < raised)) < k, raised, prefix)

    return jax.lax.fori_loop(0, num_bits, settle_bit, jnp.zeros((), keys.dtype))


def masked_quantiles(
    x: Float[Array, "*shape"], mask: Bool[Array, "*shape"], quantiles: tuple[float, ...]
) -> Float[Array, " quantiles"]:
    """For each q the entry number floor(q * (N - 1)) of the N in ascending order, counted from 0; 0 if N = 0.

    (numpy's method "lower": a value that occurs, so that 0 and 1 give the minimum and the maximum.)
    """
    x = as_float(x)
    bits = sortable_bits(x)
    last = jnp.maximum(count(mask) - 1, 0)

    def quantile(rank):
        threshold = kth_smallest(bits, mask, rank + 1)
        return jnp.max(x, where=mask & (bits <= threshold), initial=-jnp.inf)

    ranks = jnp.stack([exact_quota(q, last, at_least_one=False) for q in quantiles])
    return jnp.where(mask.any(), jax.vmap(quantile)(ranks), 0)
