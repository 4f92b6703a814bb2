"""The TPU compiler itself on the TPU kernels, for every chip, without a TPU."""

import pytest

from entropy_rl.bench.tpu_statistics import UPDATE_OF_7B, Workload, naive_temp_bytes, temp_bytes
from pallas_kernels.chips import MIB, TPU_CHIPS

pytestmark = pytest.mark.usefixtures("tpu_devices")
MAX_TEMP_BYTES = 64 * MIB
CHIPS_AND_LAYOUTS = [(chip, vocab_axis) for chip in TPU_CHIPS for vocab_axis in (0, 1)]
IN_DEFAULT_SUITE = [("v5p", 1), ("v6e", 0)]


@pytest.mark.parametrize(
    ("chip", "vocab_axis"),
    [
        pytest.param(*each, marks=() if each in IN_DEFAULT_SUITE else pytest.mark.slow)
        for each in CHIPS_AND_LAYOUTS
    ],
)
def test_temporary_memory_at_the_shape_of_7b(chip, vocab_axis):
    assert temp_bytes(chip, UPDATE_OF_7B, vocab_axis) <= MAX_TEMP_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("chip", TPU_CHIPS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    ("hidden_size", "vocab", "vocab_axis"),
    [(896, 151_936, 0), (1536, 151_936, 0), (3584, 152_064, 0), (3584, 152_064, 1), (5120, 152_064, 1)],
)
def test_sizes_of_the_family_compile(chip, dtype, hidden_size, vocab, vocab_axis):
    """Beside what the operands' gradients take, at most [T, D] of f32 in two halves of bf16."""
    workload = Workload(num_tokens=8192, hidden_size=hidden_size, vocab=vocab, dtype=dtype)
    assert temp_bytes(chip, workload, vocab_axis) <= 2 * 8192 * hidden_size + MIB


@pytest.mark.slow
@pytest.mark.parametrize("chip", TPU_CHIPS)
@pytest.mark.parametrize(("num_tokens", "vocab"), [(1, 151_936), (17, 151_935), (8191, 151_808)])
@pytest.mark.parametrize("vocab_axis", [0, 1])
def test_ragged_operands_with_phantom_columns_compile(chip, num_tokens, vocab, vocab_axis):
    workload = Workload(num_tokens=num_tokens, hidden_size=896, vocab=vocab, dtype="bfloat16")
    most = 3 * 2 * (num_tokens + 1024) * 896 + MIB
    assert temp_bytes(chip, workload, vocab_axis, valid_vocab_size=vocab - 100) <= most


@pytest.mark.slow
def test_all_logits_at_once_take_far_more():
    assert naive_temp_bytes("v5p", UPDATE_OF_7B, 1) > 4000 * MIB
