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


def test_a_chip_sends_over_two_links_of_each_dimension_its_group_extends_in():
    cube, places = Topology.of("v5p:4x4x8"), Topology.of("v5p:4x4x8").places()
    line, plane = places[:8], places[:32]  # along the last dimension, and over the last two
    assert cube.bytes_per_s(line) == 2 * 90e9
    assert cube.bytes_per_s(plane) == 4 * 90e9
    assert cube.bytes_per_s(places) == 6 * 90e9


def test_a_dimension_without_wrap_around_gives_one_link():
    small = Topology.of("v5e:4x4")
    assert small.bytes_per_s(small.places()) == 2 * 45e9
    whole = Topology.of("v5e:16x16")
    assert whole.bytes_per_s(whole.places()) == 4 * 45e9


def test_gpus_of_one_node_have_nvlink_and_several_nodes_the_network():
    nodes = Topology.of("h100:2x8")
    assert nodes.bytes_per_s(nodes.places()[8:]) == 450e9
    assert nodes.bytes_per_s(nodes.places()[[0, 8]]) == 50e9


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
