"""What the backward pass keeps changes its memory, not its numbers."""

import dataclasses
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from entropy_rl.kernel_choice import Kernels
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.models.rematerialization import Rematerialize
from entropy_rl.parallelism.mesh import MeshConfig, batch_sharding, parameter_shardings

WAYS = get_args(Rematerialize)
DEEP = Qwen2Config(
    vocab_size=256,
    num_layers=16,
    hidden_size=256,
    intermediate_size=512,
    num_heads=4,
    num_kv_heads=2,
    head_dim=128,
)
C = 512


@partial(jax.jit, static_argnums=0)
def loss_and_gradient(policy, params, *batch):
    def loss(params):
        hidden = policy.response_hidden(params, *batch)
        return (hidden * jnp.cos(jnp.arange(hidden.size)).reshape(hidden.shape)).sum()

    return jax.value_and_grad(loss)(params)


@pytest.mark.parametrize("how", WAYS)
def test_losses_and_gradients_are_the_same(policy, params, batch, how):
    expected = loss_and_gradient(dataclasses.replace(policy, rematerialize="dots"), params, *batch)
    got = loss_and_gradient(dataclasses.replace(policy, rematerialize=how), params, *batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * abs(b).max()), got, expected)


@pytest.mark.slow
def test_inputs_are_offloaded_from_a_mesh(policy, batch):
    config = dataclasses.replace(policy.config, hidden_size=14, intermediate_size=18, vocab_size=32)
    mesh = MeshConfig(fsdp=2, tensor=2).build()
    shards = Kernels.of(mesh, config, "float32").shards
    alone, cut = (Policy(config, "float32", "offload", shards=s) for s in (None, shards))
    params = alone.init(jax.random.key(0))
    lying = jax.device_put(params, parameter_shardings(mesh, logical_axes(config), params))
    expected = loss_and_gradient(dataclasses.replace(alone, rematerialize="dots"), params, *batch)
    got = loss_and_gradient(cut, lying, *jax.device_put(batch, batch_sharding(mesh)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * abs(b).max()), got, expected)


def memory(how: Rematerialize, device: jax.Device, R: int):
    """The compiler's account of the gradient of a deep policy."""
    policy = Policy(DEEP, "bfloat16", how)

    def abstract(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=SingleDeviceSharding(device))

    params = jax.tree.map(lambda x: abstract(x.shape, x.dtype), policy.abstract_params("bfloat16"))
    rows = [abstract((R, C), "int32")] * 3
    gradient = jax.grad(lambda params, *rows: policy.packed_hidden(params, *rows).astype("float32").sum())
    return jax.jit(gradient).lower(params, *rows).compile().memory_analysis()


@pytest.mark.slow
def test_temporaries_fall_from_none_to_dots_to_layer():
    R = 2
    none, dots, layer = (memory(how, jax.devices()[0], R).temp_size_in_bytes for how in WAYS[:3])
    # Kept in `dots` and not in `layer`: the f32 scores of every layer, among others.
    assert dots - layer > DEEP.num_layers * R * DEEP.num_heads * C * C * 4
    # Kept in `none` and not in `dots`: their exponentials.
    assert none - dots > DEEP.num_layers * R * DEEP.num_heads * C * C * 4


@pytest.mark.slow
def test_offloading_moves_the_inputs_of_layers_to_the_host(tpu_devices):
    device, R = tpu_devices("v5e:2x2")[0], 64  # more than the chip's 128 MiB of VMEM can hold
    layer, offload = (memory(how, device, R) for how in ("layer", "offload"))
    inputs = DEEP.num_layers * R * C * DEEP.hidden_size * 2
    assert (layer.host_temp_size_in_bytes, offload.host_temp_size_in_bytes) == (0, inputs)
    # A few inputs are on the device at a time, on their way to the host and back.
    assert layer.temp_size_in_bytes - offload.temp_size_in_bytes > 0.7 * inputs
