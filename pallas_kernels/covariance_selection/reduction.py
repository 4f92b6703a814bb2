"""Reductions over all devices that hold a part of the tokens."""

from dataclasses import dataclass

import jax
from jaxtyping import Array


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
