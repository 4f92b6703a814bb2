"""The model of the TPU kernels' time: counts by hand, and the bound on every chip at the shape of 7B."""

import dataclasses

import jax.numpy as jnp
import pytest

from entropy_rl.bench.tpu_statistics import UPDATE_OF_7B, Workload, cost_of
from pallas_kernels.chips import MIB, TPU_CHIPS
from pallas_kernels.token_statistics.mosaic import Mosaic
from pallas_kernels.token_statistics.mosaic_cost import modelled_cost
from pallas_kernels.token_statistics.mosaic_cut import Tile
from pallas_kernels.token_statistics.tiles import FusedTiles, MosaicTiles, SeparateTiles

CHIP = dataclasses.replace(
    TPU_CHIPS["v5p"], bf16_flops=1e6, hbm_bytes_per_s=1e6, matrix_unit_depth=2, clock_hz=1e6
)
FORWARD = Tile(256, 128)
SIZES = {"num_tokens": 512, "hidden_size": 4, "vocab": 384}
ROWS = 8 * 256 * 4
"""Bytes of a block of numbers of tokens."""
HIDDEN, HEAD = 2 * 512 * 4, 2 * 384 * 4
"""Bytes of the bf16 operands, and of their gradients."""


def cost(backward, outer_buffers=2):
    tiles = MosaicTiles(forward=FORWARD, backward=backward, outer_buffers=outer_buffers)
    implementation = Mosaic(tiles=tiles, vmem_limit_bytes=16 * MIB)
    return modelled_cost(implementation, CHIP, **SIZES, vocab_axis=0, dtype=jnp.dtype("bfloat16"))


def test_bytes_of_separate_kernels_by_hand():
    """The head is read for each of 2 tiles of tokens, hidden and rows for each of 3 of the vocabulary."""
    got = cost(SeparateTiles(hidden=Tile(256, 128), head=Tile(256, 128)))
    forward = HIDDEN + 2 * HEAD + 2 * 2 * ROWS
    to_hidden = 2 * HIDDEN + 2 * HEAD + 2 * ROWS
    to_head = 3 * HIDDEN + 2 * HEAD + 3 * 2 * ROWS
    assert got.passes == 5
    assert got.hbm_bytes == forward + to_hidden + to_head


def test_bytes_of_the_fused_kernel_by_hand():
    """4 token tiles make the sums of [T, D] in f32 go out 3 times and come back twice."""
    got = cost(FusedTiles(both=Tile(128, 128)))
    forward = HIDDEN + 2 * HEAD + 2 * 2 * ROWS
    sums = (3 + 2) * 2 * HIDDEN
    assert got.passes == 4
    assert got.hbm_bytes == forward + 3 * HIDDEN + 2 * HEAD + 3 * 4 * (ROWS // 2) + sums


def test_a_fused_kernel_has_one_of_two_cores():
    """Products: 1 on both cores, 3 on one; ragged tiles would add to them."""
    got = cost(FusedTiles(both=Tile(128, 128)))
    one_pass = 2 * 512 * 384 * 4 / 1e6
    assert got.ideal_s == pytest.approx(4 * one_pass)
    assert got.matrix_s == pytest.approx(7 * one_pass)


def test_a_single_buffer_is_not_overlapped():
    both = FusedTiles(both=Tile(128, 128))
    single, double = cost(both, outer_buffers=1), cost(both)
    assert single.hbm_bytes == double.hbm_bytes
    # One more hidden tile in the forward, and two more head tiles each way in the backward.
    assert single.modelled_s - double.modelled_s == pytest.approx((HIDDEN / 2 + 4 * HEAD / 3) / 1e6)


@pytest.mark.parametrize("vocab_axis", [0, 1])
@pytest.mark.parametrize(("chip", "passes"), [("v5e", 4), ("v5p", 5), ("v6e", 4), ("v4", 5)])
def test_the_matrix_units_bound_the_modelled_time(chip, passes, vocab_axis):
    got = cost_of(chip, UPDATE_OF_7B, vocab_axis)
    assert got.passes == passes
    assert 1 <= got.ratio <= 1.25


@pytest.mark.parametrize("chip", TPU_CHIPS)
@pytest.mark.parametrize(("hidden_size", "vocab"), [(896, 151_936), (1536, 151_936), (5120, 152_064)])
def test_other_sizes_of_the_family_stay_near_the_matrix_units(chip, hidden_size, vocab):
    workload = Workload(num_tokens=8192, hidden_size=hidden_size, vocab=vocab, dtype="bfloat16")
    assert cost_of(chip, workload, 0).ratio <= 1.25
