import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import (
    SequenceMeanTokenMean,
    SequenceMeanTokenSum,
    SequenceMeanTokenSumNorm,
    TokenMean,
    masked_sum,
)

from . import references
from .batches import random_batch

AGGREGATIONS = [
    TokenMean(),
    SequenceMeanTokenSum(),
    SequenceMeanTokenMean(),
    SequenceMeanTokenSumNorm(),
    SequenceMeanTokenSumNorm(length=13),
]
every_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=map(str, AGGREGATIONS))


def average(aggregation, loss, mask):
    return masked_sum(aggregation.weights(mask) * loss, mask)


def test_goldens():
    loss = jnp.array([[1.0, 2.0, 3.0, 4.0], [6.0, 8.0, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]])
    mask = jnp.array([[True] * 4, [True, True, False, False], [False] * 4])
    golden = [24 / 6, (10 + 14) / 2, (10 / 4 + 14 / 2) / 2, (10 + 14) / 4 / 2, (10 + 14) / 13 / 2]
    for aggregation, expected in zip(AGGREGATIONS, golden, strict=True):
        np.testing.assert_allclose(average(aggregation, loss, mask), expected, rtol=1e-6)


@every_aggregation
def test_the_average_equals_the_reference(aggregation):
    batch = random_batch(poison=jnp.nan)
    length = getattr(aggregation, "length", None)
    expected = references.aggregate(type(aggregation).__name__, batch.logp, batch.mask, length)
    np.testing.assert_allclose(average(aggregation, batch.logp, batch.mask), expected, rtol=2e-6)


@every_aggregation
def test_slices_of_the_weights_add_up_to_the_average_of_the_whole(aggregation):
    batch = random_batch()
    weight = aggregation.weights(batch.mask)
    slices = [slice(0, 3), slice(3, 4), slice(4, 7)]
    parts = [masked_sum(weight[rows] * batch.logp[rows], batch.mask[rows]) for rows in slices]
    np.testing.assert_allclose(sum(parts), average(aggregation, batch.logp, batch.mask), rtol=1e-6)


@every_aggregation
def test_weights_are_zero_under_the_mask_and_in_an_empty_batch(aggregation):
    mask = random_batch().mask
    weight = aggregation.weights(mask)
    assert weight.dtype == jnp.float32 and jnp.array_equal(weight > 0, mask)
    assert not aggregation.weights(jnp.zeros_like(mask)).any()


@pytest.mark.parametrize("aggregation", [TokenMean(), SequenceMeanTokenMean()])
def test_the_weights_of_a_mean_sum_to_one_in_float64(aggregation):
    with jax.enable_x64(True):
        assert abs(aggregation.weights(random_batch().mask).sum() - 1) < 1e-14


def test_a_length_below_one_is_an_error():
    with pytest.raises(ValueError, match="length must be a positive"):
        SequenceMeanTokenSumNorm(length=0)
