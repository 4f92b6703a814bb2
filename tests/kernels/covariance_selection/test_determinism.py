"""What no CPU shows by itself: subnormals are zero everywhere, and every operand is computed once.

A CPU flushes subnormals in arithmetic, so that a flush that was forgotten would not be missed. One test
raises the threshold to where the CPU keeps the numbers; another looks at bits that meet no arithmetic.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.covariance_selection import CovarianceSelector, keys

from .cases import DESCRIPTION, SELECTORS, case, largest, uniform

TINY = np.finfo(np.float32).tiny


def flushed(x, threshold):
    return np.where(np.abs(x) < threshold, 0, x)


def test_magnitudes_below_the_smallest_normal_number_are_zero_everywhere(monkeypatch, key):
    batch, threshold = case("random"), 0.25
    # Means above the threshold; deviations so large that a product with a small one is above it as well.
    batch = batch._replace(x=1 + 2 * batch.x, y=1 - 2 * batch.y)
    mask = np.asarray(batch.mask)
    x, y = (flushed(np.where(mask, array, 0).astype(np.float64), threshold) for array in (batch.x, batch.y))
    means = (flushed(array[mask].mean(), threshold) for array in (x, y))
    score = flushed(
        np.prod([flushed(v - m, threshold) for v, m in zip((x, y), means, strict=True)], 0), threshold
    )
    score = np.where(mask, score, 0)
    monkeypatch.setattr(keys, "SMALLEST_NORMAL", np.float32(threshold))
    # Traced anew, since the functions of the tests remember their programs.
    k = jnp.int32(10_000)
    for window in ((0.0, 1.0), (-1.0, 0.0)):
        draw = jax.jit(lambda b, window=window: uniform.__wrapped__(SELECTORS["xla"], b, k, key, window))
        got = draw(batch)
        np.testing.assert_allclose(got.score_BT, score, rtol=1e-5, atol=1e-6)
        candidate = mask & np.asarray(batch.among) & (window[0] < score) & (score < window[1])
        np.testing.assert_array_equal(got.candidate_BT, candidate)
        assert 0 < candidate.sum() == got.num_selected
        assert got.num_selected_positive == (candidate & (x > 0)).sum()
        assert got.num_selected_negative == (candidate & (x < 0)).sum()


def test_no_token_of_subnormal_covariance_lies_beside_zero(key):
    batch = case("subnormal")
    for window in ((0.0, 1.0), (-1.0, 0.0)):
        assert uniform(SELECTORS["xla"], batch, jnp.int32(7), key, window).num_candidates == 0
    got = largest(SELECTORS["xla"], batch, jnp.int32(23))
    assert not np.asarray(got.score_BT).view(np.uint32).any()


def test_the_bits_of_a_subnormal_become_those_of_zero():
    bits = np.uint32([[1, 0x80000001, 0x007FFFFF, 0x807FFFFF, 0x80000000]])
    kept = np.uint32([[0x00800000, 0x80800000, 0x7F7FFFFF, 0x7F800000, 0x3F800000]])
    for given, expected in ((bits, 0 * bits), (kept, kept)):
        got = jax.jit(keys.without_subnormals)(jnp.asarray(given.view(np.float32)))
        np.testing.assert_array_equal(np.asarray(got).view(np.uint32), expected)
    score = jnp.asarray(np.float32([[TINY / 2, -TINY / 2, 1.0]]))
    describe = jax.jit(lambda *operands: CovarianceSelector().distribution(*operands, **DESCRIPTION))
    got = describe(score, jnp.ones((1, 3), bool))
    np.testing.assert_array_equal(np.asarray(got.score_BT).view(np.uint32), [[0, 0, 0x3F800000]])


@pytest.mark.parametrize("choose", [largest, uniform])
def test_no_operation_reads_an_operand_past_the_barrier(choose, key):
    batch = case("random")
    rest = (jnp.int32(7), key) if choose is uniform else (jnp.int32(7),)
    program = jax.make_jaxpr(lambda batch: choose.__wrapped__(SELECTORS["xla"], batch, *rest))(batch).jaxpr
    readers = {var: [] for var in program.invars}
    for equation in program.eqns:
        for operand in equation.invars:
            if not hasattr(operand, "val") and operand in readers:
                readers[operand].append(equation.primitive.name)
    read = [names for names in readers.values() if names]
    assert len(read) == (6 if choose is uniform else 5)  # `among` has no part in the largest
    assert all(names == ["optimization_barrier"] for names in read)
