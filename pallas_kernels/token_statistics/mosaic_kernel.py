"""A TPU kernel as data: what `pallas_call` runs and what the model of its time counts is one description."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Int

Interpret = bool | pltpu.InterpretParams


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """`body(limit, *in_specs, *out_specs, *scratch)` at every step of the grid, the last axis fastest."""

    name: str
    body: Callable[..., None]
    grid: tuple[int, int]
    semantics: tuple[str, str]
    """ "parallel" where the steps of an axis may go to different cores of a chip."""
    in_specs: tuple[pl.BlockSpec, ...]
    out_specs: tuple[pl.BlockSpec, ...]
    out_types: tuple[tuple[tuple[int, ...], jnp.dtype], ...]
    scratch: tuple
    products_per_step: int
    """Matrix products of one tile of logits."""
    vector_ops_per_step: int
    """Elementwise operations on logits and on sums, an estimate."""
    bytes_copied: int = 0
    """What the body itself copies between HBM and VMEM, beside the blocks."""

    def __call__(
        self, limit: Int[Array, "1"], *operands: Array, vmem_limit_bytes: int, interpret: Interpret
    ) -> tuple[Array, ...]:
        """Runs the kernel; `limit` is the number of columns that count."""
        return pl.pallas_call(
            self.body,
            out_shape=tuple(jax.ShapeDtypeStruct(*out_type) for out_type in self.out_types),
            grid_spec=pltpu.PrefetchScalarGridSpec(
                num_scalar_prefetch=1,
                grid=self.grid,
                in_specs=self.in_specs,
                out_specs=self.out_specs,
                scratch_shapes=self.scratch,
            ),
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=self.semantics, vmem_limit_bytes=vmem_limit_bytes
            ),
            interpret=interpret,
            name=self.name,
        )(limit, *operands)
