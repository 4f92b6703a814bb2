import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import select_largest, select_uniform, token_covariance

from . import references
from .batches import golden_batch, indices, random_batch

largest = jax.jit(select_largest)
uniform = jax.jit(select_uniform)
IDS = jnp.array([31, -4, 17, 5, 2, 11, 3])


def tied_batch(seed):
    """Scores on a grid of 5 values, so that most of the choice is by identity; both zeros occur."""
    rng = np.random.default_rng(seed)
    score = rng.integers(-2, 3, (7, 11)) * np.where(rng.random((7, 11)) < 0.5, 0.25, -0.25)
    return jnp.asarray(score, jnp.float32), random_batch(seed).mask


def test_the_golden_covariances():
    # mean A = (4 - 3) * 0.9354 / 7 = 0.133629;
    # mean logp = -(0.10 + 2.50 + 0.05 + 0.70 + 0.20 + 4.00 + 1.20) / 7 = -1.25;
    # entry (0, 0) = (0.9354 - 0.133629) * (-0.10 + 1.25) = 0.922037.
    batch = golden_batch()
    expected = [[0.922037, -1.002214, 0.962126, 0.440974], [-1.122480, 2.939829, -0.053451, 0]]
    np.testing.assert_allclose(token_covariance(batch.adv, batch.logp, batch.mask), expected, atol=2e-6)


@pytest.mark.parametrize("dtype, atol", [(jnp.float32, 1e-6), (jnp.bfloat16, 1e-6)], ids=["f32", "bf16"])
@pytest.mark.parametrize("poison", [None, jnp.nan, -jnp.inf])
def test_covariance_equals_the_reference(dtype, atol, poison):
    batch = random_batch(dtype=dtype, poison=poison)
    expected = np.zeros(batch.mask.shape)
    for index, value in references.covariance(batch.adv, batch.logp, batch.mask).items():
        expected[index] = value
    got = token_covariance(batch.adv, batch.logp, batch.mask)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=atol)


def test_covariance_of_no_token_or_of_one_is_zero():
    batch = random_batch(poison=jnp.nan)
    nowhere = jnp.zeros_like(batch.mask)
    assert not token_covariance(batch.adv, batch.logp, nowhere).any()
    assert not token_covariance(batch.adv, batch.logp, nowhere.at[3, 0].set(True)).any()


@pytest.mark.parametrize("k", [0, 1, 2, 3, 11, 36, 37, 99])
@pytest.mark.parametrize("seed", range(3))
def test_the_k_largest_equal_the_reference_with_and_without_ties(k, seed):
    batch = random_batch(seed)
    for score, eligible in ((batch.logp, batch.mask), tied_batch(seed)):
        chosen = largest(score, eligible, jnp.int32(k), IDS)
        assert indices(chosen) == references.largest(score, eligible, k, IDS)


@pytest.mark.parametrize("k", [0, 1, 5, 37, 99])
def test_the_uniform_choice_equals_the_reference(k, key):
    eligible = random_batch().mask
    assert indices(uniform(eligible, jnp.int32(k), IDS, key)) == references.uniform(eligible, k, IDS, key)


def test_scores_that_are_not_finite_are_never_chosen():
    score = jnp.array([[jnp.inf, 1.0, jnp.nan], [-jnp.inf, -1e38, 0.0]])
    chosen = largest(score, jnp.ones((2, 3), bool), jnp.int32(6), jnp.arange(2))
    assert indices(chosen) == {(0, 1), (1, 1), (1, 2)}


def test_nothing_is_chosen_where_nothing_is_eligible(key):
    nowhere = jnp.zeros((7, 11), bool)
    assert not largest(jnp.ones((7, 11)), nowhere, jnp.int32(3), IDS).any()
    assert not uniform(nowhere, jnp.int32(3), IDS, key).any()


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_follows_the_sequences_through_any_permutation(seed, key):
    score, eligible = tied_batch(seed)
    order = jax.random.permutation(jax.random.key(seed), 7)
    k = jnp.int32(13)
    chosen = largest(score, eligible, k, IDS)
    assert jnp.array_equal(largest(score[order], eligible[order], k, IDS[order]), chosen[order])
    drawn = uniform(eligible, k, IDS, key)
    assert jnp.array_equal(uniform(eligible[order], k, IDS[order], key), drawn[order])


def test_padding_does_not_change_the_choice(key):
    score, eligible = tied_batch(0)
    k, wider = jnp.int32(13), ((0, 0), (0, 6))
    padded_score, padded_eligible = jnp.pad(score, wider, constant_values=9), jnp.pad(eligible, wider)
    assert jnp.array_equal(
        largest(padded_score, padded_eligible, k, IDS)[:, :11], largest(score, eligible, k, IDS)
    )
    assert jnp.array_equal(uniform(padded_eligible, k, IDS, key)[:, :11], uniform(eligible, k, IDS, key))


def test_the_number_a_token_draws_does_not_depend_on_its_company(key):
    eligible = random_batch().mask
    among_all = uniform(eligible, jnp.int32(9), IDS, key)
    rows = jnp.array([5, 0])
    among_two = uniform(eligible[rows], among_all[rows].sum(), IDS[rows], key)
    assert jnp.array_equal(among_two, among_all[rows])


def test_every_pair_of_candidates_is_drawn_equally_often():
    eligible = jnp.zeros((3, 4), bool).at[0, 1:].set(True).at[2, :2].set(True)
    keys = jax.random.split(jax.random.key(7), 3000)
    drawn = jax.jit(jax.vmap(lambda key: select_uniform(eligible, jnp.int32(2), jnp.arange(3), key)))(keys)
    pairs = np.asarray(drawn[:, eligible]).astype(int)
    counts = (pairs.T @ pairs)[np.triu_indices(5, 1)]
    # 10 pairs, 300 expected of each; chi-squared with 9 degrees of freedom exceeds 27.9 once in a thousand.
    assert pairs.sum() == 6000 and ((counts - 300) ** 2 / 300).sum() < 27.9


def test_float64_scores_are_told_apart_where_float32_sees_a_tie():
    with jax.enable_x64(True):
        score = jnp.array([[1.0, 1.0 + 1e-12, -1.0, -1.0 + 1e-12]])
        everywhere = jnp.ones((1, 4), bool)
        assert indices(largest(score, everywhere, jnp.int32(1), jnp.arange(1))) == {(0, 1)}
        assert indices(largest(score, everywhere, jnp.int32(3), jnp.arange(1))) == {
            (0, 0),
            (0, 1),
            (0, 3),
        }


def test_the_uniform_choice_is_the_same_in_64_bit_mode(key):
    eligible = random_batch().mask
    drawn = indices(uniform(eligible, jnp.int32(9), IDS, key))
    with jax.enable_x64(True):
        assert indices(select_uniform(eligible, jnp.int32(9), IDS, key)) == drawn
