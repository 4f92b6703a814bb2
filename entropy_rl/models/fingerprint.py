"""A fingerprint of parameters: equal for equal values, however they are stored and wherever they lie."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from entropy_rl.models.policy import Params


def fingerprint(params: Params) -> str:
    """32 hexadecimal digits of all values, their places and their dtypes."""
    digest = hashlib.sha256()
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        digest.update(f"{name} {x.dtype} {x.shape} {np.asarray(_weighed_bits(x))}\0".encode())
    return digest.hexdigest()[:32]


@jax.jit
def _weighed_bits(x: jax.Array) -> jax.Array:
    """The sum of the values' bits, each times an odd number of its place, modulo 2^32: exact in any order."""
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}")).astype(jnp.uint32)
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis in range(x.ndim):
        place = place * jnp.uint32(0x01000193) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    weight = (place * jnp.uint32(0x9E3779B1)) ^ (place >> 15)
    return jnp.sum(bits * (2 * weight + 1), dtype=jnp.uint32)
