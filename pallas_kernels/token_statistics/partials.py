"""What one pass over a part of the vocabulary leaves of each token, and how parts become the whole."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

MASKED = -1e30
"""Logit of a column that does not exist. Finite: a part without any column then weighs nothing beside
another, where -inf - -inf would be nan."""


class Partials(NamedTuple):
    """Of each token over some columns v of its logits z, f32 or wider."""

    max_T: Float[Array, " T"]
    """m = max z_v."""
    sum_T: Float[Array, " T"]
    """s = sum exp(z_v - m)."""
    weighted_T: Float[Array, " T"]
    """u = sum exp(z_v - m) (z_v - m)."""
    label_logit_T: Float[Array, " T"]
    """z of the label, or 0 where the label lies in another part."""


class Statistics(NamedTuple):
    """Of each token over the whole vocabulary."""

    logp_T: Float[Array, " T"]
    entropy_T: Float[Array, " T"]
    lse_T: Float[Array, " T"]
    """log sum exp z_v, which the backward pass needs."""


def rescale(partials: Partials, new_max_T: Float[Array, " T"]) -> Partials:
    """The same partials relative to a maximum that is not below their own."""
    fall_T = partials.max_T - new_max_T
    decay_T = jnp.exp(fall_T)
    return Partials(
        max_T=new_max_T,
        sum_T=decay_T * partials.sum_T,
        weighted_T=decay_T * (partials.weighted_T + fall_T * partials.sum_T),
        label_logit_T=partials.label_logit_T,
    )


def combine(partials: Partials, axis_name: str | None) -> Statistics:
    """Statistics from the partials, added up over a mesh axis that cuts the vocabulary if there is one."""
    if axis_name is not None:
        partials = rescale(partials, jax.lax.pmax(partials.max_T, axis_name))
        three = jax.lax.psum(partials[1:], axis_name)
        partials = Partials(partials.max_T, *three)
    log_sum_T = jnp.log(partials.sum_T)
    return Statistics(
        logp_T=partials.label_logit_T - partials.max_T - log_sum_T,
        entropy_T=log_sum_T - partials.weighted_T / partials.sum_T,
        lse_T=partials.max_T + log_sum_T,
    )
