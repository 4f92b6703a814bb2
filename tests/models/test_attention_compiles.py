"""Training attention passes the compilers of TPUs and GPUs, which need no device, and keeps no scores."""

import dataclasses
import re
from functools import partial
from typing import get_args

import jax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from entropy_rl.models.config import QWEN2_5, Qwen2Config
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.models.rematerialization import Rematerialize
from entropy_rl.models.training_attention import CuDNNAttention, SplashAttention
from entropy_rl.parallelism.mesh import MeshConfig, batch_sharding, parameter_shardings
from entropy_rl.plan.topology import Topology
from pallas_kernels.sharding import Shards

T, S = 8192, 2048
"""Tokens of a response and of its prompt."""


@pytest.fixture(scope="session")
def gpus():
    """Four H200."""
    pytest.importorskip("jax_cuda13_plugin", reason="needs XLA's GPU compiler: pip install jax[cuda13]")
    return Topology.of("h200:4").devices()


ONE_DEVICE = {"tokens": (), "heads": None}
FOUR_DEVICES = {"tokens": ("data", "fsdp"), "heads": "tensor"}


def compiled(attention, layout: Qwen2Config, mesh, *, cut=ONE_DEVICE, dtype="bfloat16", T=T, U=T + S):
    """Attention of two sequences and its gradients, in one program."""
    rows = cut["tokens"] or None

    def abstract(shape, dtype, spec):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))

    def forward_and_backward(q, k, v, q_segment, kv_segment, g):
        out, vjp = jax.vjp(lambda *arrays: attention(*arrays, q_segment, kv_segment), q, k, v)
        return out, *vjp(g)

    N, K, H = layout.num_heads, layout.num_kv_heads, layout.head_dim
    spec = PartitionSpec(rows, None, cut["heads"], None)
    q, k = abstract((2, T, N, H), dtype, spec), abstract((2, U, K, H), dtype, spec)
    segments = (abstract((2, length), "int32", PartitionSpec(rows, None)) for length in (T, U))
    return jax.jit(forward_and_backward).lower(q, k, k, *segments, q).compile()


def assert_keeps_no_scores(program, layout: Qwen2Config, itemsize=2):
    """At most 16 bytes for each query, head and lane; bf16 scores would take 160."""
    lanes = 2 * layout.num_heads * T * 128
    used = program.memory_analysis().temp_size_in_bytes
    print(f"{used / 2**20:.0f} MiB, {used / lanes:.1f} bytes a query, head and lane")
    assert used < 8 * itemsize * lanes


def count_kernels(program) -> list[int]:
    """How often the forward kernel stands in a program, and each of the backward's two."""
    return [len(re.findall(rf"%splash_mha_{name}\S* = ", program.as_text())) for name in ("fwd", "dq", "dkv")]


SIZES = ("0.5B", "1.5B", "7B", "32B")
CHIPS = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")


@pytest.mark.parametrize(
    ("chip", "size"),
    [
        # By default the smallest model and the largest on the oldest and the newest chip.
        pytest.param(chip, size, marks=[] if row == column in (0, 3) else pytest.mark.slow)
        for row, chip in enumerate(CHIPS)
        for column, size in enumerate(SIZES)
    ],
)
def test_splash_attention_compiles_without_scores(tpu_devices, chip, size):
    program = compiled(SplashAttention(), QWEN2_5[size], MeshConfig().build(tpu_devices(chip)))
    assert_keeps_no_scores(program, QWEN2_5[size])
    assert count_kernels(program) == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
def test_splash_attention_compiles_in_float32(tpu_devices, chip):
    program = compiled(
        SplashAttention(), QWEN2_5["7B"], MeshConfig().build(tpu_devices(chip)), dtype="float32"
    )
    assert_keeps_no_scores(program, QWEN2_5["7B"], itemsize=4)


def on(mesh, cut) -> Shards:
    return Shards(mesh=mesh, **cut)


def test_splash_attention_compiles_for_a_mesh(tpu_devices):
    mesh = MeshConfig(data=2, tensor=2).build(tpu_devices("v5e:2x2"))
    attention = partial(SplashAttention(), shards=on(mesh, FOUR_DEVICES))
    program = compiled(attention, QWEN2_5["7B"], mesh, cut=FOUR_DEVICES, T=301, U=501)
    assert count_kernels(program) == [1, 1, 1]
    # A device holds one of the two rows and 14 of the 28 heads; 301 queries stand in one block of 384.
    assert re.search(r"%splash_mha_fwd\S* = .*bf16\[(1,)?14,384,128\]", program.as_text())
    assert not re.search("all-gather|all-reduce|all-to-all|collective-permute", program.as_text())


