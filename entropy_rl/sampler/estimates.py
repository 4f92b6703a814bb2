"""What logits and the tokens drawn from them tell: at which temperature, how surely, and under a penalty."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

LOWEST, HIGHEST = 1 / 16, 16.0
"""Temperatures between which one is looked for."""
NUM_HALVINGS = 30


def likeliest_temperature(logits_NV: Float[Array, "N V"], token_N: Int[Array, " N"]) -> Float[Array, ""]:
    """The temperature at which drawing these tokens from these unscaled logits was the most likely.

    With b = 1 / T the log-likelihood is sum_n (b z_n[token_n] - logsumexp(b z_n)), which is concave in b: its
    slope, drawn minus expected logit, is halved upon its zero. Where that lies outside LOWEST to HIGHEST (no
    token says anything of T where all logits of a row are equal) the nearer end is returned.
    """
    drawn_N = jnp.take_along_axis(logits_NV, token_N[:, None], axis=-1)[:, 0]

    def slope(b):
        return jnp.sum(drawn_N - jnp.sum(jax.nn.softmax(b * logits_NV, axis=-1) * logits_NV, axis=-1))

    def halve(_, ends):
        low, high = ends
        middle = jnp.sqrt(low * high)
        rises = slope(middle) > 0
        return jnp.where(rises, middle, low), jnp.where(rises, high, middle)

    ends = (jnp.float32(1 / HIGHEST), jnp.float32(1 / LOWEST))
    low, high = jax.lax.fori_loop(0, NUM_HALVINGS, halve, ends)
    return 1 / jnp.sqrt(low * high)


def certainty(
    logits_NV: Float[Array, "N V"], temperature: Float[Array, ""] | float
) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Of each row at a temperature: the probability of the likeliest token, and the gap of the two largest
    logits over the temperature, nats."""
    scaled_NV = logits_NV / temperature
    top_N2, _ = jax.lax.top_k(scaled_NV, 2)
    max_probability_N = jnp.exp(top_N2[:, 0] - jax.nn.logsumexp(scaled_NV, axis=-1))
    return max_probability_N, top_N2[:, 0] - top_N2[:, 1]


def with_repetition_penalty(
    logits_NV: Float[Array, "N V"], seen_NV: Bool[Array, "N V"], penalty: float
) -> Float[Array, "N V"]:
    """Logits under a repetition penalty (arXiv 1909.05858, as `transformers` applies it).

    Those of tokens that the text has already are divided by it where they are positive, and multiplied where
    they are negative. 1 changes nothing.
    """
    penalised_NV = jnp.where(logits_NV > 0, logits_NV / penalty, logits_NV * penalty)
    return jnp.where(seen_NV, penalised_NV, logits_NV)
