"""Rounding at random: one of two neighbours, right in the mean, the same on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from entropy_rl.parallelism.mesh import MeshConfig
from entropy_rl.training.stochastic_rounding import round_stochastically, round_tree_stochastically

round_one = jax.jit(round_stochastically)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("low", [1.0, 2.0**-60, 1.5 * 2.0**40])
def test_the_upper_neighbour_is_taken_as_often_as_the_number_is_near_it(low, share, sign, key):
    size, gap = 65_536, low / 128 if low in (1.0, 2.0**-60) else low / 192
    x = sign * jnp.full(size, low + share * gap, jnp.float32)
    rounded = np.asarray(round_one(x, key), np.float64) * sign
    assert set(rounded) <= {low, low + gap}
    # The standard deviation of a share of 65,536 draws is at most 1/512.
    assert ((rounded - low) / gap).mean() == pytest.approx(share, abs=4 / 512)


def test_what_bfloat16_holds_stays(key):
    x = jax.random.normal(key, (1009,), jnp.bfloat16)
    x = jnp.concatenate([x, jnp.array([0.0, -0.0, jnp.inf, -jnp.inf], jnp.bfloat16)])
    rounded = round_one(x.astype(jnp.float32), key)
    np.testing.assert_array_equal(rounded.view(jnp.uint16), x.view(jnp.uint16))
    assert np.isnan(round_one(jnp.full(7, jnp.nan), key)).all()


def test_the_bits_do_not_depend_on_the_sharding(key):
    mesh = MeshConfig(fsdp=4, tensor=2).build()
    tree = {"a": jax.random.normal(key, (3, 8, 6)), "b": jax.random.normal(key, (16,))}
    specs = {"a": PartitionSpec(None, "fsdp", "tensor"), "b": PartitionSpec("fsdp")}
    shardings = {name: NamedSharding(mesh, spec) for name, spec in specs.items()}
    cut = jax.jit(round_tree_stochastically, out_shardings=shardings)(
        jax.device_put(tree, shardings), jnp.int32(3)
    )
    whole = jax.jit(round_tree_stochastically)(tree, jnp.int32(3))
    jax.tree.map(np.testing.assert_array_equal, cut, whole)


def test_every_update_and_every_leaf_has_bits_of_its_own():
    x = jnp.full(101, 1.003)
    one, other = (round_tree_stochastically({"a": x, "b": x}, jnp.int32(count)) for count in (1, 2))
    assert (one["a"] != one["b"]).any() and (one["a"] != other["a"]).any()
