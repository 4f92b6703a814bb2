"""Means that do not depend on the order of summation, and so not on devices, micro-batches or compilers.

A mean that moves by one bit moves every covariance, and can swap two neighbours at a threshold. So each value
becomes an integer multiple of 2**-30 of a power of two above the largest magnitude (a maximum has no order),
the integers are added up exactly, and the quotient is a long division in integers. Every floating-point
operation is a product with a power of two, a rounding of one value, or a conversion: no compiler can contract
or reorder them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, UInt32

from pallas_kernels.covariance_selection.keys import without_subnormals
from pallas_kernels.covariance_selection.reduction import Reduction

FRACTION_BITS = 30
"""The mean is exact to 2**-30 of the largest magnitude, before it is rounded to f32."""


def masked_means(
    arrays: tuple[Float[Array, "*shape"], ...], mask: Bool[Array, "*shape"], reduction: Reduction
) -> Float[Array, " arrays"]:
    """The mean of each array over the entries where `mask` is true, in f32; 0 where it is true nowhere.

    Entries under the mask must be finite; there may be 2**31 - 1 of them over all devices (65,536 at most).
    """
    arrays = tuple(jnp.where(mask, without_subnormals(x), 0) for x in arrays)
    exponent_M = _exponent_above(reduction.max(jnp.stack([jnp.max(jnp.abs(x), initial=0) for x in arrays])))
    sums = [_sum_words(_fixed_point(x, exponent_M[i]), mask) for i, x in enumerate(arrays)]
    number = sums[0][-1]
    totals = reduction.sum(jnp.concatenate([*(_limbs(low, high) for low, high, _ in sums), number[None]]))
    limbs_4M, number = totals[:-1].reshape(-1, 4).T, totals[-1]
    quotient_M = _divide(*_carry(limbs_4M), jnp.maximum(number, 1))
    integer_M = (quotient_M - jnp.uint32(1 << FRACTION_BITS)).astype(jnp.int32)
    mean_M = _times_power_of_two(integer_M.astype(jnp.float32), exponent_M - FRACTION_BITS)
    return jnp.where(number > 0, without_subnormals(mean_M), 0)


def _exponent_above(x: Float[Array, "*n"]) -> Int32[Array, "*n"]:
    """The least e with x < 2**e, for x >= 0 not subnormal."""
    return (jax.lax.bitcast_convert_type(x, jnp.int32) >> 23) - 126


def _times_power_of_two(x: Float[Array, "*n"], exponent: Int32[Array, "*#n"]) -> Float[Array, "*n"]:
    """x * 2**exponent for |exponent| < 250, in two steps: 2**exponent itself may not be representable."""
    half = exponent >> 1
    for part in (half, exponent - half):
        x = x * jax.lax.bitcast_convert_type((part + 127) << 23, jnp.float32)
    return x


def _fixed_point(x: Float[Array, "*shape"], exponent: Int32[Array, ""]) -> UInt32[Array, "*shape"]:
    """round(x * 2**(30 - exponent)) + 2**30, which lies in [0, 2**31]."""
    scaled = jnp.rint(_times_power_of_two(x, FRACTION_BITS - exponent))
    return scaled.astype(jnp.int32).astype(jnp.uint32) + jnp.uint32(1 << FRACTION_BITS)


def _sum_words(x: UInt32[Array, "*shape"], mask: Bool[Array, "*shape"]) -> tuple[Array, Array, Array]:
    """(low word, high word) of the exact sum of the entries under the mask, and their number."""

    def add(a, b):
        low = a[0] + b[0]
        return low, a[1] + b[1] + (low < a[0]).astype(jnp.uint32), a[2] + b[2]

    terms = (jnp.where(mask, x, 0), jnp.zeros_like(x), mask.astype(jnp.uint32))
    return tuple(jax.lax.reduce(terms, (jnp.uint32(0),) * 3, add, tuple(range(x.ndim))))


def _limbs(low: UInt32[Array, ""], high: UInt32[Array, ""]) -> UInt32[Array, " 4"]:
    """A 64-bit number as four digits of 16 bits, lowest first, which 65,536 devices may add up."""
    return jnp.stack([low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16])


def _carry(limbs_4M: UInt32[Array, "4 M"]) -> tuple[UInt32[Array, " M"], UInt32[Array, " M"]]:
    """(high, low) words of the numbers whose digits of 16 bits have grown beyond that."""
    digits, carry = [], jnp.zeros_like(limbs_4M[0])
    for limb in limbs_4M:
        total = limb + carry
        digits.append(total & 0xFFFF)
        carry = total >> 16
    return (digits[3] << 16) | digits[2], (digits[1] << 16) | digits[0]


def _divide(
    high_M: UInt32[Array, " M"], low_M: UInt32[Array, " M"], divisor: UInt32[Array, ""]
) -> UInt32[Array, " M"]:
    """The low word of floor(number / divisor) by long division in base 2, for divisors below 2**31."""

    def bring_down_a_bit(_, state):
        high_M, low_M, rest_M = state
        rest_M = (rest_M << 1) | (high_M >> 31)
        fits_M = rest_M >= divisor
        # The quotient enters from the right where the number has left.
        high_M, low_M = (high_M << 1) | (low_M >> 31), (low_M << 1) | fits_M.astype(jnp.uint32)
        return high_M, low_M, jnp.where(fits_M, rest_M - divisor, rest_M)

    return jax.lax.fori_loop(0, 64, bring_down_a_bit, (high_M, low_M, jnp.zeros_like(low_M)), unroll=8)[1]
