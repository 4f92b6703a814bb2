"""One body for every implementation: the reference in float64 is the judge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.token_statistics import (
    Chunked,
    Materialized,
    statistics_of_logits,
    token_statistics,
    token_statistics_reference,
)

IMPLEMENTATIONS = [Materialized(), Chunked(num_tokens=5), Chunked(num_tokens=1000), None]
TOLERANCE = {"float32": 2e-6, "bfloat16": 2e-2}
"""Relative to the norm of the reference; bf16 rounds the gradient of the logits before the products."""


def operands(num_tokens, dtype, key, hidden=7, vocab=131, scale=2.0):
    k1, k2, k3 = jax.random.split(key, 3)
    hidden_TD = scale * jax.random.normal(k1, (num_tokens, hidden)).astype(dtype)
    head_VD = jax.random.normal(k2, (vocab, hidden)).astype(dtype)
    return hidden_TD, head_VD, jax.random.randint(k3, (num_tokens,), 0, vocab)


def in_float64(hidden_TD, head_VD, label_T, temperature, bars):
    """Values and operand gradients of the reference in float64, on the same rounded operands."""
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(x, np.float64)) for x in (hidden_TD, head_VD)]
        label = jnp.asarray(np.asarray(label_T))
        values, pull = jax.vjp(
            lambda h, w: token_statistics_reference(h, w, label, temperature=temperature), *wide
        )
        return [
            np.asarray(x) for x in values + pull(tuple(jnp.asarray(np.asarray(b, np.float64)) for b in bars))
        ]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("num_tokens", [1, 17])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_and_gradients_match_the_float64_reference(
    implementation, dtype, num_tokens, temperature, key
):
    hidden_TD, head_VD, label_T = operands(num_tokens, dtype, key)
    bars = tuple(jax.random.normal(k, (num_tokens,)) for k in jax.random.split(key))
    values, pull = jax.vjp(
        lambda h, w: token_statistics(h, w, label_T, temperature=temperature, implementation=implementation),
        hidden_TD,
        head_VD,
    )
    expected = in_float64(hidden_TD, head_VD, label_T, temperature, bars)
    for got, want in zip(values + pull(bars), expected, strict=True):
        error = np.linalg.norm(np.asarray(got, np.float64) - want) / (np.linalg.norm(want) + 1e-30)
        assert error < TOLERANCE[dtype]


def test_uniform_logits_give_minus_log_vocabulary_and_its_entropy():
    logp_T, entropy_T = statistics_of_logits(jnp.zeros((3, 11)), jnp.array([0, 5, 10]))
    np.testing.assert_allclose(logp_T, -np.log(11), rtol=1e-6)
    np.testing.assert_allclose(entropy_T, np.log(11), rtol=1e-6)


def test_a_dominant_logit_gives_zero_entropy_and_finite_gradients():
    hidden_TD, head_VD, label_T = operands(3, "float32", jax.random.key(1), scale=300.0)
    (logp_T, entropy_T), pull = jax.vjp(lambda h: token_statistics(h, head_VD, label_T), hidden_TD)
    assert jnp.all(jnp.isfinite(logp_T)) and jnp.all(entropy_T < 1e-6)
    assert jnp.all(jnp.isfinite(pull((jnp.ones(3), jnp.ones(3)))[0]))


def test_the_default_holds_no_more_logits_than_allowed():
    hidden_TD, head_VD, label_T = operands(67, "float32", jax.random.key(2), vocab=4099)
    budget = 16 * 4099 * 4

    def peak_bytes(**kwargs):
        step = jax.jit(jax.grad(lambda h: token_statistics(h, head_VD, label_T, **kwargs)[0].sum()))
        return step.lower(hidden_TD).compile().memory_analysis().temp_size_in_bytes

    assert peak_bytes(max_logits_bytes=budget) < 3 * budget
    assert peak_bytes() > 67 * 4099 * 4
