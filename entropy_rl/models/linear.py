"""Products of activations with a kernel of the table, and how their operands and gradients lie on a mesh.

A kernel at rest is f32 and cut over fsdp. For a product it is cast to the dtype of the activations and only
then gathered, so that half the bytes travel. Its gradient is made in f32 and scattered over fsdp at once:
were it an ordinary gradient of a cast, devices and micro-batches would add up what bf16 leaves of it, and
XLA would sum it whole on every device before cutting it.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from entropy_rl.parallelism import SAMPLING_RULES, constrain


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What is known of a kernel, and of its bias, before their values."""

    axes: tuple[str, ...]
    """Logical axes, inputs first."""
    num_inputs: int
    """How many of them are contracted with the activations."""
    mesh: Mesh | None
    """The mesh it lies on; None on one device."""


def linear(
    x: Float[Array, "B T *inputs"],
    kernel: Float[Array, "*axes"],
    bias: Float[Array, "*outputs"] | None,
    form: Kernel,
) -> Float[Array, "B T *outputs"]:
    """Contracts the axes of `x` after B and T with the first of the kernel's; the result has `x`'s dtype.

    One product of two matrices: with B and T as axes of their own, XLA copies the transposed activations
    for the gradient of the kernel, which on the CPU costs more than the product.
    """
    B, T = x.shape[:2]
    y_RO = _affine(form, x.reshape(B * T, -1), kernel, bias)
    return y_RO.reshape(B, T, *kernel.shape[form.num_inputs :])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _affine(form: Kernel, x_RI: Float[Array, "R I"], kernel: Array, bias: Array | None) -> Array:
    return _product(form, x_RI, kernel, bias)


def _product(form, x_RI, kernel, bias):
    # Where inputs are cut over tensor (here of output and down, in x_bar of the rest), devices add up in the
    # dtype of activations: these are rounded to it at every layer anyway, and f32 would be twice the bytes.
    # Gradients of parameters and what log-probs are made of are added up in f32: nothing else rounds them.
    y_RO = x_RI @ _gathered(form, kernel, x_RI.dtype)
    return y_RO if bias is None else y_RO + bias.astype(x_RI.dtype).reshape(1, -1)


def _forward(form, x_RI, kernel, bias):
    # Not by `_affine`, whose product a policy of `jax.checkpoint` could not see, and so not keep.
    return _product(form, x_RI, kernel, bias), (x_RI, kernel, bias)


def _backward(form, saved, y_bar_RO):
    x_RI, kernel, bias = saved
    wide = jnp.promote_types(x_RI.dtype, jnp.float32)
    x_bar_RI = y_bar_RO @ _gathered(form, kernel, x_RI.dtype).T
    kernel_bar = jnp.einsum("RI,RO->IO", x_RI, y_bar_RO, preferred_element_type=wide).reshape(kernel.shape)
    kernel_bar = constrain(kernel_bar, form.axes, form.mesh).astype(kernel.dtype)
    if bias is None:
        return x_bar_RI, kernel_bar, None
    return x_bar_RI, kernel_bar, jnp.sum(y_bar_RO, 0, dtype=wide).reshape(bias.shape).astype(bias.dtype)


_affine.defvjp(_forward, _backward)


def _gathered(form: Kernel, kernel: Array, dtype) -> Float[Array, "I O"]:
    """The kernel as a matrix in the dtype of the product, whole over fsdp."""
    kernel = constrain(kernel.astype(dtype), form.axes, form.mesh, SAMPLING_RULES)
    return kernel.reshape(math.prod(kernel.shape[: form.num_inputs]), -1)
