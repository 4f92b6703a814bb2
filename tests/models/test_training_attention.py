"""Every implementation of training attention against one float64 softmax over the keys a query may see."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.training_attention import CuDNNAttention, SplashAttention, XLAAttention
from entropy_rl.parallelism.mesh import MeshConfig
from pallas_kernels.sharding import Shards

SPLASH = SplashAttention(block_q=256, block_kv=128, interpret=True)
CALLS = CuDNNAttention(implementation="xla")
"""The product's calls of `jax.nn.dot_product_attention`, run by its plain implementation."""


def reference(q_BTNH, k_BUKH, v_BUKH, q_segment_BT, kv_segment_BU):
    """[B, T, N, H]: key-value heads repeated, every score in memory."""
    (T, N, H), (U, K) = q_BTNH.shape[1:], k_BUKH.shape[1:3]
    k_BUNH, v_BUNH = (jnp.repeat(x, N // K, axis=2) for x in (k_BUKH, v_BUKH))
    score_BNTU = jnp.einsum("BTNH,BUNH->BNTU", q_BTNH, k_BUNH) / H**0.5
    causal_TU = np.arange(U)[None] <= np.arange(T)[:, None] + U - T
    seen_BTU = causal_TU[None] & (q_segment_BT[:, :, None] == kv_segment_BU[:, None])
    weight_BNTU = jax.nn.softmax(jnp.where(seen_BTU[:, None], score_BNTU, -1e300), axis=-1)
    return jnp.einsum("BNTU,BUNH->BTNH", weight_BNTU, v_BUNH)


def example(T, U, N, K, H, segment_BU, dtype="float32"):
    """(q, k, v), segments of queries and of keys, and a cotangent that is zero where a query is padding."""
    draw = np.random.default_rng(T + U).normal
    B = len(segment_BU)
    q, k, v, g = (draw(size=(B, *shape)) for shape in ((T, N, H), (U, K, H), (U, K, H), (T, N, H)))
    segment_BU = np.asarray(segment_BU, np.int32)
    g = g * (segment_BU[:, U - T :] != 0)[:, :, None, None]
    q, k, v, g = (jnp.asarray(x, dtype) for x in (2 * q, k, v, g))
    return (q, k, v), (segment_BU[:, U - T :], segment_BU), g


def run(attention, arrays, segments, g):
    """The output at real queries, and the gradients for queries, keys and values."""
    out, vjp = jax.vjp(lambda *arrays: attention(*arrays, *segments), *arrays)
    return out * (segments[0] != 0)[:, :, None, None], *vjp(g)


def errors(attention, arrays, segments, g):
    """Largest error of the output and of each gradient, in units of the largest value."""
    ours = jax.jit(run, static_argnums=0)(attention, arrays, tuple(map(jnp.asarray, segments)), g)
    with jax.enable_x64(True):
        arrays, g = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)), (arrays, g))
        exact = jax.device_get(
            jax.jit(run, static_argnums=0)(reference, arrays, jax.tree.map(jnp.asarray, segments), g)
        )
    assert {x.dtype for x in exact} == {np.dtype("float64")}
    ours = [np.asarray(x, np.float64) for x in ours]
    return [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, exact, strict=True)]


def runs(*rows):
    """Segments [B, U]: each row is written as stretches of (segment, length)."""
    return [np.concatenate([np.full(length, segment) for segment, length in row]) for row in rows]


LEFT = runs([(0, 71), (1, 130)], [(1, 201)])
"""Padding on the left, as prompts have it."""
BOTH = runs([(0, 72), (1, 100), (0, 29)], [(1, 201)])
PACKED = runs([(1, 83), (2, 101), (0, 17)], [(0, 5), (3, 100), (1, 96)])


@pytest.mark.parametrize(
    ("attention", "segments"),
    [
        (XLAAttention(), PACKED),
        (CALLS, LEFT),
        (CALLS, BOTH),
        (dataclasses.replace(CALLS, packed=True), PACKED),
        (SPLASH, PACKED),
    ],
    ids=["xla", "lengths", "lengths-both-sides", "mask", "splash"],
)
@pytest.mark.parametrize(("T", "N", "K", "H"), [(137, 6, 2, 64), (201, 3, 1, 128)])
def test_values_and_gradients_equal_the_reference(attention, segments, T, N, K, H):
    assert max(errors(attention, *example(T, 201, N, K, H, segments))) < 3e-6


