"""Drawing a token: limits, the distribution itself, and the two log-probs it reports."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.sampler import Sampling, token_uniforms
from entropy_rl.sampler import draw as eager_draw
from entropy_rl.sampler.draw import _invert as eager_invert

VOCAB = 37
draw = jax.jit(eager_draw, static_argnums=2)
invert = jax.jit(eager_invert)


def logits(key, rows=1, scale=2.0):
    return scale * jax.random.normal(key, (rows, VOCAB))


def uniforms(num, seed=0):
    return jax.random.uniform(jax.random.key(seed), (num, 2))


def chi_square(count_V, probability_V):
    """Pearson's statistic over the tokens expected at least 5 times, and its degrees of freedom."""
    expected_V = count_V.sum() * probability_V
    often = expected_V >= 5
    return np.sum((count_V[often] - expected_V[often]) ** 2 / expected_V[often]), often.sum() - 1


@pytest.mark.parametrize("vocab", [2, 31, 32, 1000])
def test_drawn_frequencies_are_the_softmax(vocab, key):
    num = 20_000
    weight_V = jnp.exp(2 * jax.random.normal(key, (vocab,)))
    token_B, _ = invert(jnp.broadcast_to(weight_V, (num, vocab)), uniforms(num))
    count_V = np.bincount(np.asarray(token_B), minlength=vocab)
    statistic, freedom = chi_square(count_V, np.asarray(weight_V / weight_V.sum()))
    assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 5  # five standard deviations


def test_a_token_of_zero_weight_is_never_drawn_even_at_the_ends_of_the_uniforms():
    weight_BV = jnp.zeros((4, VOCAB)).at[:, 5].set(1e-30).at[:, 20].set(3.0)
    edge = np.float32(1 - 2.0**-24)
    uniform_B2 = jnp.array([[0, 0], [0, edge], [edge, 0], [edge, edge]], jnp.float32)
    token_B, _ = invert(weight_BV, uniform_B2)
    assert set(np.asarray(token_B).tolist()) <= {5, 20}


def test_tokens_rarer_than_the_resolution_of_a_uniform_are_still_drawn():
    # One block holds the mass 1; another 2^-20, spread over tokens of 2^-26 each, below the 2^-23 of an f32.
    weight_V = jnp.zeros(4096).at[0].set(1.0).at[64:128].set(2.0**-26)
    uniform_B2 = jnp.stack([jnp.full(64, 1 - 2.0**-22), (jnp.arange(64) + 0.5) / 64], axis=1)
    token_B, _ = invert(jnp.broadcast_to(weight_V, (64, 4096)), uniform_B2)
    np.testing.assert_array_equal(token_B, np.arange(64, 128))


def test_plain_sampling_reports_the_log_softmax_of_the_scaled_logits_twice(key):
    logits_BV = logits(key, rows=11)
    token_B, behavior_logp_B, logp_B = draw(logits_BV, uniforms(11), Sampling(temperature=0.7))
    expected_BV = jax.nn.log_softmax(logits_BV / 0.7)
    expected_B = np.take_along_axis(np.asarray(expected_BV), np.asarray(token_B)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(logp_B, expected_B, atol=1e-5)
    np.testing.assert_array_equal(logp_B, behavior_logp_B)


def test_top_1_is_greedy_with_behavior_log_prob_zero(key):
    logits_BV = logits(key, rows=11)
    token_B, behavior_logp_B, logp_B = draw(logits_BV, uniforms(11), Sampling(top_k=1))
    np.testing.assert_array_equal(token_B, jnp.argmax(logits_BV, axis=-1))
    np.testing.assert_allclose(behavior_logp_B, 0, atol=1e-6)
    np.testing.assert_allclose(logp_B, jax.nn.log_softmax(logits_BV).max(axis=-1), atol=1e-5)


@pytest.mark.parametrize(
    "sampling", [Sampling(top_k=3), Sampling(top_p=0.6), Sampling(top_k=5, top_p=0.8)], ids=str
)
def test_truncated_sampling_keeps_what_a_slow_reference_keeps(sampling, key):
    num = 3000
    logits_V = np.asarray(logits(key)[0], np.float64)
    probability_V = np.exp(logits_V) / np.exp(logits_V).sum()
    order = np.argsort(-probability_V)[: sampling.top_k]
    mass, kept = 0.0, []
    for token in order:
        if mass >= sampling.top_p * probability_V[order].sum():
            break
        kept.append(token)
        mass += probability_V[token]
    rows = jnp.broadcast_to(jnp.asarray(logits_V, jnp.float32), (num, VOCAB))
    token_B, behavior_logp_B, logp_B = draw(rows, uniforms(num), sampling)
    assert set(np.asarray(token_B).tolist()) == set(kept)
    np.testing.assert_allclose(behavior_logp_B, np.log(probability_V[token_B] / mass), atol=1e-5)
    np.testing.assert_allclose(logp_B, np.log(probability_V[token_B]), atol=1e-5)


def test_forbidden_tokens_are_left_out_of_the_behavior_but_not_of_logp(key):
    logits_BV = logits(key, rows=500)
    forbidden_V = jnp.zeros(VOCAB, bool).at[jnp.array([2, 3, 30])].set(True)
    token_B, behavior_logp_B, logp_B = draw(logits_BV, uniforms(500), Sampling(), forbidden_V)
    assert not set(np.asarray(token_B).tolist()) & {2, 3, 30}
    probability_BV = jax.nn.softmax(logits_BV)
    allowed_B = jnp.sum(jnp.where(forbidden_V, 0, probability_BV), axis=-1)
    np.testing.assert_allclose(behavior_logp_B, logp_B - jnp.log(allowed_B), atol=1e-5)


def test_equal_logits_keep_exactly_k_tokens():
    token_B, behavior_logp_B, _ = draw(jnp.zeros((900, VOCAB)), uniforms(900), Sampling(top_k=4))
    assert set(np.asarray(token_B).tolist()) == {0, 1, 2, 3}
    np.testing.assert_allclose(behavior_logp_B, -np.log(4), atol=1e-6)


def test_uniforms_depend_on_identity_and_not_on_the_split_of_the_batch(key):
    whole = token_uniforms(key, jnp.array([7, 3, 11], jnp.int32), num_samples=2, num_tokens=5)
    part = token_uniforms(key, jnp.array([11], jnp.int32), num_samples=2, num_tokens=3)
    np.testing.assert_array_equal(whole.reshape(3, 2, 5, 2)[2, :, :3], part.reshape(2, 3, 2))
    assert len(np.unique(whole)) == whole.size


@pytest.mark.parametrize(
    "bad", [{"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}, {"min_new_tokens": -1}], ids=str
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Sampling(**bad)


def test_a_forbidden_token_that_holds_all_the_mass_leaves_the_others_their_proportions():
    # At temperature 0.01 the forbidden logit is 200 nats above the best allowed one.
    logits_BV = jnp.broadcast_to(jnp.array([5.0, 3.0, 2.999, 1.0]), (400, 4))
    forbidden_V = jnp.array([True, False, False, False])
    token_B, behavior_logp_B, logp_B = draw(logits_BV, uniforms(400), Sampling(temperature=0.01), forbidden_V)
    assert set(np.asarray(token_B).tolist()) == {1, 2}
    np.testing.assert_allclose(jnp.exp(behavior_logp_B[token_B == 1]), 1 / (1 + np.exp(-0.1)), rtol=1e-3)
    np.testing.assert_allclose(logp_B[token_B == 1], -200, rtol=1e-3)
