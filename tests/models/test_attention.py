"""Grouped attention with a shared prefix against the plain form: everything repeated, one softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.attention import attend as attend_by_head
from entropy_rl.models.attention import by_head, rope_angles, rotate

P, G, T, S, K, R, H = 2, 3, 5, 7, 2, 3, 10


def attend(q, k, v, mask, prefix):
    """The product's attention, given keys and values [B, T, K, H] and [P, S, K, H] like `plain`."""
    num_prompts = q.shape[0] if prefix is None else prefix[2].shape[0]
    if prefix is not None:
        prefix = (prefix[0].swapaxes(1, 2), prefix[1].swapaxes(1, 2), prefix[2])
    return attend_by_head(q, by_head(k, num_prompts), by_head(v, num_prompts), mask, prefix)


def plain(q, k, v, mask, prefix):
    """[B, T, N, H] by repeating prompts for their samples and key-value heads for their query heads."""
    if prefix is not None:
        k_P, v_P, mask_P = (jnp.repeat(x, q.shape[0] // prefix[2].shape[0], axis=0) for x in prefix)
        k, v = jnp.concatenate([k_P, k], 1), jnp.concatenate([v_P, v], 1)
        seen = jnp.broadcast_to(mask_P[:, None], (q.shape[0], q.shape[1], mask_P.shape[1]))
        mask = jnp.concatenate([seen, jnp.broadcast_to(mask, (q.shape[0], *mask.shape[1:]))], -1)
    k, v = (jnp.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    scores = jnp.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(q.shape[-1])
    weight = jax.nn.softmax(jnp.where(mask[:, None], scores, -1e30), axis=-1)
    return jnp.einsum("bnts,bsnh->btnh", weight, v)


@pytest.fixture(scope="module")
def arrays():
    keys = jax.random.split(jax.random.key(0), 5)
    B = P * G
    q = 2 * jax.random.normal(keys[0], (B, T, K * R, H))
    k, v = (jax.random.normal(key, (B, T, K, H)) for key in keys[1:3])
    k_prefix, v_prefix = (jax.random.normal(key, (P, S, K, H)) for key in keys[3:])
    return q, k, v, k_prefix, v_prefix


CAUSAL = jnp.tril(jnp.ones((T, T), bool))[None]
PREFIX_MASK = jnp.arange(S)[None] >= jnp.array([0, 4])[:, None]


@pytest.mark.parametrize("has_prefix", [False, True])
def test_values_and_gradients_equal_those_of_the_plain_form(arrays, has_prefix):
    def value(attention, q, k, v, k_prefix, v_prefix):
        out = attention(q, k, v, CAUSAL, (k_prefix, v_prefix, PREFIX_MASK) if has_prefix else None)
        return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum(), out

    every = (1, 2, 3, 4, 5)
    gradient = jax.jit(jax.grad(value, every, has_aux=True), static_argnums=0)
    ours, out = gradient(attend, *arrays)
    theirs, expected = gradient(plain, *arrays)
    np.testing.assert_allclose(out, expected, atol=2e-6)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_scores_too_large_for_the_exponential_stay_finite(arrays):
    q, k, v, k_prefix, v_prefix = arrays
    out = attend(1e4 * q, k, v, CAUSAL, (k_prefix, v_prefix, PREFIX_MASK))
    np.testing.assert_allclose(
        out, plain(1e4 * q, k, v, CAUSAL, (k_prefix, v_prefix, PREFIX_MASK)), atol=1e-5
    )


def test_a_query_that_sees_no_key_gives_finite_values_and_gradients(arrays):
    q, k, v, k_prefix, v_prefix = arrays
    nothing, no_prefix = jnp.zeros((1, T, T), bool), jnp.zeros((P, S), bool)

    def total(q, k, v, k_prefix, v_prefix):
        return attend(q, k, v, nothing, (k_prefix, v_prefix, no_prefix)).sum()

    out, gradients = jax.jit(jax.value_and_grad(total, (0, 1, 2, 3, 4)))(*arrays)
    assert np.isfinite(out)
    assert all(np.isfinite(g).all() for g in gradients)


def test_rotation_leaves_position_zero_and_norms_alone(arrays):
    q = arrays[0]
    positions = jnp.broadcast_to(jnp.arange(T), q.shape[:2])
    turned = rotate(q, rope_angles(positions, H, 1e4))
    np.testing.assert_array_equal(turned[:, 0], q[:, 0])
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(q, axis=-1), rtol=1e-5)


def test_scores_of_rotated_vectors_depend_on_the_distance_alone(arrays):
    q, k = arrays[0][:, :, :K], arrays[1]

    def scores(offset):
        rope = rope_angles(jnp.broadcast_to(jnp.arange(T) + offset, q.shape[:2]), H, 1e4)
        return jnp.einsum("btnh,bsnh->bnts", rotate(q, rope), rotate(k, rope))

    np.testing.assert_allclose(scores(0), scores(11), atol=1e-4)


def test_rotation_of_one_pair_is_the_plane_rotation():
    # H = 2 has the single frequency 1: (1, 0) at position 1 is (cos 1, sin 1) = (0.540302, 0.841471).
    turned = rotate(jnp.array([[[[1.0, 0.0]]]]), rope_angles(jnp.array([[1]]), 2, 1e4))
    np.testing.assert_allclose(turned.ravel(), [0.540302, 0.841471], atol=1e-6)
