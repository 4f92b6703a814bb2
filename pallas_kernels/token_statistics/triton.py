"""The operation on NVIDIA GPUs: Triton through Pallas makes tiles of logits that never leave the chip.

Forward, a program holds one block of tokens and walks one split of the vocabulary; plain XLA merges the
partials. Backward, the gradient of hidden is a sum over the vocabulary and that of head one over the tokens.
One kernel for both would have to add one of them up in HBM, block by block, and a kernel for each would make
the logits twice: five products of the size of the head instead of four. So one kernel writes the gradient of
the logits, a chunk of the vocabulary at a time and in the operands' dtype, and the two products are left to
XLA, which has cuBLAS for them.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jaxtyping import Array, Float, Int

from pallas_kernels.token_statistics.implementation import Call, Implementation, Operands, Saved
from pallas_kernels.token_statistics.partials import Partials, rescale
from pallas_kernels.token_statistics.triton_kernels import Blocks, LogitTile, backward_kernel, forward_kernel


@dataclass(frozen=True, kw_only=True)
class Triton(Implementation):
    """Triton kernels. Logits never exist; their gradient exists as chunks [T, W] in the operands' dtype.

    Operands are both f32, both bf16 or both f16; anything else raises a TypeError. Products of f32 are exact
    to f32 (no TF32), hence far from the speed of bf16. JAX 0.12 warns that it will drop this way to Triton.
    """

    narrow: Blocks = Blocks(tokens=128, vocab=256, hidden=64, num_warps=8, num_stages=3)
    """Of operands of 16 bits; ..."""
    wide: Blocks = Blocks(tokens=64, vocab=64, hidden=32, num_warps=8, num_stages=2)
    """... of 32 bits, whose products the tensor cores do not make."""
    num_splits: int = 8
    """Parts of the vocabulary that different programs walk in the forward pass."""
    group: int = 16
    """Blocks of tokens that run together, so that head is read from HBM once for all of them."""
    max_chunk_bytes: int = 64 << 20
    """Most that the gradient of a chunk's logits takes."""
    interpret: bool = False
    """Run the kernels as plain XLA on any device, which is slow: for tests."""

    def forward(self, call: Call, operands: Operands) -> Partials:
        tile = self._tile(call, operands)
        num_tiles = pl.cdiv(tile.vocab, tile.blocks.vocab)
        tiles_per_split = pl.cdiv(num_tiles, min(self.num_splits, num_tiles))
        num_splits = pl.cdiv(num_tiles, tiles_per_split)
        shape = jax.ShapeDtypeStruct((num_splits, tile.num_tokens), jnp.float32)
        parts = self._launch(
            tile, partial(forward_kernel, tile, tiles_per_split), num_splits, Partials(*[shape] * 4)
        )(_num_valid(tile, operands)[None], operands.hidden_TD, operands.head, operands.label_T)
        return _merge(Partials(*parts))

    def backward(self, call: Call, operands: Operands, saved: Saved) -> tuple[Array, Array]:
        tile = self._tile(call, operands)
        hidden_TD, head = operands.hidden_TD, operands.head
        widest = self.max_chunk_bytes // (tile.num_tokens * hidden_TD.dtype.itemsize)
        width = max(1, widest // tile.blocks.vocab) * tile.blocks.vocab
        num_whole, rest = divmod(tile.vocab, width)

        def add_chunk(gradients, i, size=width):
            start = i * width
            logit_bar_TW = self._logit_bar(tile, operands, saved, start // tile.blocks.vocab, size)
            return _add_products(call, operands, gradients, logit_bar_TW, start)

        gradients = (jnp.zeros(hidden_TD.shape, jnp.float32), jnp.zeros(head.shape, head.dtype))
        if num_whole:
            gradients, _ = jax.lax.scan(lambda *a: (add_chunk(*a), None), gradients, jnp.arange(num_whole))
        if rest:
            gradients = add_chunk(gradients, jnp.asarray(num_whole), rest)
        hidden_bar_TD, head_bar = gradients
        return hidden_bar_TD.astype(hidden_TD.dtype), head_bar

    def _logit_bar(
        self, tile: LogitTile, operands: Operands, saved: Saved, first_tile: Int[Array, ""], width: int
    ) -> Float[Array, "T W"]:
        """Gradient of `width` columns of the logits, in the operands' dtype."""
        shape = jax.ShapeDtypeStruct((tile.num_tokens, width), operands.hidden_TD.dtype)
        place_2 = jnp.stack([first_tile.astype(jnp.int32), _num_valid(tile, operands)])
        launch = self._launch(tile, partial(backward_kernel, tile), pl.cdiv(width, tile.blocks.vocab), shape)
        by_token = (saved.lse_T, saved.entropy_T, saved.logp_bar_T, saved.entropy_bar_T)
        return launch(place_2, operands.hidden_TD, operands.head, operands.label_T, *by_token)

    def _launch(self, tile: LogitTile, kernel, num_columns: int, out_shape):
        """`kernel` as a function of whole arrays, over blocks of tokens by `num_columns` blocks or splits."""
        num_blocks = pl.cdiv(tile.num_tokens, tile.blocks.tokens)
        group = min(self.group, num_blocks)
        return pl.pallas_call(
            kernel,
            grid=(group, num_columns, pl.cdiv(num_blocks, group)),
            out_shape=out_shape,
            compiler_params=plgpu.CompilerParams(
                num_warps=tile.blocks.num_warps, num_stages=tile.blocks.num_stages
            ),
            interpret=self.interpret,
        )

    def _tile(self, call: Call, operands: Operands) -> LogitTile:
        hidden_TD, head = operands.hidden_TD, operands.head
        if hidden_TD.dtype != head.dtype or hidden_TD.dtype not in (jnp.float32, jnp.bfloat16, jnp.float16):
            raise TypeError(
                f"hidden and head must both be f32, bf16 or f16; got {hidden_TD.dtype} and {head.dtype}"
            )
        return LogitTile(
            call=call,
            blocks=self.wide if hidden_TD.dtype == jnp.float32 else self.narrow,
            num_tokens=hidden_TD.shape[0],
            hidden_size=hidden_TD.shape[1],
            vocab=head.shape[call.vocab_axis],
        )


def _num_valid(tile: LogitTile, operands: Operands) -> Int[Array, ""]:
    vocab = jnp.asarray(tile.vocab, jnp.int32)
    return vocab if operands.num_valid is None else jnp.minimum(operands.num_valid.astype(jnp.int32), vocab)


def _merge(parts_ST: Partials) -> Partials:
    """One set of partials from those of all splits, whose axis is the first."""
    max_T = parts_ST.max_T.max(axis=0)
    level_ST = jax.vmap(rescale, in_axes=(0, None))(parts_ST, max_T)
    return Partials(max_T, *(part_ST.sum(axis=0) for part_ST in level_ST[1:]))


def _add_products(call: Call, operands: Operands, gradients, logit_bar_TW: Float[Array, "T W"], start):
    """(gradient of hidden, gradient of head) with the share of the columns from `start` on."""
    hidden_bar_TD, head_bar = gradients
    axis, width = call.vocab_axis, logit_bar_TW.shape[1]
    head_chunk = jax.lax.dynamic_slice_in_dim(operands.head, start, width, axis)
    if operands.num_valid is not None:  # 0 times nan would be nan
        is_valid_W = start + jnp.arange(width, dtype=jnp.int32) < operands.num_valid
        head_chunk = jnp.where(jnp.expand_dims(is_valid_W, 1 - axis), head_chunk, 0)
    to_hidden, to_head = ("TW,WD->TD", "TW,TD->WD") if axis == 0 else ("TW,DW->TD", "TW,TD->DW")
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
    head_bar_chunk = product(to_head, logit_bar_TW, operands.hidden_TD).astype(head_bar.dtype)
    return (
        hidden_bar_TD + product(to_hidden, logit_bar_TW, head_chunk),
        jax.lax.dynamic_update_slice_in_dim(head_bar, head_bar_chunk, start, axis),
    )
