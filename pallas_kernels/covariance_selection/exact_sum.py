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
    arrays: tuple[Float[Array, "*shape"], ...],
    mask: Bool[Array, "*shape"] | tuple[Bool[Array, "*shape"], ...],
    reduction: Reduction,
    *,
    repeated: tuple[Float[Array, " arrays"], Int32[Array, " arrays"]] | None = None,
) -> Float[Array, " arrays"]:
    """The mean of each array over the entries where `mask` is true, in f32; 0 where it is true nowhere.

    `mask` may be one for each array. `repeated` are a value and a number for each array, of all devices
    together: so many entries of that value join those under its mask. Entries must be finite; there may be
    2**31 - 1 of them over all devices (65,000 at most).
    """
    masks = mask if isinstance(mask, tuple) else (mask,) * len(arrays)
    arrays = tuple(jnp.where(m, without_subnormals(x), 0) for x, m in zip(arrays, masks, strict=True))
    largest_M = reduction.max(jnp.stack([jnp.max(jnp.abs(x), initial=0) for x in arrays]))
    if repeated is not None:
        largest_M = jnp.maximum(largest_M, jnp.abs(without_subnormals(repeated[0])))
    exponent_M = _exponent_above(largest_M)
    sums = [_sum_words(_fixed_point(x, exponent_M[i]), masks[i]) for i, x in enumerate(arrays)]
    totals_M5 = jnp.stack([jnp.append(_limbs(low, high), number) for low, high, number in sums])
    totals_M5 = reduction.sum(totals_M5)
    limbs_4M, number_M = totals_M5[:, :4].T, totals_M5[:, 4]
    if repeated is not None:
        times_M = repeated[1].astype(jnp.uint32)
        limbs_4M += _limbs_of_product(_fixed_point(without_subnormals(repeated[0]), exponent_M), times_M)
        number_M += times_M
    quotient_M = _divide(*_carry(limbs_4M), jnp.maximum(number_M, 1))
    integer_M = (quotient_M - jnp.uint32(1 << FRACTION_BITS)).astype(jnp.int32)
    mean_M = _times_power_of_two(integer_M.astype(jnp.float32), exponent_M - FRACTION_BITS)
    return jnp.where(number_M > 0, without_subnormals(mean_M), 0)


def _exponent_above(x: Float[Array, "*n"]) -> Int32[Array, "*n"]:
    """The least e with x < 2**e, for x >= 0 not subnormal."""
    return (jax.lax.bitcast_convert_type(x, jnp.int32) >> 23) - 126


def _times_power_of_two(x: Float[Array, "*n"], exponent: Int32[Array, "*#n"]) -> Float[Array, "*n"]:
    """x * 2**exponent for |exponent| < 250, in two steps: 2**exponent itself may not be representable."""
    half = exponent >> 1
    for part in (half, exponent - half):
        x = x * jax.lax.bitcast_convert_type((part + 127) << 23, jnp.float32)
    return x


def _fixed_point(x: Float[Array, "*shape"], exponent: Int32[Array, "*#shape"]) -> UInt32[Array, "*shape"]:
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
    """A 64-bit number as four digits of 16 bits, lowest first, which 65,000 devices may add up."""
    return jnp.stack([low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16])


def _limbs_of_product(a_M: UInt32[Array, " M"], b_M: UInt32[Array, " M"]) -> UInt32[Array, "4 M"]:
    """The 64-bit products as four digits of 16 bits, lowest first, not carried: below 3 * 2**16."""
    (a0, a1), (b0, b1) = ((x & 0xFFFF, x >> 16) for x in (a_M, b_M))
    low, middle, other, high = a0 * b0, a0 * b1, a1 * b0, a1 * b1
    second = (low >> 16) + (middle & 0xFFFF) + (other & 0xFFFF)
    third = (middle >> 16) + (other >> 16) + (high & 0xFFFF)
    return jnp.stack([low & 0xFFFF, second, third, high >> 16])


def _carry(limbs_4M: UInt32[Array, "4 M"]) -> tuple[UInt32[Array, " M"], UInt32[Array, " M"]]:
    """(high, low) words of the numbers whose digits of 16 bits have grown beyond that."""
    digits, carry = [], jnp.zeros_like(limbs_4M[0])
    for limb in limbs_4M:
        total = limb + carry
        digits.append(total & 0xFFFF)
        carry = total >> 16
    return (digits[3] << 16) | digits[2], (digits[1] << 16) | digits[0]


def _divide(
    high_M: UInt32[Array, " M"], low_M: UInt32[Array, " M"], divisor: UInt32[Array, " M"]
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
