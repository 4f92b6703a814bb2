"""Means are exact to 2**-30 of the largest magnitude and the same for any order, cut or placement."""

from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.covariance_selection.exact_sum import masked_means
from pallas_kernels.covariance_selection.keys import float_keys, integer_keys, keys_to_float
from pallas_kernels.covariance_selection.reduction import Reduction

TINY = float(np.finfo(np.float32).tiny)


@jax.jit
def mean(x, mask):
    return masked_means((x,), mask, Reduction())[0]


def exact(x, mask) -> Fraction:
    values = [Fraction(float(value)) for value in np.asarray(x)[np.asarray(mask)]]
    return sum(values) / max(len(values), 1)


@pytest.mark.parametrize("scale", [1.0, 1e-37, 3e38, 7e4, 2.0**-20])
def test_the_error_is_a_unit_of_the_fixed_point_and_one_rounding(scale):
    rng = np.random.default_rng(0)
    x = jnp.asarray(np.clip(scale * rng.normal(size=(7, 211)) / 4, -3.4e38, 3.4e38), jnp.float32)
    mask = jnp.asarray(rng.random((7, 211)) < 0.6)
    wanted, largest = exact(x, mask), float(jnp.max(jnp.abs(x), where=mask, initial=0))
    error = abs(Fraction(float(mean(x, mask))) - wanted)
    # A mean may also be subnormal, which is to say zero.
    assert error <= Fraction(largest) / 2**29 + abs(wanted) / 2**24 + Fraction(TINY)


def test_means_of_equal_values_are_that_value_and_of_nothing_zero():
    for value in (0.1, -1e-38, 3.3e38, 123456.789, 1.5 * TINY):
        x = jnp.full((7, 211), value, jnp.float32)
        assert mean(x, x == x) == x[0, 0]
    assert mean(jnp.full((3, 5), jnp.nan), jnp.zeros((3, 5), bool)) == 0
    assert mean(jnp.full((3, 5), TINY / 4), jnp.ones((3, 5), bool)) == 0


def test_a_sum_of_floats_moves_with_the_order_and_this_one_does_not():
    rng = np.random.default_rng(1)
    x = np.float32(rng.normal(size=4096) * 10.0 ** rng.integers(-6, 3, 4096))
    mask = np.ones(4096, bool)
    means, sums = set(), set()
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(4096)
        means.add(
            float(
                mean(
                    jnp.asarray(x[order].reshape(2 << seed % 7, -1)),
                    jnp.asarray(mask.reshape(2 << seed % 7, -1)),
                )
            )
        )
        sums.add(float(np.cumsum(x[order])[-1]))
    assert len(means) == 1 and len(sums) > 1


@pytest.mark.parametrize("number", [0, 1, 7, 2**16 + 3, 2**31 - 2**12])
def test_repeated_entries_count_as_if_they_were_there(number):
    x = jnp.asarray(np.random.default_rng(2).normal(size=(7, 211)), jnp.float32)
    masks, values = (x > 0.3, x < 9), jnp.array([-0.7, 5.5], jnp.float32)
    means = jax.jit(lambda number: masked_means((x, x), masks, Reduction(), repeated=(values, number)))
    got = means(jnp.array([number, 0], jnp.int32))
    own = [Fraction(float(value)) for value in np.asarray(x)[np.asarray(masks[0])]]
    wanted = (sum(own) + number * Fraction(float(values[0]))) / (len(own) + number)
    error, largest = abs(Fraction(float(got[0])) - wanted), float(jnp.abs(x).max())
    assert error <= Fraction(largest) / 2**29 + abs(wanted) / 2**24
    # Only the fixed point is coarser, as 5.5 is larger than what is there.
    np.testing.assert_allclose(got[1], mean(x, masks[1]), atol=8 / 2**29)


@pytest.mark.parametrize("num_devices", [2, 8])
def test_the_mean_does_not_depend_on_the_devices(num_devices):
    x = 1000 + jax.random.normal(jax.random.key(0), (16, 211))
    mask = x > 999.5
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:num_devices]), ("data",))
    rows = jax.sharding.PartitionSpec("data")
    local = partial(masked_means, reduction=Reduction(axes=("data",)))
    sharded = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=((rows, rows), rows),
        out_specs=jax.sharding.PartitionSpec(),
        check_vma=False,
    )
    got = jax.jit(sharded)((x, -x), mask)
    assert got[0] == mean(x, mask) and got[1] == mean(-x, mask)


def test_sums_beyond_32_bits_carry():
    x = jnp.full((512, 1024), np.float32(2 - 2**-23))  # 2**19 times almost 2**31 units
    assert mean(x, x > 0) == x[0, 0]
    x = x.at[::2].set(-(2 - 2**-23))
    assert mean(x, x < 3) == 0


def test_keys_have_the_order_of_their_floats_and_lead_back_to_them():
    finite = np.float32([-3.4e38, -1.0, -TINY, 0, TINY, 1e-3, 1.0, np.nextafter(np.float32(1), 2), 3.4e38])
    key = np.asarray(float_keys(jnp.asarray(finite)))
    assert (np.diff(key.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(keys_to_float(jnp.asarray(key)), finite)
    same = jnp.asarray(np.float32([0.0, -0.0, TINY / 2, -TINY / 2, 1e-45, -1e-45]))
    assert len(set(np.asarray(float_keys(same)).tolist())) == 1
    half = jnp.asarray([-2.5, -0.0, 0.0, 3e-39, 0.125, 7.0], jnp.bfloat16)
    np.testing.assert_array_equal(float_keys(half), float_keys(half.astype(jnp.float32)))


def test_integer_keys_have_the_order_of_their_integers():
    x = jnp.array([-(2**31), -7, -1, 0, 1, 5, 2**31 - 1], jnp.int32)
    assert (np.diff(np.asarray(integer_keys(x)).astype(np.int64)) > 0).all()
