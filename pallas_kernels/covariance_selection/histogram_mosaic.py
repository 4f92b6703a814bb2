"""Histograms of keys on a TPU: two one-hots of a digit's halves, multiplied on the matrix unit.

For a block of tokens along the lanes, with a digit of two halves h, l:

    A[(r, h), t] = 1 where key t continues prefix r with h     B[l, t] = 1 where its lower half is l
    (A @ B.T)[(r, h), l] = keys of the block that continue prefix r with the digit (h, l)

One comparison with (prefix r, h) does both jobs of A. Products of zeros and ones in bf16 add up exactly in
f32 below 2**24; blocks add up in int32.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.covariance_selection.histogram import Histogram

HALF_BITS = 4
HALF = 1 << HALF_BITS
"""Values of half a digit: a tile of 16 sublanes in bf16."""


@dataclass(frozen=True, kw_only=True)
class MosaicHistogram(Histogram):
    """Digits of 8 bits by a Pallas kernel for TPU."""

    block_tokens: int = 8192
    """Tokens of a block, a multiple of 128. VMEM holds at most 170 bytes a token and prefix: 16 MB
    for twelve."""
    interpret: bool | pltpu.InterpretParams = False
    """Run the kernel in an interpreter of TPUs, on a machine without one."""

    def __post_init__(self):
        if self.block_tokens % 128 or not 0 < self.block_tokens < 1 << 24:
            raise ValueError(f"block_tokens must be a multiple of 128 below 2**24, got {self.block_tokens}")

    @property
    def bits(self):
        return 2 * HALF_BITS

    def counts(self, key_N, prefix_R, shift):
        num_tokens, num_rows = key_N.shape[0], prefix_R.shape[0] * HALF
        half_H = jnp.arange(HALF, dtype=jnp.uint32)
        wanted_A = ((prefix_R[:, None] << HALF_BITS) | half_H[None]).reshape(-1, 1)
        # Mosaic prefers signed integers, and logical shifts and equality see only the bits.
        key_1N, wanted_A1 = (jax.lax.bitcast_convert_type(x, jnp.int32) for x in (key_N[None], wanted_A))
        block = min(self.block_tokens, pl.cdiv(num_tokens, 128) * 128)
        counts_AH = pl.pallas_call(
            lambda *refs: _kernel(*refs, num_tokens=num_tokens),
            out_shape=jax.ShapeDtypeStruct((num_rows, HALF), jnp.int32),
            grid=(pl.cdiv(num_tokens, block),),
            in_specs=[
                pl.BlockSpec(memory_space=pltpu.SMEM),
                pl.BlockSpec((num_rows, 1), lambda i: (0, 0)),
                pl.BlockSpec((1, block), lambda i: (0, i)),
            ],
            out_specs=pl.BlockSpec((num_rows, HALF), lambda i: (0, 0)),
            compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",)),
            interpret=self.interpret,
            name="digit_histogram",
        )(shift.astype(jnp.int32)[None], wanted_A1, key_1N)
        return counts_AH.reshape(prefix_R.shape[0], HALF * HALF)


def _kernel(shift_ref, wanted_ref, key_ref, counts_ref, *, num_tokens):
    block = pl.program_id(0)
    shift = shift_ref[0]
    key_1T = key_ref[...]
    width = key_1T.shape[1]
    upper_1T = jax.lax.shift_right_logical(key_1T, jnp.full_like(key_1T, shift + HALF_BITS))
    lower_1T = jax.lax.shift_right_logical(key_1T, jnp.full_like(key_1T, shift)) & (HALF - 1)
    half_HT = jax.lax.broadcasted_iota(jnp.int32, (HALF, width), 0)
    # The last block may reach beyond the tokens, where memory holds anything.
    lane_HT = jax.lax.broadcasted_iota(jnp.int32, (HALF, width), 1)
    inside_HT = lane_HT < num_tokens - block * width
    upper_AT = (upper_1T == wanted_ref[...]).astype(jnp.float32).astype(jnp.bfloat16)
    lower_HT = ((lower_1T == half_HT) & inside_HT).astype(jnp.float32).astype(jnp.bfloat16)
    counts_AH = jax.lax.dot_general(
        upper_AT, lower_HT, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )

    @pl.when(block == 0)
    def _():
        counts_ref[...] = jnp.zeros_like(counts_ref)

    counts_ref[...] += counts_AH.astype(jnp.int32)
