"""Reductions over the tokens of a device, and over all devices that hold a part of them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """Reduces what each device has found over `axes` of the enclosing `shard_map`; without axes, nothing."""

    axes: tuple[str, ...] = ()

    def sum(self, x: Array) -> Array:
        """Elementwise sum over the devices."""
        return jax.lax.psum(x, self.axes) if self.axes else x

    def max(self, x: Array) -> Array:
        """Elementwise maximum over the devices."""
        return jax.lax.pmax(x, self.axes) if self.axes else x

    def counts(self, *masks: Bool[Array, "*shape"]) -> Int32[Array, " masks"]:
        """How many entries of each of several masks are true, over all devices; exact below 2**31."""
        # One reduction of many operands: XLA makes of a single integer sum a tree that is 20 times as slow on
        # a CPU.
        ones = tuple(mask.astype(jnp.int32) for mask in masks)
        totals = jax.lax.reduce(
            ones,
            (jnp.int32(0),) * len(ones),
            lambda a, b: tuple(map(jnp.add, a, b)),
            tuple(range(ones[0].ndim)),
        )
        return self.sum(jnp.stack(totals))
