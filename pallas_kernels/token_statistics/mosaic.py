"""The operation as TPU kernels (Pallas, compiled by Mosaic): tiles of logits live in VMEM only."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Int

from pallas_kernels.token_statistics.implementation import Call, Implementation, Operands, Saved
from pallas_kernels.token_statistics.mosaic_cut import Cut, Tile
from pallas_kernels.token_statistics.mosaic_forward import forward_kernel
from pallas_kernels.token_statistics.mosaic_kernel import Interpret, Kernel
from pallas_kernels.token_statistics.mosaic_separate import head_kernel, hidden_kernel
from pallas_kernels.token_statistics.partials import Partials
from pallas_kernels.token_statistics.tiles import MosaicTiles


@dataclass(frozen=True, kw_only=True)
class Mosaic(Implementation):
    """TPU kernels for operands of one dtype, bf16 or f32 (the latter in full precision)."""

    tiles: MosaicTiles
    vmem_limit_bytes: int
    """VMEM that a kernel may take, of one core."""
    interpret: Interpret = False
    """How to run without a TPU, for tests."""

    def forward(self, call: Call, operands: Operands) -> Partials:
        cut = cut_of(call, operands, self.tiles.forward)
        limit = _limit(cut, operands)
        rows_RT = cut.pack(cut.label_row(operands.label_T, limit))
        (partials_RT,) = self._run(forward_kernel(cut), limit, operands, rows_RT)
        return Partials(*partials_RT[: len(Partials._fields), : cut.num_tokens])

    def backward(self, call: Call, operands: Operands, saved: Saved) -> tuple[Array, Array]:
        tiles = self.tiles.backward
        to_hidden, to_head = (cut_of(call, operands, tile) for tile in (tiles.hidden, tiles.head))
        (hidden_bar_TD,) = self._gradient(hidden_kernel(to_hidden), to_hidden, operands, saved)
        (head_bar,) = self._gradient(head_kernel(to_head), to_head, operands, saved)
        return hidden_bar_TD, head_bar

    def _gradient(self, kernel: Kernel, cut: Cut, operands: Operands, saved: Saved) -> tuple[Array, ...]:
        limit = _limit(cut, operands)
        return self._run(kernel, limit, operands, cut.pack(cut.label_row(operands.label_T, limit), *saved))

    def _run(self, kernel: Kernel, limit, operands: Operands, rows_RT) -> tuple[Array, ...]:
        return kernel(
            limit,
            operands.hidden_TD,
            operands.head,
            rows_RT,
            vmem_limit_bytes=self.vmem_limit_bytes,
            interpret=self.interpret,
        )


def cut_of(call: Call, operands: Operands, tile: Tile) -> Cut:
    """The operands cut in tiles of at most this size."""
    hidden_TD, head = operands.hidden_TD, operands.head
    if hidden_TD.dtype != head.dtype or hidden_TD.dtype not in (jnp.bfloat16, jnp.float32):
        raise TypeError(f"operands must both be bf16 or f32; got {hidden_TD.dtype} and {head.dtype}")
    (num_tokens, hidden_size), vocab = hidden_TD.shape, head.shape[call.vocab_axis]
    # 16 rows are one register of bf16; two of them can be halved.
    return Cut(
        num_tokens=num_tokens,
        hidden_size=hidden_size,
        vocab=vocab,
        vocab_axis=call.vocab_axis,
        scale=call.scale,
        dtype=hidden_TD.dtype,
        has_invalid=operands.num_valid is not None,
        tile=Tile(min(tile.tokens, -(-num_tokens // 16) * 16), min(tile.columns, vocab)),
    )


def _limit(cut: Cut, operands: Operands) -> Int[Array, "1"]:
    """The number of columns that count."""
    vocab = jnp.int32(cut.vocab)
    return (vocab if operands.num_valid is None else jnp.clip(operands.num_valid, 0, vocab)).reshape(1)
