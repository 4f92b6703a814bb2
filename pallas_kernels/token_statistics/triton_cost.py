"""How long the operation should take on a GPU, by counting products and bytes: modelled, never measured.

The models stand side by side so that a measurement can be judged: XLA with all logits kept, with tiles of
logits, and the Triton kernels. A kernel takes the longest of what the tensor cores, HBM and the L2 cache
need, as if these overlapped in full, and after that its arithmetic on logits: only a second program on the
same multiprocessor could hide that, and the Triton kernels leave no registers for one.
"""

from dataclasses import dataclass

from jax.experimental import pallas as pl

from pallas_kernels.token_statistics.tiled import XLATiles, tile_width
from pallas_kernels.token_statistics.triton import Triton

LOGIT_OPS_FORWARD, LOGIT_OPS_BACKWARD = 21, 25
"""Instructions for each logit after its product, counted in the compiler's output for Hopper."""


@dataclass(frozen=True, kw_only=True)
class GPU:
    """Peaks, or what was seen of them, in units a second."""

    bf16_flops: float
    hbm_bytes: float
    l2_bytes: float
    """Read by all multiprocessors together."""
    vector_ops: float
    num_multiprocessors: int


H200 = GPU(
    bf16_flops=989e12,
    hbm_bytes=4.8e12,
    l2_bytes=7e12,  # not published; others have measured 5.5 to 7 on an H100
    vector_ops=132 * 128 * 1.755e9,
    num_multiprocessors=132,
)
"""By the vendor's data sheet."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Operands in bf16."""

    num_tokens: int
    hidden_size: int
    vocab: int

    @property
    def logits(self) -> int:
        return self.num_tokens * self.vocab

    @property
    def hidden(self) -> int:
        return self.num_tokens * self.hidden_size

    @property
    def head(self) -> int:
        return self.vocab * self.hidden_size

    def product_s(self, gpu: GPU, hbm_bytes: float | int, l2_bytes: float | int = 0) -> float:
        """Seconds of one product of the size of all logits that moves so many bytes."""
        flops = 2 * self.logits * self.hidden_size
        return max(flops / gpu.bf16_flops, hbm_bytes / gpu.hbm_bytes, l2_bytes / gpu.l2_bytes)


def naive_s(shape: Shape, gpu: GPU) -> tuple[float, float]:
    """Seconds (forward, backward) of XLA with logits kept in bf16: three products.

    Forward reads the logits for the maximum, for the sum and for the entropy; backward reads them once and
    writes their gradient, which two products read.
    """
    operands = 2 * (shape.hidden + shape.head)
    forward_s = shape.product_s(gpu, operands + 2 * shape.logits) + 3 * 2 * shape.logits / gpu.hbm_bytes
    product_s = shape.product_s(gpu, operands + 2 * shape.logits)
    return forward_s, 2 * 2 * shape.logits / gpu.hbm_bytes + 2 * product_s


def tiles_s(shape: Shape, gpu: GPU, tiles: XLATiles) -> tuple[float, float]:
    """Seconds (forward, backward) of `XLATiles`: tiles of f32 logits, four products."""
    width = tile_width(shape.num_tokens, shape.vocab, tiles.max_tile_bytes, tiles.min_width)
    num_tiles = pl.cdiv(shape.vocab, width)
    logits = shape.product_s(gpu, 2 * (num_tiles * shape.hidden + shape.head) + 4 * shape.logits)
    forward_s = logits + 2 * 4 * shape.logits / gpu.hbm_bytes
    gradient_s = (4 + 2) * shape.logits / gpu.hbm_bytes
    return forward_s, logits + gradient_s + _gradients_s(shape, gpu, num_tiles)


def triton_s(shape: Shape, gpu: GPU, triton: Triton) -> tuple[float, float]:
    """Seconds (forward, backward) of `Triton`: tiles of logits on the chip, four products."""
    blocks = triton.narrow
    num_blocks = pl.cdiv(shape.num_tokens, blocks.tokens)
    # Every tile reads its part of both operands from L2; a group of programs reads head from HBM once.
    l2_bytes = 2 * shape.logits * shape.hidden_size * (1 / blocks.tokens + 1 / blocks.vocab)
    read = 2 * (shape.hidden + pl.cdiv(num_blocks, triton.group) * shape.head)

    def kernel_s(num_programs: int, logit_ops: int, written: int) -> float:
        waves = pl.cdiv(num_programs, gpu.num_multiprocessors)
        idle = waves * gpu.num_multiprocessors / num_programs
        product_s = shape.product_s(gpu, read + written, l2_bytes)
        return idle * (product_s + logit_ops * shape.logits / gpu.vector_ops)

    width = max(1, triton.max_chunk_bytes // (2 * shape.num_tokens * blocks.vocab)) * blocks.vocab
    num_chunks = pl.cdiv(shape.vocab, width)
    forward_s = kernel_s(num_blocks * triton.num_splits, LOGIT_OPS_FORWARD, 0)
    gradient_s = kernel_s(num_blocks * width // blocks.vocab, LOGIT_OPS_BACKWARD, 2 * shape.logits)
    return forward_s, gradient_s + _gradients_s(shape, gpu, num_chunks)


def _gradients_s(shape: Shape, gpu: GPU, num_parts: int) -> float:
    """Seconds of the two products of the backward pass; each part adds to the f32 gradient of hidden."""
    to_hidden = 2 * shape.logits + 2 * shape.head + 2 * 4 * num_parts * shape.hidden
    to_head = 2 * shape.logits + 2 * num_parts * shape.hidden + 2 * shape.head
    return shape.product_s(gpu, to_hidden) + shape.product_s(gpu, to_head)
