"""Rounding to bfloat16 that is right in the mean, where rounding to the nearest loses every small change."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Float32

_LOST_BITS = 16
"""Bits of a float32 that bfloat16 does not keep."""


def round_stochastically(x: Float32[Array, "*shape"], key: Array) -> BFloat16[Array, "*shape"]:
    """One of the two neighbours of x in bfloat16, the nearer one with the greater probability: its mean is x.

    What bfloat16 can hold, zero and infinity included, stays as it is. The same key gives the same bits
    whatever the sharding of x.
    """
    # Uniform bits are added to those that are cut off: they carry into what is kept as often as they should.
    noise = jax.random.bits(key, x.shape, jnp.uint32) >> _LOST_BITS
    kept = (jax.lax.bitcast_convert_type(x, jnp.uint32) + noise) >> _LOST_BITS
    return jax.lax.bitcast_convert_type(kept.astype(jnp.uint16), jnp.bfloat16)


def round_tree_stochastically(tree: Any, count: Array) -> Any:
    """Every leaf rounded with bits that follow from the count and the leaf's place in the tree alone."""
    key = jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), count)
    leaves, structure = jax.tree.flatten(tree)
    rounded = [round_stochastically(x, jax.random.fold_in(key, place)) for place, x in enumerate(leaves)]
    return structure.unflatten(rounded)
