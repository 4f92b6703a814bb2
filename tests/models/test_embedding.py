"""Looking up rows of an embedding that is cut over a mesh, and the gradient that goes back to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.embedding import embed
from entropy_rl.parallelism import SAMPLING_RULES, TRAINING_RULES, MeshConfig, spec_of

V, D = 24, 8


def arrays(num_rows: int, num_tokens: int, num_words: int = V):
    embedding_VD = jax.random.normal(jax.random.key(0), (num_words, D))
    tokens_BT = jax.random.randint(jax.random.key(1), (num_rows, num_tokens), 0, num_words)
    return embedding_VD, tokens_BT, jax.random.normal(jax.random.key(2), (num_rows, num_tokens, D))


TABLES = {
    "training": TRAINING_RULES,
    "sampling": SAMPLING_RULES,
    "whole width": {**TRAINING_RULES, "embed": None},
    "width over two axes": {**TRAINING_RULES, "embed": ("data", "fsdp")},
    "width over two axes, the other way": {**TRAINING_RULES, "embed": ("fsdp", "data")},
    "whole vocabulary": {**TRAINING_RULES, "vocab": None},
    "vocabulary over another axis than positions": {
        **TRAINING_RULES,
        "batch": "fsdp",
        "vocab": ("data", "tensor"),
    },
}


@pytest.mark.parametrize("rules", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("num_tokens", [5, 6])
def test_a_mesh_gives_the_rows_and_the_gradient_of_one_device(rules, num_tokens):
    embedding_VD, tokens_BT, bar_BTD = arrays(8, num_tokens)
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    spec = spec_of(("vocab", "embed"), rules)
    placed_VD = jax.device_put(embedding_VD, jax.NamedSharding(mesh, spec))
    placed_BT = jax.device_put(tokens_BT, jax.NamedSharding(mesh, spec_of(("batch",), rules)))

    def weighted(embedding_VD, tokens_BT, mesh):
        x_BTD = embed(embedding_VD, tokens_BT, "float32", mesh, rules)
        return jnp.sum(x_BTD * bar_BTD), x_BTD

    both = jax.jit(jax.value_and_grad(weighted, has_aux=True), static_argnums=2)
    (_, got_BTD), got_VD = both(placed_VD, placed_BT, mesh)
    (_, want_BTD), want_VD = both(embedding_VD, tokens_BT, None)
    np.testing.assert_array_equal(got_BTD, want_BTD)
    np.testing.assert_allclose(got_VD, want_VD, atol=1e-6)
    assert got_VD.sharding.is_equivalent_to(placed_VD.sharding, 2)
    if rules["vocab"] == "tensor":
        assert ("tensor" in str(got_BTD.sharding.spec)) == (num_tokens % 2 == 0)


@pytest.mark.parametrize("changes", [{"vocab": "fsdp", "embed": None}, {"embed": "tensor", "vocab": None}])
def test_a_table_that_no_exchange_serves_is_refused(changes):
    embedding_VD, tokens_BT, _ = arrays(8, 6)
    with pytest.raises(ValueError, match="an embedding may be cut by width over"):
        embed(embedding_VD, tokens_BT, "float32", MeshConfig(fsdp=2).build(), {**TRAINING_RULES, **changes})


def test_rows_are_cast_and_gradients_are_not():
    embedding_VD, tokens_BT, bar_BTD = arrays(3, 7)
    x_BTD, pull = jax.vjp(lambda e: embed(e, tokens_BT, "bfloat16", None), embedding_VD)
    assert x_BTD.dtype == "bfloat16"
    (bar_VD,) = pull(bar_BTD.astype("bfloat16"))
    want_VD = np.zeros((V, D))
    np.add.at(want_VD, np.asarray(tokens_BT), np.asarray(bar_BTD.astype("bfloat16"), np.float64))
    assert bar_VD.dtype == "float32"
    np.testing.assert_allclose(bar_VD, want_VD, atol=1e-6)


@pytest.mark.parametrize(("length", "num_words"), [(64, V), (8, 4096)], ids=["all states", "the table"])
def test_no_device_holds_the_table_or_all_states(length, num_words):
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    embedding_VD, tokens_BT, _ = arrays(length, length, num_words)
    placed_VD = jax.device_put(embedding_VD, jax.NamedSharding(mesh, spec_of(("vocab", "embed"))))
    placed_BT = jax.device_put(tokens_BT, jax.NamedSharding(mesh, spec_of(("batch",))))
    program = jax.jit(lambda e, t: embed(e, t, "float32", mesh)).lower(placed_VD, placed_BT).compile()
    states = length * length * D * 4
    assert program.memory_analysis().output_size_in_bytes == states // 8
    # Of the states a device looks up a quarter, less than all of them; of the table it needs no copy at all.
    assert program.memory_analysis().temp_size_in_bytes < max(states, embedding_VD.nbytes // 4)
