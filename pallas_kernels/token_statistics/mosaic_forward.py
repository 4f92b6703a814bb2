"""The forward kernel: one pass over the vocabulary for each tile of tokens, which stays in VMEM meanwhile."""

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.token_statistics.mosaic_cut import NUM_ROWS, Cut, columns_of
from pallas_kernels.token_statistics.mosaic_kernel import Kernel
from pallas_kernels.token_statistics.partials import MASKED

OPS_PER_LOGIT = 18
"""Elementwise operations on one logit, an exponential counted as four."""
BLOCK_TOKENS = 256
"""Tokens of one product: the next block's runs in the matrix units beside this one's exponentials."""


def forward_kernel(cut: Cut) -> Kernel:
    """(hidden, head, rows of label) -> rows of the four partials."""

    def body(limit_ref, hidden_ref, head_ref, rows_ref, partials_ref, *running_refs):
        vocab_tile, limit = pl.program_id(1), limit_ref[0]

        @pl.when(vocab_tile == 0)
        def _():
            running_refs[0][...] = jnp.full_like(running_refs[0], MASKED)
            for ref in running_refs[1:]:
                ref[...] = jnp.zeros_like(ref)

        (label_B1,) = columns_of(rows_ref[...], 1)
        label_B1 = label_B1.astype(jnp.int32)
        for first in range(0, cut.tile.tokens, BLOCK_TOKENS):
            block = pl.ds(first, min(BLOCK_TOKENS, cut.tile.tokens - first))
            logit_BC = cut.logits(hidden_ref.at[block], head_ref, vocab_tile, limit)
            is_label_BC = cut.columns(vocab_tile, block.size) == label_B1[first : first + block.size]
            _add(logit_BC, is_label_BC, [ref.at[block] for ref in running_refs])

        @pl.when(vocab_tile == cut.num_vocab_tiles - 1)
        def _():
            columns = [ref[...] for ref in running_refs]
            blank_B1 = jnp.zeros_like(columns[0])
            partials_ref[...] = jnp.concatenate(columns + [blank_B1] * (NUM_ROWS - 4), axis=1).T

    rows = pl.BlockSpec((NUM_ROWS, cut.tile.tokens), lambda t, v, _: (0, t))
    return Kernel(
        name="token_statistics_forward",
        body=body,
        grid=(cut.num_token_tiles, cut.num_vocab_tiles),
        semantics=("parallel", "arbitrary"),
        in_specs=(
            cut.outer_block(cut.hidden_block, lambda t, v, _: (t, 0)),
            pl.BlockSpec(cut.head_block, lambda t, v, _: cut.at_head(v, 0)),
            rows,
        ),
        out_specs=(rows,),
        out_types=(((NUM_ROWS, cut.num_token_tiles * cut.tile.tokens), jnp.dtype(jnp.float32)),),
        scratch=(pltpu.VMEM((cut.tile.tokens, 1), jnp.float32),) * 4,
        products_per_step=1,
        vector_ops_per_step=OPS_PER_LOGIT * cut.size,
    )


def _add(logit_BC, is_label_BC, running_refs) -> None:
    """Adds logits of some tokens to their running (max, sum, weighted, label logit)."""
    max_B1, sum_B1, weighted_B1, label_logit_B1 = (ref[...] for ref in running_refs)
    new_max_B1 = jnp.maximum(max_B1, logit_BC.max(axis=1, keepdims=True))
    fall_B1 = max_B1 - new_max_B1
    decay_B1 = jnp.exp(fall_B1)
    shifted_BC = logit_BC - new_max_B1
    weight_BC = jnp.exp(shifted_BC)
    added = (weight_BC, weight_BC * shifted_BC, jnp.where(is_label_BC, logit_BC, 0))
    rescaled = (decay_B1 * sum_B1, decay_B1 * (weighted_B1 + fall_B1 * sum_B1), label_logit_B1)
    running_refs[0][...] = new_max_B1
    for ref, old_B1, new_BC in zip(running_refs[1:], rescaled, added, strict=True):
        ref[...] = old_B1 + new_BC.sum(axis=1, keepdims=True)
