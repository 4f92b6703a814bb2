"""Topologies by name, and the compiler's own word on what is known of their chips."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.plan.topology import Topology


@pytest.mark.parametrize(
    ("name", "shape", "num_chips"),
    [("v5p:4x4x8", (4, 4, 8), 128), ("v6e:8x8", (8, 8), 64), ("h200:8", (1, 8), 8), ("h100:2x8", (2, 8), 16)],
)
def test_a_name_gives_the_shape(name, shape, num_chips):
    topology = Topology.of(name)
    assert (topology.shape, topology.num_chips) == (shape, num_chips)


@pytest.mark.parametrize("name", ["v5p", "v5p:4x4", "v7z:2x2", "v6e:4x", "h100:2x8x8", "v6e:0x4"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=f"got '{name}'"):
        Topology.of(name)


def grid(*along):
    """Places of a group that has these coordinates in each dimension."""
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, len(along))


@pytest.mark.parametrize(
    ("along", "links"),
    [
        (([0], [0], range(8)), 2),
        (([0], [0], range(4)), 1),  # half of a ring is a line
        (([3], [1], range(4, 8)), 1),
        (([0], [0], range(0, 8, 2)), 1),  # two rings over the same links
        (([0], [0], [0, 1]), 1),
        (([0], range(4), range(8)), 4),
        (([0], range(4), range(2, 4)), 3),
        ((range(4), range(4), range(8)), 6),
    ],
)
def test_a_group_has_two_links_in_each_dimension_that_it_goes_all_round(along, links):
    assert Topology.of("v5p:4x4x8").bytes_per_s(grid(*along)) == links * 90e9


@pytest.mark.parametrize(
    ("along", "links"),
    [(([0], [0], range(4)), 1), (([0], [0], [0, 2]), 0.5), ((range(2), range(2), range(4)), 3)],
)
def test_a_slice_with_a_side_below_four_has_no_rings(along, links):
    assert Topology.of("v5p:2x2x4").bytes_per_s(grid(*along)) == links * 90e9


@pytest.mark.parametrize(("name", "links"), [("v4:2x4x4", 3), ("v4:4x4x4", 6), ("v5p:2x4x4", 3)])
def test_cubes_are_tori(name, links):
    topology = Topology.of(name)
    assert topology.bytes_per_s(topology.places()) == links * topology.chip.link_bytes_per_s


@pytest.mark.parametrize(("sizes", "links"), [("4x4", 2), ("8x8", 2), ("8x16", 2), ("16x16", 4)])
@pytest.mark.parametrize("chip", ["v5e", "v6e"])
def test_of_two_dimensions_only_the_whole_pod_is_a_torus(chip, sizes, links):
    topology = Topology.of(f"{chip}:{sizes}")
    assert topology.bytes_per_s(topology.places()) == links * topology.chip.link_bytes_per_s


def test_gpus_of_one_node_have_nvlink_and_several_nodes_the_network():
    nodes = Topology.of("h100:2x8")
    assert nodes.bytes_per_s(nodes.places()[8:]) == 450e9
    assert nodes.bytes_per_s(nodes.places()[[0, 8]]) == 50e9


def test_the_devices_of_a_topology_are_the_same_in_every_call(tpu_devices):
    first, second = (Topology.of("v5e:2x2").devices() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ["v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
def test_the_compiler_gives_a_program_what_the_chip_says_is_usable(tpu_devices, name):
    topology = Topology.of(name)
    devices = topology.devices()
    assert len(devices) == topology.num_chips
    assert sorted(map(tuple, topology.places(devices))) == sorted(map(tuple, topology.places()))
    one = jax.sharding.SingleDeviceSharding(devices[0])
    tebibyte = jax.ShapeDtypeStruct((1 << 10, 1 << 28), jnp.float32, sharding=one)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED") as error:
        jax.jit(lambda x: x + 1).lower(tebibyte).compile()
    limit = re.search(r"exceeds available HBM \((\S+)G\)", str(error.value))
    np.testing.assert_allclose(float(limit[1]) * 2**30, topology.chip.usable_bytes, rtol=1e-3)