@pytest.mark.parametrize("attention", [XLAAttention(), CALLS, SPLASH], ids=["xla", "lengths", "splash"])
def test_bfloat16_keeps_its_eight_bits(attention):
    assert 1e-4 < max(errors(attention, *example(137, 201, 6, 2, 64, LEFT, "bfloat16"))) < 2e-2


def test_what_no_query_may_see_changes_nothing():
    (q, k, v), segments, g = example(137, 201, 6, 2, 64, LEFT)
    other = k.at[0, :71].add(3).at[1, 150].add(3), v.at[0, :71].add(3).at[1, 150].add(3)
    for attention in (XLAAttention(), CALLS, SPLASH):
        before, after = (attention(q, *kv, *map(jnp.asarray, segments)) for kv in ((k, v), other))
        moved_BT = np.abs(np.asarray(before - after)).max((2, 3)) > 1e-4
        # Key 150 of 201 comes at query 137 - (201 - 150) = 86.
        real_BT = segments[0] != 0
        assert not moved_BT[0][real_BT[0]].any() and not moved_BT[1, :86].any() and moved_BT[1, 86:].all()


@pytest.mark.parametrize("attention", [CALLS, SPLASH], ids=["lengths", "splash"])
def test_padding_alone_gives_finite_values_and_gradients(attention):
    (q, k, v), segments, g = example(137, 201, 6, 2, 64, runs([(0, 201)], [(1, 201)]))
    outputs = jax.jit(run, static_argnums=0)(attention, (q, k, v), segments, g + 1)
    assert all(np.isfinite(x).all() for x in outputs)


@pytest.mark.parametrize("attention", [CALLS, SPLASH], ids=["lengths", "splash"])
def test_rows_and_heads_cut_by_a_mesh_give_the_same(attention):
    arrays, segments, g = example(137, 201, 6, 2, 64, LEFT)
    mesh = MeshConfig(data=2, tensor=2).build()
    shards = Shards(mesh=mesh, tokens=("data", "fsdp"), heads="tensor")
    cut = partial(attention, shards=shards)
    whole, parts = (jax.jit(partial(run, how))(arrays, segments, g) for how in (attention, cut))
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_mesh_that_does_not_divide_rows_or_heads_is_refused():
    arrays, segments, _ = example(137, 201, 3, 1, 64, LEFT)
    mesh = MeshConfig(data=2, tensor=2).build()
    with pytest.raises(ValueError, match="2 rows and 1 key-value heads cannot be cut into 2 and 2"):
        SplashAttention()(*arrays, *segments, shards=Shards(mesh=mesh, tokens=("data",), heads="tensor"))


def test_cudnn_refuses_float32():
    arrays, segments, _ = example(137, 201, 6, 2, 64, LEFT)
    with pytest.raises(ValueError, match="bfloat16 or float16, got float32"):
        CuDNNAttention()(*arrays, *segments)


@pytest.mark.parametrize("attention", [XLAAttention(), CALLS, SPLASH], ids=["xla", "lengths", "splash"])
def test_more_queries_than_keys_are_refused(attention):
    (q, k, v), (_, segment), _ = example(137, 201, 6, 2, 64, LEFT)
    with pytest.raises(ValueError, match="201 queries"):
        attention(
            jnp.pad(q, ((0, 0), (64, 0), (0, 0), (0, 0))), k[:, :137], v[:, :137], segment, segment[:, :137]
        )


@partial(jax.jit, static_argnums=0)
def hidden_and_gradient(policy, params, *batch):
    def value(params):
        hidden = policy.response_hidden(params, *batch)
        return (hidden * jnp.cos(jnp.arange(hidden.size)).reshape(hidden.shape)).sum(), hidden

    gradient, hidden = jax.grad(value, has_aux=True)(params)
    return hidden, gradient


@pytest.mark.parametrize(
    ("attention", "rematerialize"),
    [(CALLS, "dots"), *(pytest.param(SPLASH, how, marks=pytest.mark.slow) for how in ("dots", "layer"))],
    ids=["lengths", "splash", "splash-rematerialized"],
)
def test_a_policy_computes_the_same_by_every_attention(policy, params, batch, attention, rematerialize):
    other = dataclasses.replace(policy, attention=attention, rematerialize=rematerialize)
    ours, theirs = (hidden_and_gradient(p, params, *batch) for p in (other, policy))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max()), ours, theirs)
