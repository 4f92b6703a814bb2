"""How many tokens a fraction selects: K = floor(fraction * N), without a rounding error at any N.

In floating point 0.29 * 100 rounds down to 28, and N itself is inexact in float32 beyond 2**24. So the
fraction is taken for the decimal that was written, 29/100, and the floor is a long division in integers.
"""

from fractions import Fraction

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Int32

_MAX_TOKENS = 2**31 - 1


def parse_fraction(fraction: float) -> Fraction:
    """The decimal that `fraction` prints as. Raises ValueError outside [0, 1]."""
    if not 0 <= fraction <= 1:
        raise ValueError(
            f"a fraction of tokens must lie in [0, 1], got {fraction}; 0.2 percent is written 2e-3"
        )
    return Fraction(repr(float(fraction)))


def exact_quota(
    fraction: float, num_tokens: Int[Array, "*shape"], *, at_least_one: bool
) -> Int32[Array, "*shape"]:
    """floor(fraction * num_tokens) for 0 <= num_tokens < 2**31; `num_tokens` may be traced.

    With `at_least_one`, one token is selected wherever there is one.
    """
    ratio = _round_down(parse_fraction(fraction), _MAX_TOKENS)
    quota = _floor_multiply(num_tokens.astype(jnp.uint32), ratio).astype(jnp.int32)
    if not at_least_one:
        return quota
    return jnp.maximum(quota, jnp.minimum(num_tokens, 1).astype(jnp.int32))


def _round_down(ratio: Fraction, max_denominator: int) -> Fraction:
    """The largest fraction <= `ratio` whose denominator fits.

    It gives the same floor for every N <= `max_denominator`: floor(ratio * N) is the largest k with
    k/N <= ratio, and k/N is itself a fraction whose denominator fits.
    """
    nearest = ratio.limit_denominator(max_denominator)
    if nearest <= ratio:
        return nearest
    # The left neighbour c/d of a/b among all that fit: a * d - b * c = 1, with the largest such d.
    a, b = nearest.numerator, nearest.denominator
    inverse = pow(a, -1, b)
    d = inverse + (max_denominator - inverse) // b * b
    return Fraction((a * d - 1) // b, d)


def _floor_multiply(n: Array, ratio: Fraction) -> Array:
    """floor(n * ratio) by schoolbook long division in base 2; every intermediate fits 32 unsigned bits."""
    p, q = jnp.uint32(ratio.numerator), jnp.uint32(ratio.denominator)

    def carry(quotient, remainder):
        overflows = remainder >= q
        return quotient + overflows, jnp.where(overflows, remainder - q, remainder)

    def append_bit(i, state):
        # Invariant: (leading i bits of n) * p = quotient * q + remainder, remainder < q.
        quotient, remainder = carry(2 * state[0], 2 * state[1])
        bit = (n >> (30 - i).astype(jnp.uint32)) & 1
        return carry(quotient, remainder + bit * p)

    zero = jnp.zeros_like(n)
    return jax.lax.fori_loop(0, 31, append_bit, (zero, zero))[0]
