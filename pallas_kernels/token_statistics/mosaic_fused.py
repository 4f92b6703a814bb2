"""The backward pass as one kernel: logits are made again once for both gradients, four products in all.

The vocabulary is outer and tokens are inner. The gradient of a head tile is summed in VMEM; that of hidden
needs an f32 sum of [T, D] to which every vocabulary tile adds, and which lives in HBM. Of f32 operands it
is the output. Of bf16 operands the output has half of the bytes, so until the last vocabulary tile rounds,
it holds the f32 sums of the first half of the rows of each token tile; a temporary of the same size holds
those of the second half. Nothing is lost, and [T, D] is held once more, not twice.

Tiles of the sums go through a ring of R slots in VMEM. Step s

    awaits the tile of s; awaits the write of step s + 1 - R, whose slot comes next; starts to read the tile
    of s + 1 into that slot; adds its product; starts to write its tile.

With N token tiles, the tile of s + 1 was last written at step s + 1 - N, and all writes up to s + 1 - R have
ended when it is read: safe for N >= R. For N <= R every tile keeps its slot, and nothing is read back.
No axis is parallel, because every vocabulary tile adds to the same sums: one core does all the work.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.token_statistics.mosaic_cut import NUM_ROWS, OPS_PER_LOGIT_BAR, Cut
from pallas_kernels.token_statistics.mosaic_kernel import Kernel

NUM_SLOTS = 3
"""A write has a whole step to end before its slot is read into again."""


def fused_kernel(cut: Cut) -> Kernel:
    """(hidden, head, rows) -> gradients of head and of hidden, this one in whole token tiles; temporaries."""

    def body(limit_ref, hidden_ref, head_ref, rows_ref, head_bar_ref, *refs):
        (vocab_tile, token_tile), limit = (pl.program_id(0), pl.program_id(1)), limit_ref[0]
        num_sums = len(_sum_blocks(cut))
        sums_hbm, (sum_ref, *slots, read_semaphores, write_semaphores) = refs[:num_sums], refs[num_sums:]
        ring = _Ring(cut, sums_hbm, slots, read_semaphores, write_semaphores)

        @pl.when(token_tile == 0)
        def _():
            sum_ref[...] = jnp.zeros_like(sum_ref)

        slot = ring.turn(vocab_tile, token_tile)
        logit_BC = cut.logits(hidden_ref, head_ref, vocab_tile, limit)
        logit_bar_BC = cut.logit_bar(logit_BC, rows_ref, limit, vocab_tile, token_tile)
        logit_bar_CB = logit_bar_BC.T

        def add(chunk, must_clean):
            first_uncounted = limit - vocab_tile * cut.tile.columns if must_clean else None
            first_beyond = cut.num_tokens - token_tile * cut.tile.tokens if must_clean else None
            sum_ref[:, chunk] += cut.to_head(logit_bar_CB, hidden_ref, chunk, first_beyond)
            to_hidden_BH = cut.to_hidden(logit_bar_BC, head_ref, chunk, first_uncounted)
            _add(cut, slots, slot, chunk, to_hidden_BH, vocab_tile)

        cut.each_chunk(add, is_dirty=cut.is_ragged(token_tile) | cut.is_uncounted(vocab_tile, limit))
        ring.put_back(slot, vocab_tile, token_tile)

        @pl.when(token_tile == cut.num_token_tiles - 1)
        def _():
            cut.each_chunk(lambda chunk, _: cut.store_head(head_bar_ref, sum_ref, chunk))

    num_slots, blocks = min(NUM_SLOTS, cut.num_token_tiles), _sum_blocks(cut)
    head = cut.outer_block(cut.head_block, lambda v, t, _: cut.at_head(v, 0))
    return Kernel(
        name="token_statistics_both_bars",
        body=body,
        grid=(cut.num_vocab_tiles, cut.num_token_tiles),
        semantics=("arbitrary", "arbitrary"),
        in_specs=(
            pl.BlockSpec(cut.hidden_block, lambda v, t, _: (t, 0)),
            head,
            pl.BlockSpec((NUM_ROWS, cut.tile.tokens), lambda v, t, _: (0, t)),
        ),
        out_specs=(head, *(pl.BlockSpec(memory_space=pltpu.HBM) for _ in blocks)),
        out_types=(
            (cut.head_shape, cut.dtype),
            *(((cut.num_token_tiles * rows, cut.hidden_size), dtype) for rows, dtype in blocks),
        ),
        scratch=(
            pltpu.VMEM((cut.tile.columns, cut.hidden_size), jnp.float32),
            *(pltpu.VMEM((num_slots, rows, cut.hidden_size), dtype) for rows, dtype in blocks),
            pltpu.SemaphoreType.DMA((num_slots, len(blocks))),
            pltpu.SemaphoreType.DMA((num_slots, len(blocks))),
        ),
        products_per_step=3,
        vector_ops_per_step=OPS_PER_LOGIT_BAR * cut.size
        + (2 * cut.tile.tokens + cut.tile.columns) * cut.hidden_size,
        bytes_copied=_bytes_copied(cut),
    )


def _sum_blocks(cut: Cut) -> list[tuple[int, jnp.dtype]]:
    """(rows, dtype) of what holds the sums of one token tile: the output's block, and a temporary's."""
    output = (cut.tile.tokens, jnp.dtype(cut.dtype))
    return [output] if cut.dtype == jnp.float32 else [output, (cut.tile.tokens // 2, jnp.dtype(jnp.float32))]


def _bytes_copied(cut: Cut) -> int:
    """Of the sums: read for all but the first vocabulary tile, written for each."""
    tile_bytes = sum(rows * cut.hidden_size * dtype.itemsize for rows, dtype in _sum_blocks(cut))
    if cut.num_token_tiles <= NUM_SLOTS:
        return cut.num_token_tiles * tile_bytes
    return (2 * cut.num_vocab_tiles - 1) * cut.num_token_tiles * tile_bytes


def _add(cut: Cut, slots, slot, chunk, product_BH, vocab_tile) -> None:
    """Adds to a chunk of the sums in a slot; the first vocabulary tile begins them, the last one rounds."""
    half = cut.tile.tokens // 2
    parts = [product_BH] if cut.dtype == jnp.float32 else [product_BH[:half], product_BH[half:]]
    held = [slots[0][slot, :, chunk], *(ref[slot, :, chunk] for ref in slots[1:])]
    if cut.dtype != jnp.float32:
        held[0] = pltpu.bitcast(held[0], jnp.float32)
    is_first, is_last = vocab_tile == 0, vocab_tile == cut.num_vocab_tiles - 1
    sums = [part + jnp.where(is_first, 0, old) for part, old in zip(parts, held, strict=True)]
    if cut.dtype == jnp.float32:
        slots[0][slot, :, chunk] = sums[0]
        return

    @pl.when(is_last)
    def _():
        slots[0][slot, :, chunk] = jnp.concatenate(sums, axis=0).astype(cut.dtype)

    @pl.when(jnp.logical_not(is_last))
    def _():
        slots[0][slot, :, chunk] = pltpu.bitcast(sums[0], cut.dtype)
        slots[1][slot, :, chunk] = sums[1]


class _Ring(NamedTuple):
    """The slots in VMEM through which the tiles of the sums go to and from HBM."""

    cut: Cut
    sums_hbm: tuple
    slots: list
    read_semaphores: jax.Array
    write_semaphores: jax.Array

    @property
    def stays(self) -> bool:
        """Whether every token tile has a slot of its own."""
        return self.cut.num_token_tiles <= NUM_SLOTS

    def turn(self, vocab_tile, token_tile):
        """The slot that holds this step's tile; the next tile is then on its way."""
        if self.stays:
            return token_tile
        num_tiles = self.cut.num_token_tiles
        step = vocab_tile * num_tiles + token_tile
        slot, next_step, next_slot = step % NUM_SLOTS, step + 1, (step + 1) % NUM_SLOTS

        @pl.when(vocab_tile > 0)
        def _():
            for copy in self._reads(slot, token_tile):
                copy.wait()

        @pl.when(next_step >= NUM_SLOTS)
        def _():
            for copy in self._writes(next_slot, token_tile):  # a wait looks at the size, not at the place
                copy.wait()

        @pl.when((next_step >= num_tiles) & (next_step < self.cut.num_vocab_tiles * num_tiles))
        def _():
            for copy in self._reads(next_slot, next_step % num_tiles):
                copy.start()

        return slot

    def put_back(self, slot, vocab_tile, token_tile) -> None:
        """Starts to write this step's tile, and at the last step awaits all that still is under way."""
        is_last_pass = vocab_tile == self.cut.num_vocab_tiles - 1

        @pl.when(is_last_pass if self.stays else True)
        def _():
            for copy in self._writes(slot, token_tile):
                copy.start()

        @pl.when(is_last_pass & (token_tile == self.cut.num_token_tiles - 1))
        def _():
            # In the ring the slot that comes next was awaited at the turn of this step.
            for i in range(self.cut.num_token_tiles) if self.stays else range(1, NUM_SLOTS):
                for copy in self._writes(i if self.stays else (slot + 1 + i) % NUM_SLOTS, token_tile):
                    copy.wait()

    def _reads(self, slot, token_tile) -> list:
        return self._copies(slot, token_tile, self.read_semaphores, is_read=True)

    def _writes(self, slot, token_tile) -> list:
        return self._copies(slot, token_tile, self.write_semaphores, is_read=False)

    def _copies(self, slot, token_tile, semaphores, *, is_read: bool) -> list:
        copies = []
        for i, (hbm, slots) in enumerate(zip(self.sums_hbm, self.slots, strict=True)):
            rows = slots.shape[1]
            place = hbm.at[pl.ds(pl.multiple_of(token_tile * rows, rows), rows)]
            ends = (place, slots.at[slot]) if is_read else (slots.at[slot], place)
            copies.append(pltpu.make_async_copy(*ends, semaphores.at[slot, i]))
        return copies
