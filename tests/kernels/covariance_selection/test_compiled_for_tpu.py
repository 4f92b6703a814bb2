"""The TPU compiler itself takes the kernel for every chip, and the whole selection for 256 of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from entropy_rl.bench.selection import TOPOLOGIES, compiled_selection, modelled_cost
from pallas_kernels.covariance_selection import MosaicHistogram

pytestmark = pytest.mark.usefixtures("tpu_devices")


@pytest.mark.parametrize("topology", ["v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
def test_the_kernel_compiles_for_every_chip(topology):
    device = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
    one = NamedSharding(Mesh(np.array([device]), ("one",)), PartitionSpec())
    shapes = (((131_072 - 3,), jnp.uint32), ((7,), jnp.uint32), ((), jnp.int32))
    operands = [jax.ShapeDtypeStruct(shape, dtype, sharding=one) for shape, dtype in shapes]
    compiled = jax.jit(MosaicHistogram().counts).lower(*operands).compile()
    assert "tpu_custom_call" in compiled.as_text()
    assert compiled.memory_analysis().temp_size_in_bytes < 1 << 20


@pytest.mark.parametrize("chip", ["v5e", "v5p"])
def test_the_whole_selection_compiles_for_256_chips_and_moves_no_token(chip):
    compiled = compiled_selection(TOPOLOGIES[chip])
    text, memory = compiled.as_text(), compiled.memory_analysis()
    assert text.count('custom_call_target="tpu_custom_call"') == 3  # the descent, and the two of the ties
    assert "all-reduce" in text and not any(
        name in text for name in ("all-gather", "all-to-all", "collective-permute", " sort(")
    )
    tokens_per_chip = 2**25 // 256
    assert memory.argument_size_in_bytes < 10 * tokens_per_chip
    assert memory.temp_size_in_bytes < 20 * tokens_per_chip
    cost = modelled_cost(chip, compiled)
    # Four passes, and eight more to break ties; the moments, the counts and each pass are a collective.
    assert (cost["histograms"], cost["histograms_with_ties"]) == (4, 12)
    assert (cost["collectives"], cost["collectives_with_ties"]) == (10, 18)
    assert cost["share_of_step"] < cost["share_of_step_with_ties"] < 1e-3
