"""Plain XLA and the interpreted TPU kernels at a real vocabulary."""

import pytest

from pallas_kernels.chips import MIB
from pallas_kernels.token_statistics import Mosaic, XLATiles
from pallas_kernels.token_statistics.mosaic_cut import Tile
from pallas_kernels.token_statistics.tiles import FusedTiles, MosaicTiles, SeparateTiles
from tests.kernels.token_statistics.accuracy import measure

BROAD = Tile(8, 16_384)
"""Few steps for the interpreter: 3 tiles of 17 tokens, 10 of the vocabulary."""


def interpreted(backward) -> Mosaic:
    tiles = MosaicTiles(forward=BROAD, backward=backward)
    return Mosaic(tiles=tiles, vmem_limit_bytes=16 * MIB, interpret=True)


IMPLEMENTATIONS = {
    "xla": XLATiles(max_kept_bytes=0),
    "xla, logits kept": XLATiles(),
    "fused": interpreted(FusedTiles(both=Tile(4, 16_384))),
    "separate": interpreted(SeparateTiles(hidden=BROAD, head=BROAD)),
}


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_errors_at_a_real_vocabulary_are_small(name, dtype):
    what = {"num_tokens": 5, "hidden_size": 19, "logit_std": 8.0, "temperature": 0.6, "vocab_axis": 0}
    row = measure(IMPLEMENTATIONS[name], dtype=dtype, **what)
    assert row.is_good, row


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xla", "xla, logits kept"])
@pytest.mark.parametrize(("logit_std", "temperature"), [(1.0, 1.0), (8.0, 0.6)])
def test_errors_at_a_real_vocabulary_and_width(name, logit_std, temperature):
    what = {"num_tokens": 13, "hidden_size": 896, "dtype": "float32", "vocab_axis": 0}
    row = measure(IMPLEMENTATIONS[name], logit_std=logit_std, temperature=temperature, **what)
    assert row.is_good, row


@pytest.mark.slow
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("num_tokens", [1, 17])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("vocab_axis", [0, 1])
@pytest.mark.parametrize("logit_std", [1.0, 8.0])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_errors_at_a_real_vocabulary_in_every_setting(
    name, num_tokens, dtype, vocab_axis, logit_std, temperature
):
    row = measure(
        IMPLEMENTATIONS[name],
        num_tokens=num_tokens,
        hidden_size=19,
        dtype=dtype,
        vocab_axis=vocab_axis,
        logit_std=logit_std,
        temperature=temperature,
    )
    assert row.is_good, row
