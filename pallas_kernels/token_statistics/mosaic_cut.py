"""How the TPU kernels cut their operands, and what each of them does with one tile of logits.

A tile of logits is [tokens, columns] for both layouts of the head: each of its three products then takes the
head as it lies, and only the gradient of the logits, the smallest array at hand, is ever turned.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Int

from pallas_kernels.token_statistics.implementation import VocabAxis
from pallas_kernels.token_statistics.partials import MASKED

CHUNK = 512
"""Columns of the hidden size in one step of a gradient product: a multiple of every matrix unit's width."""
NUM_ROWS = 8
"""Rows of numbers per token: as many as one register has."""
OPS_PER_LOGIT_BAR = 25
"""Elementwise operations of `Cut.logits` and `Cut.logit_bar` on one logit, an exponential counted as four."""


class Tile(NamedTuple):
    """Sizes of a tile of logits."""

    tokens: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Operands of one device in tiles; the last of each row may reach beyond the arrays."""

    num_tokens: int
    hidden_size: int
    vocab: int
    vocab_axis: VocabAxis
    scale: float
    dtype: jnp.dtype
    has_invalid: bool
    """Whether columns from some traced number on do not count."""
    tile: Tile
    outer_buffers: int
    """Buffers of the blocks that the outer axis of a grid chooses, see `MosaicTiles`."""

    @property
    def num_token_tiles(self) -> int:
        return pl.cdiv(self.num_tokens, self.tile.tokens)

    @property
    def num_vocab_tiles(self) -> int:
        return pl.cdiv(self.vocab, self.tile.columns)

    @property
    def hidden_block(self) -> tuple[int, int]:
        return (self.tile.tokens, self.hidden_size)

    @property
    def head_shape(self) -> tuple[int, int]:
        return self.at_head(self.vocab, self.hidden_size)

    @property
    def head_block(self) -> tuple[int, int]:
        return self.at_head(self.tile.columns, self.hidden_size)

    @property
    def size(self) -> int:
        """Logits of a tile."""
        return self.tile.tokens * self.tile.columns

    def outer_block(self, shape: tuple[int, int], index_map) -> pl.BlockSpec:
        """A block that changes with the outer axis of the grid only."""
        return pl.BlockSpec(shape, index_map, pipeline_mode=pl.Buffered(self.outer_buffers))

    def at_head(self, vocab, hidden) -> tuple:
        """(what is along the vocabulary, what is along the hidden size) in the order of the head's axes."""
        return (vocab, hidden) if self.vocab_axis == 0 else (hidden, vocab)

    @property
    def chunk(self) -> int:
        """Columns of the hidden size in one step of a gradient product, which bounds its result in VMEM."""
        if self.hidden_size <= 2 * CHUNK:
            return self.hidden_size
        return next(width for width in (CHUNK, 256, 128, self.hidden_size) if self.hidden_size % width == 0)

    def pack(self, *rows_T: Array) -> Float[Array, "R Tp"]:
        """Numbers of each token as rows, zero beyond the tokens: [T, 1] would take 128 times its size."""
        rows_RT = jnp.stack([row_T.astype(jnp.float32) for row_T in rows_T])
        num_beyond = self.num_token_tiles * self.tile.tokens - self.num_tokens
        return jnp.pad(rows_RT, ((0, NUM_ROWS - len(rows_T)), (0, num_beyond)))

    def label_row(self, label_T: Int[Array, " T"], limit: Int[Array, "1"]) -> Float[Array, " T"]:
        """Labels as f32, which is exact below 2^24; -1 where the label is not among the columns."""
        return jnp.where((label_T >= 0) & (label_T < limit), label_T, -1).astype(jnp.float32)

    @property
    def has_ragged_tokens(self) -> bool:
        """Whether the last tile of tokens has rows beyond the array, where anything may lie."""
        return self.num_tokens % self.tile.tokens != 0

    @property
    def has_uncounted_columns(self) -> bool:
        """Whether some tile of the vocabulary has columns that do not count, where anything may lie."""
        return self.has_invalid or self.vocab % self.tile.columns != 0

    def is_ragged(self, token_tile):
        """Whether a tile of tokens is the last one and reaches beyond the array."""
        return self.has_ragged_tokens and token_tile == self.num_token_tiles - 1

    def is_uncounted(self, vocab_tile, limit):
        """Whether some columns of a tile do not count."""
        return self.has_uncounted_columns and (vocab_tile + 1) * self.tile.columns > limit

    def columns(self, vocab_tile, num_tokens: int | None = None) -> Int[Array, "B C"]:
        """The column of each logit of a tile, or of its first tokens."""
        shape = (num_tokens or self.tile.tokens, self.tile.columns)
        return vocab_tile * self.tile.columns + jax.lax.broadcasted_iota(jnp.int32, shape, 1)

    def logits(self, hidden_ref, head_ref, vocab_tile, limit) -> Float[Array, "B C"]:
        """Scaled logits of a tile, MASKED where a column does not count."""
        contract = ((1,), (1 - self.vocab_axis,))
        logit_BC = self.scale * product(hidden_ref[...], head_ref[...], contract)
        return self.where_counted(logit_BC, vocab_tile, limit, MASKED)

    def where_counted(self, x_BC, vocab_tile, limit, otherwise) -> Float[Array, "B C"]:
        if self.has_uncounted_columns:
            return jnp.where(self.columns(vocab_tile, x_BC.shape[0]) < limit, x_BC, otherwise)
        return x_BC

    def logit_bar(self, logit_BC, rows_ref, limit, vocab_tile, token_tile) -> Float[Array, "B C"]:
        """Gradient of the unscaled logits; zero beyond the tokens and where a column does not count."""
        label_B1, lse_B1, entropy_B1, logp_bar_B1, entropy_bar_B1 = columns_of(rows_ref[...], 5)
        log_p_BC = logit_BC - lse_B1
        logit_bar_BC = -jnp.exp(log_p_BC) * (logp_bar_B1 + entropy_bar_B1 * (log_p_BC + entropy_B1))
        is_label_BC = self.columns(vocab_tile) == label_B1.astype(jnp.int32)
        logit_bar_BC = self.scale * (logit_bar_BC + jnp.where(is_label_BC, logp_bar_B1, 0))
        logit_bar_BC = self.where_counted(logit_bar_BC, vocab_tile, limit, 0)
        if self.has_ragged_tokens:
            token_BC = token_tile * self.tile.tokens + jax.lax.broadcasted_iota(jnp.int32, self.tile, 0)
            logit_bar_BC = jnp.where(token_BC < self.num_tokens, logit_bar_BC, 0)
        return logit_bar_BC.astype(self.dtype)

    def each_chunk(self, body, is_dirty=False) -> None:
        """`body(slice of the hidden size, must_clean)` for chunk after chunk of it.

        A product of zero with nan is nan, so operands of the gradient products must be clean. If `is_dirty`
        is traced there are two loops, and only the tiles that need it pay for the cleaning.
        """

        def loop(must_clean):
            @pl.loop(0, self.hidden_size // self.chunk)
            def _(i):
                body(pl.ds(pl.multiple_of(i * self.chunk, self.chunk), self.chunk), must_clean)

        if is_dirty is False:
            loop(False)
        else:
            pl.when(is_dirty)(lambda: loop(True))
            pl.when(jnp.logical_not(is_dirty))(lambda: loop(False))

    def to_hidden(self, logit_bar_BC, head_ref, chunk, first_uncounted=None) -> Float[Array, "B H"]:
        """A chunk of the gradient of hidden from one tile, whose columns are clean before the given one."""
        head = head_ref[self.at_head(slice(None), chunk)]
        head = _zero_from(head, first_uncounted, self.vocab_axis)
        return product(logit_bar_BC, head, ((1,), (self.vocab_axis,)))

    def to_head(self, logit_bar_CB, hidden_ref, chunk, first_beyond=None) -> Float[Array, "C H"]:
        """A chunk of the gradient of head as [V, D] from one tile, its rows clean before the given one."""
        return product(logit_bar_CB, _zero_from(hidden_ref[:, chunk], first_beyond, 0), ((1,), (0,)))

    def store_head(self, head_bar_ref, sum_ref, chunk) -> None:
        """Rounds a finished chunk and lays it as the head lies."""
        rounded_CH = sum_ref[:, chunk].astype(self.dtype)
        head_bar_ref[self.at_head(slice(None), chunk)] = rounded_CH if self.vocab_axis == 0 else rounded_CH.T


def _zero_from(x: Array, first, axis: int) -> Array:
    """`x` with zeros from index `first` of an axis on, if it is given."""
    if first is None:
        return x
    return jnp.where(jax.lax.broadcasted_iota(jnp.int32, x.shape, axis) < first, x, jnp.zeros_like(x))


def columns_of(rows_RB: Float[Array, "R B"], count: int) -> list[Float[Array, "B 1"]]:
    """The first `count` rows as columns."""
    rows_BR = rows_RB.T
    return [rows_BR[:, i : i + 1] for i in range(count)]


def product(x: Array, y: Array, contract) -> Array:
    """Product of two tiles in f32; of f32 operands in six bf16 passes, which is f32 in full."""
    exact = x.dtype == jnp.float32
    return jax.lax.dot_general(
        x,
        y,
        (contract, ((), ())),
        precision=jax.lax.Precision.HIGHEST if exact else jax.lax.Precision.DEFAULT,
        preferred_element_type=jnp.float32,
    )
