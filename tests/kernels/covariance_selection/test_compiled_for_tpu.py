"""The TPU compiler itself takes the kernel for every chip, and the whole selection for 256 of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from entropy_rl.bench.selection import compiled_selection
from pallas_kernels.covariance_selection import MosaicHistogram


@pytest.fixture(scope="module", autouse=True)
def tpu_compiler():
    """Loads the compiler in an environment that it bears."""
    pytest.importorskip("libtpu", reason="needs the TPU compiler: pip install libtpu")
    jax.devices()  # the CPU's flags, at which the TPU's compiler would end the process, are read by now
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "")
        patch.setenv("TPU_SKIP_MDS_QUERY", "1")
        patch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
        yield


@pytest.mark.parametrize("topology", ["v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
@pytest.mark.parametrize("num_prefixes", [1, 7])
def test_the_kernel_compiles_for_every_chip(topology, num_prefixes):
    device = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
    one = NamedSharding(Mesh(np.array([device]), ("one",)), PartitionSpec())
    shapes = (((131_072 - 3,), jnp.uint32), ((num_prefixes,), jnp.uint32), ((), jnp.int32))
    operands = [jax.ShapeDtypeStruct(shape, dtype, sharding=one) for shape, dtype in shapes]
    compiled = jax.jit(MosaicHistogram().counts).lower(*operands).compile()
    assert "tpu_custom_call" in compiled.as_text()
    assert compiled.memory_analysis().temp_size_in_bytes < 1 << 20


def test_the_whole_selection_compiles_for_256_chips_and_moves_no_token():
    compiled = compiled_selection("v5e:16x16")
    text, memory = compiled.as_text(), compiled.memory_analysis()
    assert text.count('custom_call_target="tpu_custom_call"') == 3  # the descent, and the two of the ties
    assert "all-reduce" in text and not any(
        name in text for name in ("all-gather", "all-to-all", "collective-permute", " sort(")
    )
    tokens_per_chip = 2**25 // 256
    assert memory.argument_size_in_bytes < 10 * tokens_per_chip
    assert memory.temp_size_in_bytes < 16 * tokens_per_chip
