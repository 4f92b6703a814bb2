"""What only the TPU kernels have: tiles, a ring of copies and two ways back. All interpreted on the CPU."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.pallas.mosaic.interpret import interpret_pallas_call
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.sharding import Shards
from pallas_kernels.token_statistics.implementation import Call, Operands
from pallas_kernels.token_statistics.mosaic import Mosaic
from pallas_kernels.token_statistics.mosaic_cut import Tile
from pallas_kernels.token_statistics.tiles import FusedTiles, MosaicTiles, SeparateTiles
from tests.kernels.token_statistics.cases import make_case, outcome, outcome_in_float64, relative_error

FUSED = MosaicTiles(forward=Tile(8, 48), backward=FusedTiles(both=Tile(4, 48)))
"""Of 17 tokens and 131 columns: 3 or 5 tiles of tokens, 3 of columns, and the last of each is ragged."""
SEPARATE = MosaicTiles(
    forward=Tile(8, 48), backward=SeparateTiles(hidden=Tile(8, 64), head=Tile(4, 48)), outer_buffers=1
)
BROAD = MosaicTiles(forward=Tile(16, 80), backward=FusedTiles(both=Tile(16, 80)))
"""Of 17 tokens and 131 columns: 2 tiles each way, for the sake of the interpreter's time."""
MOSAIC = Mosaic(tiles=BROAD, vmem_limit_bytes=1 << 24, interpret=pltpu.InterpretParams())


def carefully(tiles: MosaicTiles) -> Mosaic:
    """Interpreted with copies that land as late as they may, races detected, and nan in unwritten memory."""
    careful = pltpu.InterpretParams(
        detect_races=True, uninitialized_memory="nan", dma_execution_mode="on_wait"
    )
    return dataclasses.replace(MOSAIC, tiles=tiles, interpret=careful)


def check(case, implementation, **how):
    got = outcome(case, implementation=implementation, **how)
    assert not interpret_pallas_call.races.races_found
    want = outcome_in_float64(case._replace(head=np.nan_to_num(case.head, nan=0.0)))
    tolerance = {"float32": 1e-6, "bfloat16": 4e-3}[case.hidden_TD.dtype.name]
    for x, y in zip(got[:2], want[:2], strict=True):
        np.testing.assert_allclose(x, y, atol=5e-6, rtol=0)
    for x, y in zip(got[2:], want[2:], strict=True):
        assert relative_error(x, y) < tolerance
    return got


@pytest.mark.parametrize("tiles", [FUSED, SEPARATE], ids=["fused", "separate"])
@pytest.mark.parametrize(("vocab_axis", "dtype"), [(0, "bfloat16"), (1, "float32")])
def test_no_race_and_nothing_unwritten_counts(tiles, vocab_axis, dtype):
    case = make_case(17, 7, 131, dtype=dtype, vocab_axis=vocab_axis, num_phantom=29, temperature=0.6)
    head_bar = check(case, carefully(tiles))[3]
    assert not np.split(head_bar, [102], vocab_axis)[1].any()


@pytest.mark.parametrize("num_token_tiles", [3, 4])
def test_sums_that_travel_through_hbm_in_halves_lose_no_bit(num_token_tiles):
    """3 tiles of tokens stay in VMEM and 4 travel; the other kernel keeps f32 sums of the same products."""
    tile, forward = Tile(4, 16), Tile(16, 67)
    case = make_case(4 * num_token_tiles, 5, 67, dtype="bfloat16")
    fused = MosaicTiles(forward=forward, backward=FusedTiles(both=tile))
    separate = MosaicTiles(forward=forward, backward=SeparateTiles(hidden=tile, head=tile))
    got = outcome(case, implementation=carefully(fused))
    assert not interpret_pallas_call.races.races_found
    want = outcome(case, implementation=dataclasses.replace(MOSAIC, tiles=separate))
    np.testing.assert_array_equal(got[2], want[2])
    np.testing.assert_array_equal(got[3], want[3])


def test_devices_of_a_mesh_share_tokens_and_vocabulary():
    mesh = jax.make_mesh((4, 2), ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    shards = Shards(mesh=mesh, tokens=("data",), vocabulary="tensor")
    case = make_case(12, 5, 38, vocab_axis=1, num_phantom=23)
    check(case, carefully(FUSED), shards=shards)


def test_labels_of_other_devices_leave_the_label_logit_at_zero():
    case = make_case(5, 7, 131)
    operands = Operands(case.hidden_TD, case.head, jnp.array([-131, -1, 0, 131, 2**30]), jnp.int32(131))
    partials = MOSAIC.forward(Call(scale=1.0, vocab_axis=0), operands)
    logit = np.asarray(case.hidden_TD, np.float64)[2] @ np.asarray(case.head, np.float64)[0]
    np.testing.assert_allclose(partials.label_logit_T, [0, 0, logit, 0, 0], atol=1e-5)


def test_refuses_operands_and_chips_that_it_does_not_know():
    case = make_case(5, 7, 131)
    operands = Operands(case.hidden_TD, case.head.astype("bfloat16"), case.label_T, None)
    with pytest.raises(TypeError, match="bf16 or f32; got float32 and bfloat16"):
        MOSAIC.forward(Call(scale=1.0, vocab_axis=0), operands)
    with pytest.raises(ValueError, match="no tiles for chip 'v1'; there are some for v4, v5e"):
        Mosaic.for_chip("v1", hidden_size=896, dtype="bfloat16")
    with pytest.raises(ValueError, match="rows of hidden of 24576 bytes are wider than the widest"):
        Mosaic.for_chip("v5e", hidden_size=12_288, dtype="bfloat16")
