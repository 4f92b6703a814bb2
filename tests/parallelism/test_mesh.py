"""The table of axes: where arrays go, and what is refused."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from entropy_rl.parallelism import (
    SAMPLING_RULES,
    MeshConfig,
    axes_of,
    constrain,
    num_shards,
    parameter_shardings,
    spec_of,
)


def test_a_logical_axis_goes_where_the_table_says():
    assert spec_of(("layers", "embed", "heads", "head_dim")) == PartitionSpec(None, "fsdp", "tensor", None)
    assert spec_of(("batch", None)) == PartitionSpec(("data", "fsdp"), None)


def test_the_shards_of_a_logical_axis_are_those_of_all_its_mesh_axes():
    config = MeshConfig(data=2, fsdp=4)
    assert axes_of("batch") == ("data", "fsdp") and axes_of("vocab") == ("tensor",)
    assert axes_of("layers") == axes_of(None) == ()
    for mesh in (config, config.build()):
        assert [num_shards(mesh, axis) for axis in ("batch", "embed", "vocab", None)] == [8, 4, 1, 1]
    assert num_shards(config, "embed", SAMPLING_RULES) == num_shards(None, "batch") == 1


def test_an_unknown_logical_axis_is_refused_with_those_there_are():
    for ask in (lambda: spec_of(("bach",)), lambda: num_shards(MeshConfig(), "bach")):
        with pytest.raises(ValueError, match="one of batch, positions, .* vocab, got 'bach'"):
            ask()


def test_parameters_are_whole_over_fsdp_while_tokens_are_drawn():
    axes = ("layers", "embed", "heads", "head_dim")
    assert spec_of(axes, SAMPLING_RULES) == PartitionSpec(None, None, "tensor", None)


def test_an_array_is_constrained_to_where_its_axes_go_and_left_alone_on_one_device():
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    x = jnp.zeros((4, 6))
    placed = jax.jit(lambda x: constrain(x, ("batch", "mlp"), mesh))(x)
    assert placed.sharding.spec == PartitionSpec(("data", "fsdp"), "tensor")
    assert constrain(x, ("batch", "mlp"), None) is x


def test_two_dimensions_on_one_mesh_axis_are_an_error():
    with pytest.raises(ValueError, match="one mesh axis"):
        spec_of(("heads", "mlp"))
    with pytest.raises(ValueError, match="one mesh axis"):
        spec_of(("batch", "embed"))


def test_a_mesh_larger_than_the_machine_is_refused_with_both_numbers():
    with pytest.raises(
        ValueError, match=f"needs {2 * jax.device_count()} devices, found {jax.device_count()}"
    ):
        MeshConfig(data=2 * jax.device_count()).build()


def test_a_size_that_the_mesh_does_not_divide_is_refused_by_name():
    with pytest.raises(ValueError, match="embed of size 5"):
        parameter_shardings(MeshConfig(fsdp=2).build(), {"w": ("embed",)}, {"w": jnp.zeros(5)})


def test_a_mesh_axis_may_be_half_an_axis_of_the_slice(tpu_devices):
    chips = tpu_devices("v5p:4x4x4")
    mesh = MeshConfig(fsdp=8, tensor=8).build(chips)
    assert mesh.shape == {"data": 1, "fsdp": 8, "tensor": 8}
    assert sorted(d.id for d in mesh.devices.flat) == sorted(d.id for d in chips)
    for row in mesh.devices[0]:  # each a block of neighbours: 4 x 2
        extents = sorted(len({chip.coords[k] for chip in row}) for k in range(3))
        assert extents == [1, 2, 4]


def test_a_parameter_may_be_cut_over_several_mesh_axes():
    mesh, rules = MeshConfig(data=2, fsdp=2).build(), {"embed": ("data", "fsdp")}
    shardings = parameter_shardings(mesh, {"w": ("embed",)}, {"w": jnp.zeros(12)}, rules)
    assert shardings["w"].spec == PartitionSpec(("data", "fsdp"))
    with pytest.raises(ValueError, match="embed of size 6 cannot be cut into 4 .* data x fsdp"):
        parameter_shardings(mesh, {"w": ("embed",)}, {"w": jnp.zeros(6)}, rules)
