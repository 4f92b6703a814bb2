"""How long the TPU kernels should take on a chip: counted from their grids and blocks, never measured.

Each kernel takes the longest of what the matrix units, the memory and the vector units need, as if these
overlapped in full, and the transfers that nothing overlaps: the first blocks in, the last ones out, and
blocks with a single buffer. Not counted: what the compiler's schedule leaves idle.
"""

from dataclasses import dataclass
from itertools import product
from math import prod

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from pallas_kernels.chips import TPUChip
from pallas_kernels.token_statistics.implementation import Call, Operands, VocabAxis
from pallas_kernels.token_statistics.mosaic import Mosaic
from pallas_kernels.token_statistics.mosaic_cut import NUM_ROWS, Cut
from pallas_kernels.token_statistics.mosaic_kernel import Kernel

PASSES_OF_F32 = 6
"""bf16 products that one f32 product in full precision takes."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of a kernel or of several, in seconds and bytes."""

    passes: int
    """Products of the size of all logits."""
    hbm_bytes: int
    ideal_s: float
    """The matrix units' time for the passes, without a row or column beyond the operands."""
    matrix_s: float
    hbm_s: float
    vector_s: float
    modelled_s: float

    @property
    def ratio(self) -> float:
        """Modelled time over the matrix units' time for these passes."""
        return self.modelled_s / self.ideal_s

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{name: value + getattr(other, name) for name, value in vars(self).items()})


def modelled_cost(
    implementation: Mosaic,
    chip: TPUChip,
    *,
    num_tokens: int,
    hidden_size: int,
    vocab: int,
    vocab_axis: VocabAxis,
    dtype,
) -> Cost:
    """Cost of log-probs, entropies and both gradients on one chip that holds all operands."""
    head_shape = (vocab, hidden_size) if vocab_axis == 0 else (hidden_size, vocab)
    operands = Operands(
        jax.ShapeDtypeStruct((num_tokens, hidden_size), dtype),
        jax.ShapeDtypeStruct(head_shape, dtype),
        jax.ShapeDtypeStruct((num_tokens,), jnp.int32),
        None,
    )
    call = Call(scale=1.0, vocab_axis=vocab_axis)
    kernels = implementation.forward_kernels(call, operands) + implementation.backward_kernels(call, operands)
    first, *others = (_cost(cut, kernel, chip) for cut, kernel in kernels)
    return sum(others, first)


def _cost(cut: Cut, kernel: Kernel, chip: TPUChip) -> Cost:
    steps = prod(kernel.grid)
    speed = _share_of_cores(kernel, chip)
    passes_per_product = PASSES_OF_F32 if cut.dtype == jnp.float32 else 1
    flops_per_logit = 2 * cut.hidden_size * kernel.products_per_step * passes_per_product
    # A matrix unit adds up as many terms as it is deep; the vector unit adds up the rest.
    adds_per_logit = flops_per_logit / 2 / chip.matrix_unit_depth
    streamed, alone = _bytes_of_blocks(cut, kernel)
    hbm_bytes = streamed + alone + kernel.bytes_copied
    times = {
        "matrix_s": steps * cut.size * flops_per_logit / chip.bf16_flops / speed,
        "hbm_s": hbm_bytes / chip.hbm_bytes_per_s,
        "vector_s": steps
        * (kernel.vector_ops_per_step + cut.size * adds_per_logit)
        / chip.vector_ops
        / speed,
    }
    return Cost(
        passes=kernel.products_per_step,
        hbm_bytes=hbm_bytes,
        ideal_s=cut.num_tokens * cut.vocab * flops_per_logit / chip.bf16_flops,
        modelled_s=max(times.values()) + alone / chip.hbm_bytes_per_s,
        **times,
    )


def _share_of_cores(kernel: Kernel, chip: TPUChip) -> float:
    """Part of a chip's cores that a kernel keeps busy: only a parallel axis is cut between them."""
    if kernel.semantics[0] != "parallel":
        return 1 / chip.num_cores
    outer = kernel.grid[0]
    return outer / (chip.num_cores * pl.cdiv(outer, chip.num_cores))


def _bytes_of_blocks(cut: Cut, kernel: Kernel) -> tuple[int, int]:
    """(bytes that transfers beside the work take, bytes that nothing overlaps), over the whole grid.

    A block moves when its index changes from one step to the next.
    """
    rows_type = ((NUM_ROWS, cut.num_tokens), jnp.dtype(jnp.float32))
    in_types = (((0, 0), cut.dtype), ((0, 0), cut.dtype), rows_type)
    streamed = alone = 0
    specs = zip(kernel.in_specs + kernel.out_specs, in_types + kernel.out_types, strict=True)
    for spec, (_, dtype) in specs:
        if spec.block_shape is None:
            continue
        indices = [spec.index_map(*step, None) for step in product(*map(range, kernel.grid))]
        moves = 1 + sum(a != b for a, b in zip(indices, indices[1:], strict=False))
        num_bytes = prod(spec.block_shape) * jnp.dtype(dtype).itemsize
        is_single = spec.pipeline_mode is not None and spec.pipeline_mode.buffer_count == 1
        moves_alone = moves if is_single else 1
        streamed += (moves - moves_alone) * num_bytes
        alone += moves_alone * num_bytes
    return streamed, alone
