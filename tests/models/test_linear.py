"""The product with a kernel that is kept in f32 shards, and the gradient that goes back to them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.linear import Kernel, linear
from entropy_rl.parallelism import MeshConfig, spec_of

AXES = ("embed", "heads", "head_dim")


def operands(dtype, B=3, T=7, D=6, N=10, H=2):
    keys = jax.random.split(jax.random.key(0), 4)
    x_BTD = jax.random.normal(keys[0], (B, T, D), dtype)
    kernel_DNH, bias_NH = jax.random.normal(keys[1], (D, N, H)), jax.random.normal(keys[2], (N, H))
    return (x_BTD, kernel_DNH, bias_NH), jax.random.normal(keys[3], (B, T, N, H), dtype)


def value_and_gradients(form, operands, bar):
    value, pull = jax.vjp(lambda x, kernel, bias: linear(x, kernel, bias, form), *operands)
    return value, *pull(bar)


def in_float64(operands, bar, dtype):
    """The same of operands rounded to `dtype`, written out."""
    x, kernel, bias, bar = (np.asarray(a.astype(dtype), np.float64) for a in (*operands, bar))
    value = np.einsum("btd,dnh->btnh", x, kernel) + bias
    x_bar = np.einsum("btnh,dnh->btd", bar, kernel)
    return value, x_bar, np.einsum("btd,btnh->dnh", x, bar), bar.sum((0, 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_are_of_the_activations_dtype_and_gradients_of_kernels_are_not_rounded_to_it(dtype):
    arrays, bar = operands(dtype)
    got = value_and_gradients(Kernel(axes=AXES, num_inputs=1, mesh=None), arrays, bar)
    assert [x.dtype for x in got] == [dtype, dtype, "float32", "float32"]
    tolerances = [1e-5, 1e-5, 1e-5, 1e-5] if dtype == "float32" else [0.05, 0.05, 1e-5, 1e-5]
    for mine, theirs, tolerance in zip(got, in_float64(arrays, bar, dtype), tolerances, strict=True):
        np.testing.assert_allclose(np.asarray(mine, np.float64), theirs, atol=tolerance * 4, rtol=tolerance)


def test_a_mesh_changes_nothing_and_leaves_the_gradient_where_the_kernel_lies():
    arrays, bar = operands("float32", B=4)
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    specs = [spec_of(axes) for axes in (("batch",), AXES, AXES[1:])]
    placed = [jax.device_put(a, jax.NamedSharding(mesh, s)) for a, s in zip(arrays, specs, strict=True)]
    got = jax.jit(lambda *a: value_and_gradients(Kernel(axes=AXES, num_inputs=1, mesh=mesh), a, bar))(*placed)
    want = value_and_gradients(Kernel(axes=AXES, num_inputs=1, mesh=None), arrays, bar)
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5, rtol=1e-5)
    assert got[2].sharding.spec == jax.P("fsdp", "tensor")


def test_on_a_tpu_kernels_travel_in_bf16_and_gradients_in_f32(tpu_devices):
    """At a size at which the compiler has no reason to do without collectives."""
    B, T, D, F = 4, 512, 1024, 4096
    mesh = MeshConfig(fsdp=4).build(tpu_devices("v5e:2x2"))

    def placed(shape, dtype, axes):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=jax.NamedSharding(mesh, spec_of(axes)))

    x_BTD = placed((B, T, D), jnp.bfloat16, ("batch", None, None))
    kernel_DF = placed((D, F), jnp.float32, ("embed", "mlp"))
    form = Kernel(axes=("embed", "mlp"), num_inputs=1, mesh=mesh)

    def loss(x_BTD, kernel_DF):
        return jnp.sum(linear(x_BTD, kernel_DF, None, form).astype(jnp.float32) ** 2)

    text = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x_BTD, kernel_DF).compile().as_text()
    moved = set(re.findall(r"= (\w+)\[[\d,]+\]\S* (all-gather|all-reduce|reduce-scatter)(?:-start)?\(", text))
    assert ("bf16", "all-gather") in moved and ("f32", "all-gather") not in moved
    assert {dtype for dtype, kind in moved if kind != "all-gather"} == {"f32"}
    assert "calls=%all-reduce-scatter" in text, "no device is to hold the whole gradient of all of them"
