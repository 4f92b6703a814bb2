"""The operation as TPU kernels (Pallas, compiled by Mosaic): tiles of logits live in VMEM only.

The forward pass is one product. The backward pass is one kernel (`mosaic_fused`, three products) where a chip
has one core, and two kernels (`mosaic_separate`, four products) where it has two: the fused kernel adds all
vocabulary tiles to one sum in HBM and so cannot share them between cores, and half of the matrix units for
three products take longer than all of them for four. The tiles of a chip say which.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Int

from pallas_kernels.token_statistics.implementation import Call, Implementation, Operands, Saved
from pallas_kernels.token_statistics.mosaic_cut import Cut, Tile
from pallas_kernels.token_statistics.mosaic_forward import forward_kernel
from pallas_kernels.token_statistics.mosaic_fused import fused_kernel
from pallas_kernels.token_statistics.mosaic_kernel import Interpret, Kernel
from pallas_kernels.token_statistics.mosaic_separate import head_kernel, hidden_kernel
from pallas_kernels.token_statistics.partials import Partials
from pallas_kernels.token_statistics.tiles import MOSAIC_TILES, FusedTiles, MosaicTiles


@dataclass(frozen=True, kw_only=True)
class Mosaic(Implementation):
    """TPU kernels for operands of one dtype, bf16 or f32 (the latter in full precision)."""

    tiles: MosaicTiles
    vmem_limit_bytes: int
    """VMEM that a kernel may take, of one core."""
    interpret: Interpret = False
    """How to run without a TPU, for tests."""

    @classmethod
    def for_chip(cls, chip: str, *, hidden_size: int, dtype) -> "Mosaic":
        """The tiles of `MOSAIC_TILES` for a chip ("v5e", ...) and the operands' width and dtype."""
        if chip not in MOSAIC_TILES:
            raise ValueError(f"no tiles for chip {chip!r}; there are some for {', '.join(MOSAIC_TILES)}")
        table = MOSAIC_TILES[chip]
        tiles = table.choose(hidden_size * jnp.dtype(dtype).itemsize)
        return cls(tiles=tiles, vmem_limit_bytes=table.vmem_limit_bytes)

    def forward(self, call: Call, operands: Operands) -> Partials:
        ((cut, kernel),) = self.forward_kernels(call, operands)
        limit = _limit(cut, operands)
        rows_RT = cut.pack(cut.label_row(operands.label_T, limit))
        (partials_RT,) = self._run(kernel, limit, operands, rows_RT)
        return Partials(*partials_RT[: len(Partials._fields), : cut.num_tokens])

    def backward(self, call: Call, operands: Operands, saved: Saved) -> tuple[Array, Array]:
        outputs = []
        for cut, kernel in self.backward_kernels(call, operands):
            limit = _limit(cut, operands)
            label_row_T = cut.label_row(operands.label_T, limit)
            rows_RT = cut.pack(
                label_row_T, saved.lse_T, saved.entropy_T, saved.logp_bar_T, saved.entropy_bar_T
            )
            outputs += self._run(kernel, limit, operands, rows_RT)
        head_bar, hidden_bar_TD, *_ = outputs
        return hidden_bar_TD[: operands.hidden_TD.shape[0]], head_bar

    def forward_kernels(self, call: Call, operands: Operands) -> list[tuple[Cut, Kernel]]:
        """The kernels of the forward pass; of the operands only shapes and dtypes count."""
        cut = self._cut(call, operands, self.tiles.forward)
        return [(cut, forward_kernel(cut))]

    def backward_kernels(self, call: Call, operands: Operands) -> list[tuple[Cut, Kernel]]:
        """The kernels of the backward pass, whose outputs begin with the gradients of head and hidden."""
        tiles = self.tiles.backward
        if isinstance(tiles, FusedTiles):
            cut = self._cut(call, operands, tiles.both)
            return [(cut, fused_kernel(cut))]
        to_head, to_hidden = (self._cut(call, operands, tile) for tile in (tiles.head, tiles.hidden))
        return [(to_head, head_kernel(to_head)), (to_hidden, hidden_kernel(to_hidden))]

    def _run(self, kernel: Kernel, limit, operands: Operands, rows_RT) -> tuple[Array, ...]:
        return kernel(
            limit,
            operands.hidden_TD,
            operands.head,
            rows_RT,
            vmem_limit_bytes=self.vmem_limit_bytes,
            interpret=self.interpret,
        )

    def _cut(self, call: Call, operands: Operands, tile: Tile) -> Cut:
        """The operands cut in tiles of at most this size."""
        hidden_TD, head = operands.hidden_TD, operands.head
        if hidden_TD.dtype != head.dtype or hidden_TD.dtype not in (jnp.bfloat16, jnp.float32):
            raise TypeError(f"operands must both be bf16 or f32; got {hidden_TD.dtype} and {head.dtype}")
        (num_tokens, hidden_size), vocab = hidden_TD.shape, head.shape[call.vocab_axis]
        # Few tokens take one tile of whole registers: of 16 rows in bf16.
        return Cut(
            num_tokens=num_tokens,
            hidden_size=hidden_size,
            vocab=vocab,
            vocab_axis=call.vocab_axis,
            scale=call.scale,
            dtype=hidden_TD.dtype,
            has_invalid=operands.num_valid is not None,
            tile=Tile(min(tile.tokens, -(-num_tokens // 16) * 16), min(tile.columns, vocab)),
            outer_buffers=self.tiles.outer_buffers,
        )


def _limit(cut: Cut, operands: Operands) -> Int[Array, "1"]:
    """The number of columns that count."""
    vocab = jnp.int32(cut.vocab)
    return (vocab if operands.num_valid is None else jnp.clip(operands.num_valid, 0, vocab)).reshape(1)
