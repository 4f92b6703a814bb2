"""What the backward pass keeps of a layer's forward pass, and what it computes again.

none     everything is kept, nothing computed again
dots     products of matrices and the attention kernel's output are kept: what lies between them is cheaper to
         compute again than to store
layer    only each layer's input is kept, on the device
offload  only each layer's input is kept, in pinned memory of the host, copied there and back beside the
         arithmetic of other layers
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from entropy_rl.models.training_attention import KEPT

Rematerialize = Literal["none", "dots", "layer", "offload"]
"""From the most memory and least arithmetic to the least memory on the device."""

_LAYER_INPUT = "layer_input"
"""The name by which a layer's input is told to `jax.checkpoint`."""

_offered = jax.checkpoint_policies
_POLICIES = {
    "dots": _offered.save_from_both_policies(_offered.dots_saveable, _offered.save_only_these_names(KEPT)),
    "layer": _offered.nothing_saveable,
    "offload": _offered.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[_LAYER_INPUT],
        offload_src="device",
        offload_dst="pinned_host",
    ),
}
"""Policies of `jax.checkpoint` for all but none, which has no checkpoint at all."""


def layer_input(x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """The same, marked as what the backward pass begins a layer with; it is kept as it lies on the mesh."""
    return checkpoint_name(x_BTD, _LAYER_INPUT)


def rematerialized(body: Callable[[Any, Any], Any], how: Rematerialize) -> Callable[[Any, Any], Any]:
    """The body of a scan over layers with such a backward pass; it names its input by `layer_input`."""
    if how == "none":
        return body
    # A scan's body is compiled apart from its backward pass: nothing to keep the compiler from merging.
    return jax.checkpoint(body, policy=_POLICIES[how], prevent_cse=False)
