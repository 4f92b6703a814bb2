"""The reference in float64 is the judge, whatever the tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.token_statistics import (
    statistics_of_logits,
    token_statistics,
    token_statistics_reference,
)
from pallas_kernels.token_statistics.tiled import tile_width

TOLERANCE = {"float32": 5e-6, "bfloat16": 2e-2}
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


@pytest.mark.parametrize("columns", [1, 30, 1000])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("num_tokens", [1, 17])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_and_gradients_match_the_float64_reference(columns, dtype, num_tokens, temperature, key):
    hidden_TD, head_VD, label_T = operands(num_tokens, dtype, key)
    bars = tuple(jax.random.normal(k, (num_tokens,)) for k in jax.random.split(key))
    values, pull = jax.vjp(
        lambda h, w: token_statistics(
            h, w, label_T, temperature=temperature, max_tile_bytes=4 * num_tokens * columns, min_tile_width=1
        ),
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


def test_no_array_of_all_logits_exists_forward_or_backward():
    num_tokens, vocab, budget = 67, 4099, 4 * 67 * 100
    hidden_TD, head_VD, label_T = operands(num_tokens, "float32", jax.random.key(2), vocab=vocab)

    def loss(hidden_TD):
        logp_T, entropy_T = token_statistics(
            hidden_TD, head_VD, label_T, max_tile_bytes=budget, min_tile_width=1
        )
        return (logp_T + entropy_T).sum()

    memory = jax.jit(jax.grad(loss)).lower(hidden_TD).compile().memory_analysis()
    head_bytes = 4 * head_VD.size  # its gradient is computed too
    assert memory.temp_size_in_bytes < 8 * budget + 3 * head_bytes < 4 * num_tokens * vocab


@pytest.mark.parametrize(
    ("num_tokens", "vocab", "width"),
    [(2048, 151_936, 2374), (8192, 152_064, 864), (10, 64, 64), (2, 4099, 100), (1 << 30, 131, 1)],
)
def test_tiles_divide_the_vocabulary_where_a_near_width_does(num_tokens, vocab, width):
    got = tile_width(num_tokens, vocab, 800 if vocab == 4099 else 32 << 20, 1 if vocab < 5000 else 512)
    assert got == width
