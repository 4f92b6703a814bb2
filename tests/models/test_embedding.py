"""Looking up rows of an embedding that is cut over a mesh, and the gradient that goes back to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.embedding import embed
from entropy_rl.parallelism import SAMPLING_RULES, TRAINING_RULES, MeshConfig, spec_of

V, D = 22, 6


def arrays(num_rows: int, num_tokens: int):
    embedding_VD = jax.random.normal(jax.random.key(0), (V, D))
    tokens_BT = jax.random.randint(jax.random.key(1), (num_rows, num_tokens), 0, V)
    return embedding_VD, tokens_BT, jax.random.normal(jax.random.key(2), (num_rows, num_tokens, D))


@pytest.mark.parametrize("whole", [False, True], ids=["cut over fsdp", "whole over fsdp"])
@pytest.mark.parametrize("num_tokens", [5, 6])
def test_a_mesh_gives_the_rows_and_the_gradient_of_one_device(whole, num_tokens):
    embedding_VD, tokens_BT, bar_BTD = arrays(8, num_tokens)
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    spec = spec_of(("vocab", "embed"), SAMPLING_RULES if whole else TRAINING_RULES)
    placed_VD = jax.device_put(embedding_VD, jax.NamedSharding(mesh, spec))
    placed_BT = jax.device_put(tokens_BT, jax.NamedSharding(mesh, spec_of(("batch",))))

    def weighted(embedding_VD, tokens_BT, mesh):
        x_BTD = embed(embedding_VD, tokens_BT, "float32", mesh, whole=whole)
        return jnp.sum(x_BTD * bar_BTD), x_BTD

    both = jax.jit(jax.value_and_grad(weighted, has_aux=True), static_argnums=2)
    (_, got_BTD), got_VD = both(placed_VD, placed_BT, mesh)
    (_, want_BTD), want_VD = both(embedding_VD, tokens_BT, None)
    np.testing.assert_array_equal(got_BTD, want_BTD)
    np.testing.assert_allclose(got_VD, want_VD, atol=1e-6)
    assert got_VD.sharding.spec == spec
    assert ("tensor" in str(got_BTD.sharding.spec)) == (num_tokens % 2 == 0)


def test_rows_are_cast_and_gradients_are_not():
    embedding_VD, tokens_BT, bar_BTD = arrays(3, 7)
    x_BTD, pull = jax.vjp(lambda e: embed(e, tokens_BT, "bfloat16", None), embedding_VD)
    assert x_BTD.dtype == "bfloat16"
    (bar_VD,) = pull(bar_BTD.astype("bfloat16"))
    want_VD = np.zeros((V, D))
    np.add.at(want_VD, np.asarray(tokens_BT), np.asarray(bar_BTD.astype("bfloat16"), np.float64))
    assert bar_VD.dtype == "float32"
    np.testing.assert_allclose(bar_VD, want_VD, atol=1e-6)


def test_no_device_holds_the_table_or_all_states():
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    embedding_VD, tokens_BT, _ = arrays(64, 64)
    placed_VD = jax.device_put(embedding_VD, jax.NamedSharding(mesh, spec_of(("vocab", "embed"))))
    placed_BT = jax.device_put(tokens_BT, jax.NamedSharding(mesh, spec_of(("batch",))))
    program = jax.jit(lambda e, t: embed(e, t, "float32", mesh)).lower(placed_VD, placed_BT).compile()
    share = 64 * 64 * D * 4 // 8
    assert program.memory_analysis().output_size_in_bytes == share
    assert program.memory_analysis().temp_size_in_bytes < 8 * share  # all states would be 8 of them alone
