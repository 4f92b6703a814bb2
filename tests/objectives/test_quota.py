import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import exact_quota

from . import references

MAX_TOKENS = 2**31 - 1


def quotas(fraction, nums, at_least_one=False):
    nums = jnp.asarray(np.asarray(nums, np.int32))
    return exact_quota(fraction, nums, at_least_one=at_least_one).tolist()


def test_goldens():
    assert quotas(2e-4, [8192, 4999, 5000]) == [1, 0, 1]  # 1.6384, 0.9998, 1
    assert quotas(0.3, [7, 10]) == [2, 3]  # 2.1, 3
    assert quotas(0.29, [100]) == [29]  # 28.999999999999996 in floating point
    assert quotas(2e-3, [MAX_TOKENS]) == [4294967]  # 4294967.294
    assert quotas(0.1, [2**24 + 4]) == [1677722]  # 1677722.0, where float32 counts in steps of 2


@pytest.mark.parametrize("fraction", [0.0, 2e-4, 2e-3, 0.07, 0.29, 0.3, 1 / 3, 0.58, 0.999, 1.0])
def test_every_batch_up_to_three_thousand_tokens_is_exact(fraction):
    expected = [references.quota(fraction, n, at_least_one=False) for n in range(3000)]
    assert quotas(fraction, range(3000)) == expected


def test_long_decimals_are_exact_up_to_the_largest_batch():
    rng = np.random.default_rng(0)
    nearly_one, tiny = 1 - 2**-53, 5e-324
    for fraction in [nearly_one, tiny, 1e-9, *rng.random(6), *10 ** rng.uniform(-12, 0, 6)]:
        nums = [*rng.integers(0, MAX_TOKENS, 50).tolist(), 0, 1, MAX_TOKENS - 1, MAX_TOKENS]
        assert quotas(fraction, nums) == [
            references.quota(float(fraction), n, at_least_one=False) for n in nums
        ]


def test_batches_at_which_the_quota_steps_are_exact():
    for fraction in (0.3, 2e-4, 0.123456789, 0.9999999):
        edges = [int(k / fraction) + offset for k in (1, 2, 97, 100003) for offset in (-1, 0, 1)]
        edges = [n for n in edges if n <= MAX_TOKENS]
        assert quotas(fraction, edges) == [references.quota(fraction, n, at_least_one=False) for n in edges]


def test_at_least_one_token_is_selected_wherever_there_is_one():
    assert quotas(2e-4, [0, 1, 7, 10000], at_least_one=True) == [0, 1, 1, 2]
    assert quotas(0.0, [0, 5], at_least_one=True) == [0, 1]


def test_the_number_of_tokens_may_be_traced_and_the_answer_is_int32_in_either_mode():
    traced = jax.jit(lambda n: exact_quota(0.3, n, at_least_one=False))
    assert traced(jnp.int32(7)) == 2 and traced(jnp.int32(7)).dtype == jnp.int32
    with jax.enable_x64(True):
        assert traced(jnp.int64(MAX_TOKENS)) == 644245094 and traced(jnp.int64(7)).dtype == jnp.int32


@pytest.mark.parametrize("fraction", [-0.1, 1.1, 20.0, float("nan")])
def test_a_fraction_outside_zero_to_one_is_an_error(fraction):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        quotas(fraction, [7])
