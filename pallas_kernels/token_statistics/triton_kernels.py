"""What one program on the GPU does: a tile of logits in registers, made from chunks of the hidden size.

Operands stay in global memory and are read in blocks; what lies beyond their edges is masked when it is read.
Whether a phantom column counts is decided on its logit instead: no other column of logits depends on it, and
a mask that is known only when the program runs would forbid wide reads.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from pallas_kernels.token_statistics.implementation import Call
from pallas_kernels.token_statistics.partials import MASKED, Partials, rescale


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """How one program cuts its work; every size is a power of two, at least 16."""

    tokens: int
    vocab: int
    hidden: int
    """Read at a time, of each token and of each column."""
    num_warps: int
    num_stages: int
    """Reads in flight; each takes (tokens + vocab) * hidden elements of shared memory."""

    def __post_init__(self):
        for size in (self.tokens, self.vocab, self.hidden):
            if size < 16 or size & (size - 1):
                raise ValueError(f"block sizes must be powers of two, at least 16; got {self}")


@dataclass(frozen=True, kw_only=True)
class LogitTile:
    """A block of tokens by a block of columns, of operands of these sizes."""

    call: Call
    blocks: Blocks
    num_tokens: int
    hidden_size: int
    vocab: int

    def logits(self, hidden_ref, head_ref, token, column):
        """Scaled logits f32 [B, C] of the tokens from `token` on and the columns from `column` on."""
        tokens, columns, width = self.blocks.tokens, self.blocks.vocab, self.blocks.hidden
        axis = self.call.vocab_axis

        def add_chunk(i, product_BC):
            place = i * width
            hidden_BK = _read(hidden_ref, (token, place), (tokens, width))
            if axis == 0:
                head_block = _read(head_ref, (column, place), (columns, width))
            else:
                head_block = _read(head_ref, (place, column), (width, columns))
            return product_BC + jax.lax.dot_general(
                hidden_BK,
                head_block,
                (((1,), (1 - axis,)), ((), ())),
                precision=jax.lax.Precision.HIGHEST,
                preferred_element_type=jnp.float32,
            )

        zero_BC = jnp.zeros((tokens, columns), jnp.float32)
        return self.call.scale * jax.lax.fori_loop(0, pl.cdiv(self.hidden_size, width), add_chunk, zero_BC)

    def columns(self, column):
        """Numbers of the columns from `column` on, int32 [1, C]."""
        return column + jnp.arange(self.blocks.vocab, dtype=jnp.int32)[None]

    def read_tokens(self, ref, token):
        """A block [B] of an array [T]; 0 beyond its end, where programs of the last group may lie."""
        is_token_B = self.are_tokens(token)
        return plgpu.load(ref.at[pl.ds(token, self.blocks.tokens)], mask=is_token_B, other=0)

    def are_tokens(self, token):
        """Which of the tokens from `token` on exist, bool [B]."""
        return _inside(token, self.blocks.tokens, self.num_tokens)


def forward_kernel(
    tile: LogitTile, tiles_per_split: int, num_valid_ref, hidden_ref, head_ref, label_ref, *out_refs
):
    """Partials of one block of tokens over one split of the vocabulary, into arrays [splits, T]."""
    token = _token(tile)
    split = pl.program_id(1)
    limit = num_valid_ref[0]
    label_B = tile.read_tokens(label_ref, token)
    label_B = jnp.where(label_B < limit, label_B, -1)  # a label that does not count is in no column

    def add_tile(i, running):
        column_1C = tile.columns(i * tile.blocks.vocab)
        logit_BC = tile.logits(hidden_ref, head_ref, token, i * tile.blocks.vocab)
        logit_BC = jnp.where(column_1C < limit, logit_BC, MASKED)
        new_max_B = jnp.maximum(running.max_T, jnp.max(logit_BC, axis=1))
        running = rescale(running, new_max_B)
        is_label_BC = label_B[:, None] == column_1C
        label_logit_B = jnp.sum(jnp.where(is_label_BC, logit_BC, 0.0), axis=1)
        shifted_BC = logit_BC - new_max_B[:, None]
        weight_BC = jnp.exp(shifted_BC)
        return Partials(
            max_T=new_max_B,
            sum_T=running.sum_T + jnp.sum(weight_BC, axis=1),
            weighted_T=running.weighted_T + jnp.sum(weight_BC * shifted_BC, axis=1),
            label_logit_T=running.label_logit_T + label_logit_B,
        )

    first = split * tiles_per_split
    last = jnp.minimum(first + tiles_per_split, pl.cdiv(tile.vocab, tile.blocks.vocab))
    last = jnp.where(token < tile.num_tokens, last, first)
    zero_B = jnp.zeros((tile.blocks.tokens,), jnp.float32)
    partials = jax.lax.fori_loop(
        first, last, add_tile, Partials(jnp.full_like(zero_B, MASKED), zero_B, zero_B, zero_B)
    )
    for out_ref, part_B in zip(out_refs, partials, strict=True):
        block = out_ref.at[split, pl.ds(token, tile.blocks.tokens)]
        plgpu.store(block, part_B, mask=tile.are_tokens(token))


def backward_kernel(tile: LogitTile, place_ref, hidden_ref, head_ref, label_ref, *refs):
    """Gradient of one tile of logits, into an array [T, W] of the W columns of one chunk."""
    *saved_refs, out_ref = refs
    token, column_out = _token(tile), pl.program_id(1) * tile.blocks.vocab
    # A product with the block's size, not the column itself, lets the compiler see how reads are aligned.
    column = (place_ref[0] + pl.program_id(1)) * tile.blocks.vocab
    limit = place_ref[1]

    @pl.when(token < tile.num_tokens)
    def _():
        lse_B, entropy_B, logp_bar_B, entropy_bar_B = (tile.read_tokens(ref, token) for ref in saved_refs)
        label_B = tile.read_tokens(label_ref, token)
        column_1C = tile.columns(column)
        log_p_BC = tile.logits(hidden_ref, head_ref, token, column) - lse_B[:, None]
        from_entropy_BC = entropy_bar_B[:, None] * (log_p_BC + entropy_B[:, None])
        logit_bar_BC = -jnp.exp(log_p_BC) * (logp_bar_B[:, None] + from_entropy_BC)
        is_label_BC = label_B[:, None] == column_1C
        logit_bar_BC = logit_bar_BC + jnp.where(is_label_BC, logp_bar_B[:, None], 0.0)
        logit_bar_BC = jnp.where(column_1C < limit, tile.call.scale * logit_bar_BC, 0.0)
        _write(out_ref, (token, column_out), logit_bar_BC.astype(out_ref.dtype))


def _token(tile: LogitTile):
    """First token of this program: programs that run together share columns, so tokens come fastest."""
    return (pl.program_id(2) * pl.num_programs(0) + pl.program_id(0)) * tile.blocks.tokens


def _inside(start, block: int, size: int):
    return start + jnp.arange(block, dtype=jnp.int32) < size


def _mask(starts, block, shape):
    """Where a block of an array lies inside of it; None when all blocks do."""
    mask = None
    for axis, (start, width, size) in enumerate(zip(starts, block, shape, strict=True)):
        if size % width:
            others = tuple(other for other in range(len(block)) if other != axis)
            inside = jnp.broadcast_to(jnp.expand_dims(_inside(start, width, size), others), block)
            mask = inside if mask is None else mask & inside
    return mask


def _at(ref, starts, block):
    return ref.at[tuple(pl.ds(start, width) for start, width in zip(starts, block, strict=True))]


def _read(ref, starts, block):
    """A block of an array, 0 beyond its edges."""
    mask = _mask(starts, block, ref.shape)
    return plgpu.load(_at(ref, starts, block), mask=mask, other=None if mask is None else 0)


def _write(ref, starts, x):
    plgpu.store(_at(ref, starts, x.shape), x, mask=_mask(starts, x.shape, ref.shape))
