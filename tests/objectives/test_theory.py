"""What Lemma 1 and the theorems predict, against entropies that really changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import bandit_covariances, entropy_of_logits, lemma1_change
from tests.objectives import references

STATES, ACTIONS = 11, 37


def random_logits(seed: int, scale: float = 2.0):
    return scale * jax.random.normal(jax.random.key(seed), (STATES, ACTIONS))


def test_entropy_is_the_logarithm_of_the_number_of_equal_logits_and_0_where_one_outweighs_all():
    logits_NV = jnp.stack([jnp.full(ACTIONS, 3.0), jnp.zeros(ACTIONS).at[5].set(200.0)])
    np.testing.assert_allclose(entropy_of_logits(logits_NV), [np.log(ACTIONS), 0], atol=1e-6)


def test_the_lemma_errs_by_the_square_of_the_change():
    before_NV, direction_NV = random_logits(0), random_logits(1, scale=1.0)
    errors = []
    with jax.enable_x64(True):
        before_NV, direction_NV = (jnp.asarray(x, jnp.float64) for x in (before_NV, direction_NV))
        for size in (1e-2, 1e-3, 1e-4):
            after_NV = before_NV + size * direction_NV
            measured_N = entropy_of_logits(after_NV) - entropy_of_logits(before_NV)
            predicted_N = lemma1_change(before_NV, after_NV)
            assert np.abs(measured_N).min() > 1e-3 * size  # there is something to predict
            errors.append(np.abs(predicted_N - measured_N).max())
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 100, rtol=0.1)


def test_the_lemma_predicts_nothing_where_nothing_changed_and_ignores_what_is_added_to_a_row():
    before_NV, after_NV = random_logits(0), random_logits(1)
    assert np.all(np.asarray(lemma1_change(before_NV, before_NV)) == 0)
    shift_N1 = jnp.linspace(-9, 9, STATES)[:, None]
    np.testing.assert_allclose(
        lemma1_change(before_NV + shift_N1, jax.nn.log_softmax(after_NV)),
        lemma1_change(before_NV, after_NV),
        atol=3e-5,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_lemma_is_a_covariance_under_the_policy_before(dtype):
    before_NV, after_NV = (random_logits(seed).astype(dtype) for seed in (2, 3))
    expected_N = [
        references.lemma1_change(*rows) for rows in zip(before_NV.tolist(), after_NV.tolist(), strict=True)
    ]
    np.testing.assert_allclose(lemma1_change(before_NV, after_NV), expected_N, rtol=1e-5, atol=1e-5)


def bandit(counts, rewards):
    """A group in which each action is as often as the policy is to take it; of one token each."""
    action_G = np.repeat(np.arange(len(counts)), counts)
    p_A = np.array(counts) / sum(counts)
    adv_A = np.array(rewards, np.float64) - p_A @ rewards
    logp_PGT = jnp.asarray(np.log(p_A)[action_G][None, :, None])
    return p_A, adv_A, logp_PGT, jnp.ones(logp_PGT.shape, bool), jnp.asarray(adv_A[action_G][None])


@pytest.mark.parametrize("theorem", [1, 2])
@pytest.mark.parametrize("rewards", [(1, 0, 0, 0, 0), (0, 0, 1, 0, 1), (0.3, -1, 2, 0.1, 0)])
def test_each_theorem_predicts_the_entropy_after_a_small_step_of_its_gradient(theorem, rewards):
    """Of a tabular softmax policy: dz = eta pi A by the policy gradient, eta A by the natural one."""
    with jax.enable_x64(True):
        p_A, adv_A, logp_PGT, mask_PGT, adv_PG = bandit((13, 7, 5, 3, 2), rewards)
        covariance = bandit_covariances(logp_PGT, mask_PGT, adv_PG)[theorem - 1]
        logits_A, direction_A = np.log(p_A), (p_A * adv_A, adv_A)[theorem - 1]
        errors = []
        for eta in (1e-2, 1e-3):
            entropies = entropy_of_logits(jnp.stack([logits_A, logits_A + eta * direction_A]))
            measured = entropies[1] - entropies[0]
            errors.append(abs(float(measured + eta * covariance)))
            np.testing.assert_allclose(measured, -eta * covariance, rtol=10 * eta)
        np.testing.assert_allclose(errors[0] / errors[1], 100, rtol=0.2)


def test_a_likely_answer_that_is_right_costs_entropy_and_an_unlikely_one_brings_it():
    for rewards, sign in (((1, 0, 0), 1), ((0, 0, 1), -1)):
        _, _, *group = bandit((5, 3, 2), rewards)
        assert [np.sign(x) for x in bandit_covariances(*group)] == [sign, sign]


def test_the_theorems_covariances_are_those_of_length_normalised_responses_averaged_over_groups():
    rng = np.random.default_rng(0)
    P, G, T = 5, 3, 7
    logp_PGT, adv_PG = -rng.exponential(size=(P, G, T)), rng.normal(size=(P, G))
    length_PG = rng.integers(1, T + 1, (P, G))
    length_PG[3] = 0  # an empty group is no group
    mask_PGT = np.arange(T) < length_PG[..., None]
    logp_PGT[~mask_PGT] = np.nan
    arrays = jnp.asarray(logp_PGT, jnp.float32), jnp.asarray(mask_PGT), jnp.asarray(adv_PG, jnp.float32)
    expected = references.bandit_covariances(logp_PGT.tolist(), mask_PGT.tolist(), adv_PG.tolist())
    np.testing.assert_allclose(bandit_covariances(*arrays), expected, rtol=1e-5)


def test_groups_of_equal_rewards_have_no_covariance_and_count():
    _, _, logp_PGT, mask_PGT, adv_PG = bandit((5, 3, 2), (1, 0, 0))
    alone = bandit_covariances(logp_PGT, mask_PGT, adv_PG)
    beside = bandit_covariances(
        jnp.tile(logp_PGT, (2, 1, 1)), jnp.tile(mask_PGT, (2, 1, 1)), jnp.pad(adv_PG, ((0, 1), (0, 0)))
    )
    np.testing.assert_allclose(beside, np.array(alone) / 2, rtol=1e-6)
