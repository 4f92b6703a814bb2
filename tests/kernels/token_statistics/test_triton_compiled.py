"""XLA's GPU compiler on the Triton kernels, for Hopper GPUs that need not be there.

It refuses a kernel that wants more shared memory than a block may have and, when told to, one that spills
registers. What it cannot do without a GPU is to choose the fastest of its own matrix products: programs
are complete, but those products are not the ones that a GPU would run.
"""

import importlib.util
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from pallas_kernels.chips import GPU_CHIPS
from pallas_kernels.token_statistics import token_statistics
from pallas_kernels.token_statistics.triton import Triton
from pallas_kernels.token_statistics.triton_kernels import Blocks

TRITON_CALL = "__gpu$xla.gpu.triton"

NUM_TOKENS, HIDDEN_SIZE, VOCAB = 8192, 3584, 152_064
"""An update of Qwen2.5-7B."""
MIB = 1 << 20

needs_gpu_compiler = pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda13_plugin") is None,
    reason="XLA's compiler for NVIDIA GPUs is not installed: pip install 'jax[cuda13]'",
)


def gradients_program(shape, dtype, vocab_axis, implementation, sharding=None, valid_vocab_size=None):
    """The operation's values and gradients at `shape` (tokens, hidden size, vocabulary), traced."""
    num_tokens, hidden_size, vocab = shape

    def values_and_gradients(hidden_TD, head, label_T, bars):
        def values(hidden_TD, head):
            return token_statistics(
                hidden_TD,
                head,
                label_T,
                vocab_axis=vocab_axis,
                valid_vocab_size=valid_vocab_size,
                implementation=implementation,
            )

        result, pull = jax.vjp(values, hidden_TD, head)
        return result + pull(bars)

    def abstract(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    bar_T = abstract((num_tokens,), jnp.float32)
    return jax.jit(values_and_gradients).trace(
        abstract((num_tokens, hidden_size), dtype),
        abstract((vocab, hidden_size) if vocab_axis == 0 else (hidden_size, vocab), dtype),
        abstract((num_tokens,), jnp.int32),
        (bar_T, bar_T),
    )


def as_if_on(chip: str):
    """Tells JAX from 0.12 on which GPU to write Triton for; earlier ones write for Hopper without a GPU."""
    try:
        from jax.sharding import AbstractDevice
    except ImportError:
        return nullcontext()
    device = AbstractDevice(device_kind=chip, num_cores=None, platform="gpu")
    mesh = AbstractMesh((1,), ("one",), (AxisType.Auto,), abstract_device=device)
    return jax.sharding.use_abstract_mesh(mesh)


def compile_for(chip: str, dtype, vocab_axis: int, implementation: Triton, **options):
    devices = topologies.get_topology_desc(
        platform="cuda", topology_name="", target_config=GPU_CHIPS[chip].compiler_target(), topology="1x1x1"
    )
    sharding = NamedSharding(topologies.make_mesh(devices, (1,), ("one",)), PartitionSpec())
    shape = NUM_TOKENS, HIDDEN_SIZE, VOCAB
    program = gradients_program(shape, dtype, vocab_axis, implementation, sharding, **options)
    with as_if_on(GPU_CHIPS[chip].device_kind):
        lowered = program.lower()
    return lowered.compile(
        compiler_options={
            "xla_backend_optimization_level": 3,  # that of users; the tests' own is 0
            "xla_gpu_fail_ptx_compilation_on_register_spilling": True,
        }
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("vocab_axis", [0, 1])
def test_one_kernel_forward_and_one_for_each_width_of_chunk_backward(dtype, vocab_axis):
    with as_if_on("NVIDIA H200"):
        program = gradients_program((8191, 896, 151_936), dtype, vocab_axis, Triton())
        text = program.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count(TRITON_CALL) == 3


@needs_gpu_compiler
@pytest.mark.parametrize("chip", GPU_CHIPS)
@pytest.mark.parametrize("vocab_axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_compiles_without_any_array_of_all_logits(chip, vocab_axis, dtype):
    """Beside a chunk of 64 MiB stands the gradient of hidden in f32, 112 MiB, and two parts of head."""
    compiled = compile_for(chip, dtype, vocab_axis, Triton(), valid_vocab_size=151_665)
    text = compiled.as_text()
    assert text.count(f'custom_call_target="{TRITON_CALL}"') == 3
    assert f"[{NUM_TOKENS},{VOCAB}]" not in text
    assert compiled.memory_analysis().temp_size_in_bytes <= 256 * MIB


@needs_gpu_compiler
@pytest.mark.parametrize(
    ("too_much", "message"),
    [
        (Blocks(tokens=128, vocab=256, hidden=128, num_warps=8, num_stages=3), "Shared memory size limit"),
        (Blocks(tokens=256, vocab=256, hidden=32, num_warps=8, num_stages=3), "register spilling"),
    ],
)
def test_the_compiler_refuses_blocks_that_do_not_fit(too_much, message):
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        compile_for("NVIDIA H200", "bfloat16", 0, Triton(narrow=too_much))
