import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import GroupAdvantage

from . import references

# Binary rewards, groups of 8, k right: mean k/8, std sqrt(k (8 - k) / 56).
# k = 1: (1 - 0.125) / 0.353553 = 2.4749 and -0.125 / 0.353553 = -0.3536; k and 8 - k are mirror images.
BINARY_TABLE = {
    1: (2.4749, -0.3536),
    2: (1.6202, -0.5401),
    3: (1.2076, -0.7246),
    4: (0.9354, -0.9354),
    5: (0.7246, -1.2076),
    6: (0.5401, -1.6202),
    7: (0.3536, -2.4749),
}


@pytest.mark.parametrize("num_right", BINARY_TABLE)
@pytest.mark.parametrize("scale, offset", [(1, 0), (2, -1)], ids=["0/1", "+-1"])
def test_binary_rewards_give_the_golden_table_at_any_scale_and_offset(num_right, scale, offset):
    reward_PG = jnp.where(jnp.arange(8) < num_right, 1.0, 0.0)[None] * scale + offset
    right, wrong = BINARY_TABLE[num_right]
    expected = np.where(np.arange(8) < num_right, right, wrong)[None]
    np.testing.assert_allclose(GroupAdvantage()(reward_PG), expected, atol=6e-5)


@pytest.mark.parametrize("normalize_by_std", [True, False])
@pytest.mark.parametrize("group_size", [1, 2, 5])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_advantages_equal_the_reference(normalize_by_std, group_size, dtype):
    reward_PG = jnp.asarray(np.random.default_rng(0).normal(size=(3, group_size)), dtype)
    advantage = GroupAdvantage(normalize_by_std=normalize_by_std)
    settings = {"normalize_by_std": normalize_by_std, "eps": advantage.eps}
    expected = [references.group_advantage(group, **settings) for group in reward_PG.astype(float).tolist()]
    np.testing.assert_allclose(advantage(reward_PG), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("reward", [0.0, 0.1, -1 / 3, 1e4 + 0.1])
def test_equal_rewards_give_exactly_zero(reward):
    assert not GroupAdvantage()(jnp.full((3, 7), reward)).any()


def test_advantages_of_a_group_sum_to_zero():
    reward_PG = jnp.asarray(np.random.default_rng(1).normal(size=(5, 7)), jnp.float32)
    np.testing.assert_allclose(GroupAdvantage()(reward_PG).sum(axis=1), 0, atol=2e-6)


def test_a_group_of_one_keeps_its_reward():
    reward_PG = jnp.array([[1.0], [-2.0]])
    np.testing.assert_allclose(GroupAdvantage()(reward_PG), reward_PG, rtol=2e-6)
    assert jnp.array_equal(GroupAdvantage(normalize_by_std=False)(reward_PG), reward_PG)
