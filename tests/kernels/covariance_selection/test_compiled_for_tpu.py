"""The TPU compiler itself takes the kernel for every chip, and the whole selection for 256 of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from entropy_rl.bench.selection import NUM_CHIPS, NUM_TOKENS, compiled_selection, modelled_cost
from entropy_rl.objectives import ClipCov, KLCov
from pallas_kernels.covariance_selection import MosaicHistogram

pytestmark = pytest.mark.usefixtures("tpu_devices")
OTHERS = ("v4", "v5p", "v6e")


@pytest.mark.parametrize("topology", ["v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
def test_the_kernel_compiles_for_every_chip(topology):
    device = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
    one = NamedSharding(Mesh(np.array([device]), ("one",)), PartitionSpec())
    shapes = (((131_072 - 3,), jnp.uint32), ((12,), jnp.uint32), ((), jnp.int32))
    operands = [jax.ShapeDtypeStruct(shape, dtype, sharding=one) for shape, dtype in shapes]
    compiled = jax.jit(MosaicHistogram().counts).lower(*operands).compile()
    assert "tpu_custom_call" in compiled.as_text()
    assert compiled.memory_analysis().temp_size_in_bytes < 1 << 20


@pytest.mark.parametrize("chip", ["v5e", *(pytest.param(chip, marks=pytest.mark.slow) for chip in OTHERS)])
@pytest.mark.parametrize(
    ("objective", "num_descents"), [(KLCov(), 1), (ClipCov(), 2)], ids=["KLCov", "ClipCov"]
)
def test_the_whole_selection_compiles_for_256_chips_and_moves_no_token(chip, objective, num_descents):
    compiled = compiled_selection(chip, objective)
    text, memory = compiled.as_text(), compiled.memory_analysis()
    # A descent by covariance, one by random bits for a draw, and two that break ties.
    assert text.count('custom_call_target="tpu_custom_call"') == num_descents + 2
    assert "all-reduce" in text and not any(
        name in text for name in ("all-gather", "all-to-all", "collective-permute", " sort(")
    )
    tokens_per_chip = NUM_TOKENS // NUM_CHIPS
    # f32 log-probs and advantages, and a mask; a draw reads the old log-probs too.
    operand_bytes = 13 if isinstance(objective, ClipCov) else 9
    assert operand_bytes <= memory.argument_size_in_bytes / tokens_per_chip < operand_bytes + 1
    assert memory.temp_size_in_bytes < 24 * tokens_per_chip
    cost = modelled_cost(chip, objective, compiled)
    # Four passes a descent, and eight more to break ties; moments, counts and each pass are collectives.
    passes = 4 * num_descents
    assert (cost["histograms"], cost["histograms_with_ties"]) == (passes, passes + 8)
    assert (cost["collectives"], cost["collectives_with_ties"]) == (passes + 6, passes + 14)
    assert cost["share_of_step"] < cost["share_of_step_with_ties"] < 1e-3
