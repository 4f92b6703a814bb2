"""The backward pass as two kernels, each of which makes the logits again: five products in all.

Each kernel keeps one sum in VMEM and its outer axis is parallel, so that the two cores of a v4 or a v5p share
the work and nothing is added up in HBM. `mosaic_fused` needs only four products, but works on one core.
"""

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.token_statistics.mosaic_cut import NUM_ROWS, OPS_PER_LOGIT_BAR, Cut
from pallas_kernels.token_statistics.mosaic_kernel import Kernel


def hidden_kernel(cut: Cut) -> Kernel:
    """(hidden, head, rows) -> gradient of hidden; tokens outer, vocabulary inner."""

    def body(limit_ref, hidden_ref, head_ref, rows_ref, hidden_bar_ref, sum_ref):
        (token_tile, vocab_tile), limit = (pl.program_id(0), pl.program_id(1)), limit_ref[0]

        @pl.when(vocab_tile == 0)
        def _():
            sum_ref[...] = jnp.zeros_like(sum_ref)

        logit_BC = cut.logits(hidden_ref, head_ref, vocab_tile, limit)
        logit_bar_BC = cut.logit_bar(logit_BC, rows_ref, limit, vocab_tile, token_tile)

        def add(chunk, must_clean):
            first_uncounted = limit - vocab_tile * cut.tile.columns if must_clean else None
            sum_ref[:, chunk] += cut.to_hidden(logit_bar_BC, head_ref, chunk, first_uncounted)

        cut.each_chunk(add, is_dirty=cut.is_uncounted(vocab_tile, limit))

        @pl.when(vocab_tile == cut.num_vocab_tiles - 1)
        def _():
            hidden_bar_ref[...] = sum_ref[...].astype(cut.dtype)

    hidden = cut.outer_block(cut.hidden_block, lambda t, v, _: (t, 0))
    return Kernel(
        name="token_statistics_hidden_bar",
        body=body,
        grid=(cut.num_token_tiles, cut.num_vocab_tiles),
        semantics=("parallel", "arbitrary"),
        in_specs=(
            hidden,
            pl.BlockSpec(cut.head_block, lambda t, v, _: cut.at_head(v, 0)),
            pl.BlockSpec((NUM_ROWS, cut.tile.tokens), lambda t, v, _: (0, t)),
        ),
        out_specs=(hidden,),
        out_types=(((cut.num_tokens, cut.hidden_size), cut.dtype),),
        scratch=(pltpu.VMEM(cut.hidden_block, jnp.float32),),
        products_per_step=2,
        vector_ops_per_step=OPS_PER_LOGIT_BAR * cut.size + cut.tile.tokens * cut.hidden_size,
    )


def head_kernel(cut: Cut) -> Kernel:
    """(hidden, head, rows) -> gradient of head; vocabulary outer, tokens inner."""

    def body(limit_ref, hidden_ref, head_ref, rows_ref, head_bar_ref, sum_ref):
        (vocab_tile, token_tile), limit = (pl.program_id(0), pl.program_id(1)), limit_ref[0]

        @pl.when(token_tile == 0)
        def _():
            sum_ref[...] = jnp.zeros_like(sum_ref)

        logit_BC = cut.logits(hidden_ref, head_ref, vocab_tile, limit)
        logit_bar_CB = cut.logit_bar(logit_BC, rows_ref, limit, vocab_tile, token_tile).T

        def add(chunk, must_clean):
            first_beyond = cut.num_tokens - token_tile * cut.tile.tokens if must_clean else None
            sum_ref[:, chunk] += cut.to_head(logit_bar_CB, hidden_ref, chunk, first_beyond)

        cut.each_chunk(add, is_dirty=cut.is_ragged(token_tile))

        @pl.when(token_tile == cut.num_token_tiles - 1)
        def _():
            cut.each_chunk(lambda chunk, _: cut.store_head(head_bar_ref, sum_ref, chunk))

    head = cut.outer_block(cut.head_block, lambda v, t, _: cut.at_head(v, 0))
    return Kernel(
        name="token_statistics_head_bar",
        body=body,
        grid=(cut.num_vocab_tiles, cut.num_token_tiles),
        semantics=("parallel", "arbitrary"),
        in_specs=(
            pl.BlockSpec(cut.hidden_block, lambda v, t, _: (t, 0)),
            head,
            pl.BlockSpec((NUM_ROWS, cut.tile.tokens), lambda v, t, _: (0, t)),
        ),
        out_specs=(head,),
        out_types=((cut.head_shape, cut.dtype),),
        scratch=(pltpu.VMEM((cut.tile.columns, cut.hidden_size), jnp.float32),),
        products_per_step=2,
        vector_ops_per_step=OPS_PER_LOGIT_BAR * cut.size + cut.tile.columns * cut.hidden_size,
    )
