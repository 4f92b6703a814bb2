"""Unsigned 32-bit keys in the order of the values they stand for, and back."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

NOT_ELIGIBLE = np.uint32(0xFFFFFFFF)
"""Key of a token that takes no part. Others may have it too: it only ever comes last."""

SMALLEST_NORMAL = np.finfo(np.float32).tiny
"""Magnitudes below this are zero."""

_SIGN = np.uint32(0x80000000)


def without_subnormals(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in f32 with -0 and every subnormal made +0, which some backends do anyway and others do not."""
    x = x.astype(jnp.float32)
    return jnp.where(jnp.abs(x) < SMALLEST_NORMAL, jnp.float32(0), x)


def float_keys(x: Float[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Keys in the order of `x` (f32, or narrower: bf16 embeds in f32), for values that are not nan."""
    bits = jax.lax.bitcast_convert_type(without_subnormals(x), jnp.uint32)
    # Negative floats are stored as sign and magnitude: their bits grow as they fall.
    return jnp.where(bits & _SIGN != 0, ~bits, bits | _SIGN)


def keys_to_float(key: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The f32 values of which `key` are the float keys."""
    bits = jnp.where(key & _SIGN != 0, key ^ _SIGN, ~key)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def integer_keys(x: Int[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Keys in the order of `x`, integers that fit 32 signed bits."""
    return x.astype(jnp.int32).astype(jnp.uint32) ^ _SIGN


def only(eligible: Bool[Array, "*shape"], key: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """`key` where eligible, and elsewhere the key that comes last."""
    return jnp.where(eligible, key, NOT_ELIGIBLE)
