"""Temperature, certainty and repetition penalty, from logits and what was drawn from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.sampler import Sampling, draw
from entropy_rl.sampler.estimates import (
    HIGHEST,
    LOWEST,
    certainty,
    likeliest_temperature,
    with_repetition_penalty,
)

ROWS, VOCAB = 4001, 23


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_the_temperature_of_the_sampler_is_found_in_the_tokens_it_draws(temperature):
    logits_NV = 2 * jax.random.normal(jax.random.key(0), (ROWS, VOCAB))
    uniform_N2 = jax.random.uniform(jax.random.key(1), (ROWS, 2))
    token_N, _, _ = draw(logits_NV, uniform_N2, Sampling(temperature=temperature))
    # The standard error of log T is 1 / sqrt(sum of the variances of z / T): below 1 % here.
    np.testing.assert_allclose(likeliest_temperature(logits_NV, token_N), temperature, rtol=0.04)


def test_a_greedy_sampler_is_as_cold_and_one_of_the_least_likely_token_as_hot_as_is_looked_for():
    logits_NV = jax.random.normal(jax.random.key(0), (ROWS, VOCAB))
    best_N, worst_N = jnp.argmax(logits_NV, axis=-1), jnp.argmin(logits_NV, axis=-1)
    np.testing.assert_allclose(likeliest_temperature(logits_NV, best_N), LOWEST, rtol=1e-3)
    np.testing.assert_allclose(likeliest_temperature(logits_NV, worst_N), HIGHEST, rtol=1e-3)


def test_the_likeliest_of_two_tokens_and_the_gap_of_their_logits():
    logits_NV = jnp.log(jnp.array([[3.0, 1.0], [1.0, 1.0]]))
    max_probability_N, gap_N = certainty(logits_NV, 1.0)
    np.testing.assert_allclose(max_probability_N, [0.75, 0.5], rtol=1e-6)
    np.testing.assert_allclose(gap_N, [np.log(3), 0], atol=1e-6)
    max_probability_N, gap_N = certainty(logits_NV, 0.5)  # 9 : 1
    np.testing.assert_allclose(max_probability_N, [0.9, 0.5], rtol=1e-6)
    np.testing.assert_allclose(gap_N, [np.log(9), 0], atol=1e-6)


def test_a_repetition_penalty_lowers_the_logits_of_what_was_seen_alone_and_1_is_none():
    logits_NV, seen_NV = jnp.array([[3.0, -2.0, 5.0, 0.0]]), jnp.array([[True, True, False, True]])
    penalised_NV = with_repetition_penalty(logits_NV, seen_NV, 2.0)
    np.testing.assert_array_equal(penalised_NV, [[1.5, -4, 5, 0]])
    np.testing.assert_array_equal(with_repetition_penalty(logits_NV, seen_NV, 1.0), logits_NV)