def policy_gradient(mesh, attention, rematerialize: Rematerialize):
    """The gradient of a small policy with 14 heads, on 4 devices; 2 prompts have 4 responses each."""
    sizes = {"num_layers": 2, "vocab_size": 256, "hidden_size": 256, "intermediate_size": 512}
    small = dataclasses.replace(QWEN2_5["0.5B"], **sizes)
    policy = Policy(small, "bfloat16", rematerialize, attention=attention, shards=on(mesh, FOUR_DEVICES))
    abstract = policy.abstract_params("bfloat16")
    shardings = parameter_shardings(mesh, logical_axes(small), abstract)
    params = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings
    )
    batch = [
        jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh))
        for shape, dtype in (((2, 200), "int32"), ((2, 200), "bool"), ((8, 301), "int32"))
    ]

    def gradient(params, *batch):
        return jax.grad(lambda params: policy.response_hidden(params, *batch).astype("float32").sum())(params)

    return jax.jit(gradient).lower(params, *batch).compile()


@pytest.mark.slow
@pytest.mark.parametrize("rematerialize", get_args(Rematerialize))
def test_a_sharded_policy_runs_the_splash_kernel_on_each_share(tpu_devices, rematerialize):
    mesh = MeshConfig(data=2, tensor=2).build(tpu_devices("v5e:2x2"))
    program = policy_gradient(mesh, SplashAttention(), rematerialize)
    # Prompts and responses each pass through the one layer that is compiled; two where the loop takes two a
    # turn, as the compiler has it to copy to the host beside the arithmetic.
    layers = count_kernels(program)[1] // 2
    assert layers in ((1, 2) if rematerialize == "offload" else (1,))
    again = 2 if rematerialize in ("layer", "offload") else 1
    assert count_kernels(program) == [2 * again * layers, 2 * layers, 2 * layers]
    # A device holds 4 of the 8 rows and 7 of the 14 heads; 300 response tokens stand in blocks of 384.
    assert re.search(r"%splash_mha_fwd\S* = .*bf16\[4,7,384,64\]", program.as_text())


@pytest.mark.slow
def test_a_sharded_policy_runs_cudnn_on_each_share(gpus):
    mesh = MeshConfig(data=2, tensor=2).build(gpus)
    text = policy_gradient(mesh, CuDNNAttention(), rematerialize="dots").as_text()
    # Forward, backward, and forward again for the backward pass; of prompts and of responses.
    assert len(re.findall(r'"__cudnn\$fmhaSoftmax"', text)) == 4
    assert len(re.findall(r'"__cudnn\$fmhaSoftmaxBackward"', text)) == 2
    # 200 tokens of the prompt and 300 of the response.
    assert re.search(r"bf16\[4,7,500,64\].*__cudnn.fmhaSoftmax", text)


@pytest.mark.parametrize("size", SIZES)
def test_cudnn_attention_compiles_without_scores(gpus, size):
    program = compiled(CuDNNAttention(), QWEN2_5[size], MeshConfig().build(gpus))
    assert_keeps_no_scores(program, QWEN2_5[size])
    calls = set(re.findall(r'custom_call_target="(__cudnn[^"]*)"', program.as_text()))
    assert calls == {"__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward"}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cut", [ONE_DEVICE, FOUR_DEVICES], ids=["one", "four"])
def test_cudnn_attention_compiles_for_odd_lengths_and_several_devices(gpus, packed, cut):
    mesh = MeshConfig(data=2, tensor=2).build(gpus) if cut["heads"] else MeshConfig().build(gpus)
    attention = partial(CuDNNAttention(packed=packed), shards=on(mesh, cut))
    program = compiled(attention, QWEN2_5["1.5B"], mesh, cut=cut, T=301, U=501)
    rows, heads = (1, 6) if cut["heads"] else (2, 12)
    # A call of cuDNN's gives heads before tokens; both lengths become 502.
    assert re.search(rf"bf16\[{rows},{heads},502,128\].*__cudnn.fmha", program.as_text())
