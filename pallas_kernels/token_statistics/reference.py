"""The specification: what the token statistics are, in a few lines that autodiff can differentiate."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pallas_kernels.token_statistics.implementation import VocabAxis


def statistics_of_logits(
    logits_TV: Float[Array, "T V"], label_T: Int[Array, " T"]
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """Log-probability of the label and entropy (nats) of softmax(logits), in the dtype of the logits."""
    log_softmax_TV = jax.nn.log_softmax(logits_TV, axis=-1)
    logp_T = jnp.take_along_axis(log_softmax_TV, label_T[:, None], axis=-1)[:, 0]
    entropy_T = -jnp.sum(jnp.exp(log_softmax_TV) * log_softmax_TV, axis=-1)
    return logp_T, entropy_T


def token_statistics_reference(
    hidden_TD: Float[Array, "T D"],
    head: Float[Array, "V D"] | Float[Array, "D V"],
    label_T: Int[Array, " T"],
    *,
    temperature: float = 1.0,
    valid_vocab_size: int | None = None,
    vocab_axis: VocabAxis = 0,
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """`statistics_of_logits` of hidden @ head / temperature over the valid columns, in f32 or wider."""
    head_VD = jnp.moveaxis(head, vocab_axis, 0)[:valid_vocab_size]
    logits_TV = jnp.einsum(
        "TD,VD->TV",
        hidden_TD,
        head_VD,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.promote_types(hidden_TD.dtype, jnp.float32),
    )
    return statistics_of_logits(logits_TV / temperature, label_T)
