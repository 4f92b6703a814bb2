"""What only the Triton kernels have: blocks, splits and chunks. Interpreted, but where there is a GPU."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.token_statistics import XLATiles
from pallas_kernels.token_statistics.implementation import Call, Operands
from pallas_kernels.token_statistics.triton import Triton
from pallas_kernels.token_statistics.triton_kernels import Blocks
from tests.kernels.token_statistics.cases import make_case, outcome, outcome_in_float64, relative_error

SMALL = Blocks(tokens=16, vocab=16, hidden=16, num_warps=4, num_stages=2)
TRITON = Triton(
    narrow=SMALL,
    wide=SMALL,
    num_splits=3,
    group=2,
    max_chunk_bytes=17 * 4 * 144,
    interpret=jax.default_backend() != "gpu",
)
"""For 37 tokens and 151 columns: 3 blocks of tokens in groups of 2, 10 blocks of columns in splits of 4, 4
and 2, and chunks of 64 columns in f32 and 128 in bf16, with 23 left over."""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("vocab_axis", [0, 1])
def test_many_blocks_each_way_with_ragged_edges_and_nan_behind_them(dtype, vocab_axis):
    case = make_case(37, 23, 151, dtype=dtype, vocab_axis=vocab_axis, num_phantom=29, temperature=0.6)
    valid = case.options["valid_vocab_size"]
    got = outcome(case, implementation=TRITON)
    want = outcome_in_float64(case._replace(head=np.nan_to_num(case.head, nan=0.0)))
    tolerance = {"float32": 1e-6, "bfloat16": 4e-3}[dtype]
    np.testing.assert_allclose(got[0], want[0], atol=5e-6, rtol=0)
    np.testing.assert_allclose(got[1], want[1], atol=5e-6, rtol=0)
    assert relative_error(got[2], want[2]) < tolerance
    assert relative_error(got[3], want[3]) < tolerance
    assert not np.split(got[3], [valid], vocab_axis)[1].any()


@pytest.mark.parametrize("num_splits", [1, 2, 100])
def test_splits_of_the_vocabulary_change_nothing(num_splits):
    case = make_case(5, 23, 151)
    implementation = dataclasses.replace(TRITON, num_splits=num_splits)
    partials = implementation.forward(Call(scale=1.0, vocab_axis=0), operands_of(case))
    logit_TV = np.asarray(case.hidden_TD, np.float64) @ np.asarray(case.head, np.float64).T
    max_T1 = logit_TV.max(axis=1, keepdims=True)
    weight_TV = np.exp(logit_TV - max_T1)
    np.testing.assert_allclose(partials.max_T, max_T1[:, 0], rtol=1e-5)
    np.testing.assert_allclose(partials.sum_T, weight_TV.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(partials.weighted_T, (weight_TV * (logit_TV - max_T1)).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(partials.label_logit_T, logit_TV[range(5), case.label_T], atol=1e-5)


@pytest.mark.parametrize("vocab_axis", [0, 1])
def test_labels_of_other_devices_leave_the_label_logit_at_zero(vocab_axis):
    case = make_case(5, 23, 151, vocab_axis=vocab_axis)
    operands = operands_of(case, label_T=jnp.array([-1, -151, 151, 140, 139]), num_valid=jnp.int32(140))
    call = Call(scale=0.5, vocab_axis=vocab_axis)
    got, want = TRITON.forward(call, operands), XLATiles().forward(call, operands)
    assert not got.label_logit_T[:4].any() and got.label_logit_T[4] != 0
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_the_number_of_valid_columns_may_be_known_only_at_run_time():
    case, call = make_case(5, 23, 151), Call(scale=1.0, vocab_axis=0)
    forward = jax.jit(lambda num_valid: TRITON.forward(call, operands_of(case, num_valid=num_valid)))
    for num_valid in (16, 97, 151):
        want = XLATiles().forward(call, operands_of(case, num_valid=jnp.int32(num_valid)))
        for x, y in zip(forward(jnp.int32(num_valid)), want, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_operands_of_two_dtypes_are_refused():
    case = make_case(5, 23, 151)
    operands = Operands(case.hidden_TD.astype(jnp.bfloat16), case.head, case.label_T, None)
    with pytest.raises(TypeError, match="got bfloat16 and float32"):
        TRITON.forward(Call(scale=1.0, vocab_axis=0), operands)


@pytest.mark.parametrize("sizes", [{"tokens": 8}, {"vocab": 48}, {"hidden": 24}])
def test_blocks_that_triton_cannot_hold_are_refused(sizes):
    with pytest.raises(ValueError, match="powers of two"):
        dataclasses.replace(SMALL, **sizes)


def operands_of(case, **changes) -> Operands:
    return Operands(case.hidden_TD, case.head, case.label_T, None)._replace(**changes)
