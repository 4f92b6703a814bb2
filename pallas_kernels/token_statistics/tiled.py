"""The operation in plain XLA, a tile of the vocabulary at a time.

Few logits are kept for the backward pass, which then makes three products of the size of the head, as all
logits at once would. Of many each tile is made again, a fourth product, and no array of [T, V] ever exists.
On a CPU the first is a fifth faster than all logits at once and the second about as fast, since a tile stays
in the cache (EXPERIMENTS.md, 2026-11-20).
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pallas_kernels.token_statistics.implementation import Call, Implementation, Operands, Saved
from pallas_kernels.token_statistics.partials import MASKED, Partials, rescale

_product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


@dataclass(frozen=True, kw_only=True)
class XLATiles(Implementation):
    """Plain XLA, in tiles [T, C]; every tile reads all of `hidden` again."""

    max_tile_bytes: int = 32 << 20
    """Most that a tile of logits, or the part of the head that makes it, takes in f32, ..."""
    min_width: int = 512
    """... but it has at least as many columns as this."""
    max_kept_bytes: int = 1 << 30
    """Logits of at most so many bytes in f32 are kept for the backward pass; 0 never keeps any."""

    def forward(self, call: Call, operands: Operands) -> Partials:
        return self._forward(call, operands, keep=False)[0]

    def forward_for_gradient(self, call: Call, operands: Operands) -> tuple[Partials, Array | None]:
        num_logits = operands.label_T.shape[0] * operands.head.shape[call.vocab_axis]
        return self._forward(call, operands, keep=4 * num_logits <= self.max_kept_bytes)

    def _forward(self, call: Call, operands: Operands, *, keep: bool) -> tuple[Partials, Array | None]:
        tiles = self._tiles(call, operands)
        label_T = operands.label_T

        def add_tile(running, i):
            start, head_tile = tiles.take(i)
            logit_TC = tiles.logits(head_tile, i, start)
            new_max_T = jnp.maximum(running.max_T, logit_TC.max(axis=1))
            running = rescale(running, new_max_T)
            shifted_TC = logit_TC - new_max_T[:, None]
            weight_TC = jnp.exp(shifted_TC)
            place_T = label_T - start
            logit_T = jnp.take_along_axis(logit_TC, jnp.clip(place_T, 0, tiles.width - 1)[:, None], axis=1)[
                :, 0
            ]
            is_here_T = (place_T >= 0) & (place_T < tiles.width)
            return Partials(
                max_T=new_max_T,
                sum_T=running.sum_T + jnp.sum(weight_TC, axis=1),
                weighted_T=running.weighted_T + jnp.sum(weight_TC * shifted_TC, axis=1),
                label_logit_T=jnp.where(is_here_T & (logit_T > MASKED), logit_T, running.label_logit_T),
            ), logit_TC if keep else None

        zero_T = jnp.zeros(label_T.shape, tiles.dtype)
        begin = Partials(jnp.full(label_T.shape, MASKED, tiles.dtype), zero_T, zero_T, zero_T)
        return jax.lax.scan(add_tile, begin, jnp.arange(tiles.count))

    def backward(self, call: Call, operands: Operands, saved: Saved) -> tuple[Array, Array]:
        tiles = self._tiles(call, operands)
        hidden_TD, head = operands.hidden_TD, operands.head
        logp_bar_T1, entropy_bar_T1 = saved.logp_bar_T[:, None], saved.entropy_bar_T[:, None]

        def add_tile(gradients, tile):
            (hidden_bar_TD, head_bar), (i, kept_TC) = gradients, tile
            start, head_tile = tiles.take(i)
            logit_TC = tiles.logits(head_tile, i, start) if kept_TC is None else kept_TC
            log_p_TC = logit_TC - saved.lse_T[:, None]
            from_entropy_TC = entropy_bar_T1 * (log_p_TC + saved.entropy_T[:, None])
            logit_bar_TC = -jnp.exp(log_p_TC) * (logp_bar_T1 + from_entropy_TC)
            column_1C = jnp.arange(tiles.width, dtype=operands.label_T.dtype)[None]
            is_label_TC = (operands.label_T - start)[:, None] == column_1C
            logit_bar_TC = logit_bar_TC + jnp.where(is_label_TC, logp_bar_T1, 0)
            logit_bar_TC = (call.scale * tiles.where_counted(logit_bar_TC, i, start, 0)).astype(
                hidden_TD.dtype
            )
            to_hidden, to_head = (
                ("TC,CD->TD", "TC,TD->CD") if call.vocab_axis == 0 else ("TC,DC->TD", "TC,TD->DC")
            )
            product = partial(_product, preferred_element_type=tiles.dtype)
            hidden_bar_TD = hidden_bar_TD + product(to_hidden, logit_bar_TC, head_tile)
            return (
                hidden_bar_TD,
                tiles.add(head_bar, product(to_head, logit_bar_TC, hidden_TD), start),
            ), None

        begin = (jnp.zeros(hidden_TD.shape, tiles.dtype), jnp.zeros(head.shape, head.dtype))
        tile_numbers = jnp.arange(tiles.count)
        (hidden_bar_TD, head_bar), _ = jax.lax.scan(add_tile, begin, (tile_numbers, saved.kept))
        return hidden_bar_TD.astype(hidden_TD.dtype), head_bar

    def _tiles(self, call: Call, operands: Operands) -> "_Tiles":
        vocab, num_rows = operands.head.shape[call.vocab_axis], max(operands.hidden_TD.shape)
        return _Tiles(call, operands, tile_width(num_rows, vocab, self.max_tile_bytes, self.min_width))


class _Tiles(NamedTuple):
    """How the vocabulary is cut: tile i begins at min(i * width, vocab - width)."""

    call: Call
    operands: Operands
    width: int

    @property
    def vocab(self) -> int:
        return self.operands.head.shape[self.call.vocab_axis]

    @property
    def count(self) -> int:
        return -(-self.vocab // self.width)

    @property
    def dtype(self):
        return jnp.promote_types(self.operands.hidden_TD.dtype, jnp.float32)

    def take(self, i):
        """(first column of the tile, its part of the head)."""
        axis, num_valid = self.call.vocab_axis, self.operands.num_valid
        start = jnp.minimum(i * self.width, self.vocab - self.width)
        tile = jax.lax.dynamic_slice_in_dim(self.operands.head, start, self.width, axis)
        if num_valid is not None:  # a product with nan would be nan, whatever is masked afterwards
            is_valid_C = start + jnp.arange(self.width, dtype=jnp.int32) < num_valid
            tile = jnp.where(jnp.expand_dims(is_valid_C, 1 - axis), tile, 0)
        return start, tile

    def logits(self, head_tile, i, start):
        """Scaled logits [T, C]; MASKED where a column does not count."""
        equation = "TD,CD->TC" if self.call.vocab_axis == 0 else "TD,DC->TC"
        logit_TC = _product(equation, self.operands.hidden_TD, head_tile, preferred_element_type=self.dtype)
        return self.where_counted(self.call.scale * logit_TC, i, start, MASKED)

    def where_counted(self, x_TC, i, start, otherwise):
        """`x` but for invalid columns, and those that the last tile, moved back to be whole, repeats."""
        column_1C = start + jnp.arange(self.width, dtype=jnp.int32)[None]
        if self.operands.num_valid is not None:
            x_TC = jnp.where(column_1C < self.operands.num_valid, x_TC, otherwise)
        if self.vocab % self.width:
            x_TC = jnp.where(column_1C >= i * self.width, x_TC, otherwise)
        return x_TC

    def add(self, head_bar, tile_bar, start):
        """`head_bar` with the gradient of one tile; columns that the last tile repeats keep theirs."""
        axis, tile_bar = self.call.vocab_axis, tile_bar.astype(head_bar.dtype)
        if self.vocab % self.width:
            tile_bar = tile_bar + jax.lax.dynamic_slice_in_dim(head_bar, start, self.width, axis)
        return jax.lax.dynamic_update_slice_in_dim(head_bar, tile_bar, start, axis)


def tile_width(num_rows: int, vocab: int, max_tile_bytes: int, min_width: int) -> int:
    """Columns of a tile: what `max_tile_bytes` hold in f32, or a divisor of the vocabulary not far below."""
    widest = min(vocab, max(min_width, max_tile_bytes // (4 * num_rows)))
    fewest = -(-vocab // widest)
    divisors = [n for n in range(fewest, 2 * fewest + 1) if vocab % n == 0]
    return vocab // divisors[0] if divisors else widest
