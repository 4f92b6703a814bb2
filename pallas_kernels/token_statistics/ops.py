"""The public operation, with its gradient written out, in two XLA forms.

For one token with logits z, p = softmax(z), label y:

    logp = z_y - lse(z)                d logp / dz_v = 1[v = y] - p_v
    H    = lse(z) - sum_v p_v z_v      d H    / dz_v = -p_v (log p_v + H)

so the backward pass needs only z, lse and H. `Materialized` keeps z [T, V] from the forward pass (three
matrix products in all); `Chunked` keeps only lse and H, recomputes z a chunk of tokens at a time (four
products) and never holds more than [chunk, V].
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Statistics = tuple[Float[Array, " T"], Float[Array, " T"]]


@dataclass(frozen=True)
class Materialized:
    """Hold the logits of all tokens: the fastest form while T * V * 4 bytes are affordable."""


@dataclass(frozen=True, kw_only=True)
class Chunked:
    """Hold the logits of one chunk of tokens at a time, at the price of one more matrix product."""

    num_tokens: int = 512
    """Tokens in a chunk."""


def token_statistics(
    hidden_TD: Float[Array, "T D"],
    head_VD: Float[Array, "V D"],
    label_T: Int[Array, " T"],
    *,
    temperature: float = 1.0,
    implementation: Materialized | Chunked | None = None,
    max_logits_bytes: int = 2 << 30,
) -> Statistics:
    """Log-probability of each label and entropy (nats) of softmax(hidden @ head.T / temperature).

    `implementation=None` materialises the logits while they take at most `max_logits_bytes`, and goes in
    chunks of that size above. Both results are f32 [T]; gradients flow to `hidden` and `head`.
    """
    num_tokens, vocab_size = hidden_TD.shape[0], head_VD.shape[0]
    if implementation is None:
        affordable = max(1, max_logits_bytes // (4 * vocab_size))
        implementation = Materialized() if num_tokens <= affordable else Chunked(num_tokens=affordable)
    match implementation:
        case Materialized():
            return _materialized(hidden_TD, head_VD, label_T, temperature)
        case Chunked(num_tokens=chunk):
            return _chunked(hidden_TD, head_VD, label_T, temperature, min(chunk, num_tokens))


def _logits(hidden_TD, head_VD, temperature):
    scaled_TD = hidden_TD if temperature == 1.0 else hidden_TD / temperature
    dtype = jnp.promote_types(hidden_TD.dtype, jnp.float32)
    return jnp.einsum(
        "TD,VD->TV", scaled_TD, head_VD, precision=jax.lax.Precision.HIGHEST, preferred_element_type=dtype
    )


def _reduce(logits_TV, label_T):
    """(logp, entropy, lse) of rows of logits; log p is taken from z - max, where little cancels."""
    max_T = jnp.max(logits_TV, axis=-1)
    shifted_TV = logits_TV - max_T[:, None]
    weight_TV = jnp.exp(shifted_TV)
    sum_T = jnp.sum(weight_TV, axis=-1)
    mean_T = jnp.sum(weight_TV * shifted_TV, axis=-1) / sum_T
    log_sum_T = jnp.log(sum_T)
    label_logit_T = jnp.take_along_axis(logits_TV, label_T[:, None], axis=-1)[:, 0]
    return label_logit_T - max_T - log_sum_T, log_sum_T - mean_T, max_T + log_sum_T


def _logit_gradient(logits_TV, label_T, lse_T, entropy_T, logp_bar_T, entropy_bar_T):
    log_p_TV = logits_TV - lse_T[:, None]
    p_TV = jnp.exp(log_p_TV)
    is_label_TV = jax.lax.broadcasted_iota(jnp.int32, logits_TV.shape, 1) == label_T[:, None]
    from_entropy_TV = entropy_bar_T[:, None] * (log_p_TV + entropy_T[:, None])
    gradient_TV = -p_TV * (logp_bar_T[:, None] + from_entropy_TV)
    return gradient_TV + jnp.where(is_label_TV, logp_bar_T[:, None], 0)


def _operand_gradients(gradient_TV, hidden_TD, head_VD, temperature):
    product = partial(
        jnp.einsum, precision=jax.lax.Precision.HIGHEST, preferred_element_type=gradient_TV.dtype
    )
    gradient_TV = gradient_TV.astype(hidden_TD.dtype)
    hidden_bar_TD = product("TV,VD->TD", gradient_TV, head_VD) / temperature
    head_bar_VD = product("TV,TD->VD", gradient_TV, hidden_TD) / temperature
    return hidden_bar_TD, head_bar_VD


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _materialized(hidden_TD, head_VD, label_T, temperature):
    return _reduce(_logits(hidden_TD, head_VD, temperature), label_T)[:2]


def _materialized_forward(hidden_TD, head_VD, label_T, temperature):
    logits_TV = _logits(hidden_TD, head_VD, temperature)
    logp_T, entropy_T, lse_T = _reduce(logits_TV, label_T)
    return (logp_T, entropy_T), (hidden_TD, head_VD, label_T, logits_TV, lse_T, entropy_T)


def _materialized_backward(temperature, saved, bars):
    hidden_TD, head_VD, label_T, logits_TV, lse_T, entropy_T = saved
    gradient_TV = _logit_gradient(logits_TV, label_T, lse_T, entropy_T, *bars)
    hidden_bar_TD, head_bar_VD = _operand_gradients(gradient_TV, hidden_TD, head_VD, temperature)
    return hidden_bar_TD.astype(hidden_TD.dtype), head_bar_VD.astype(head_VD.dtype), None


_materialized.defvjp(_materialized_forward, _materialized_backward)


def _chunks(x_T, chunk):
    """[T, ...] -> [num_chunks, chunk, ...], padded with zeros."""
    padding = -x_T.shape[0] % chunk
    padded_T = jnp.pad(x_T, ((0, padding),) + ((0, 0),) * (x_T.ndim - 1))
    return padded_T.reshape(-1, chunk, *x_T.shape[1:])


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _chunked(hidden_TD, head_VD, label_T, temperature, chunk):
    return _chunked_forward(hidden_TD, head_VD, label_T, temperature, chunk)[0]


def _chunked_forward(hidden_TD, head_VD, label_T, temperature, chunk):
    def one_chunk(operands):
        hidden_CD, label_C = operands
        return _reduce(_logits(hidden_CD, head_VD, temperature), label_C)

    stacked = jax.lax.map(one_chunk, (_chunks(hidden_TD, chunk), _chunks(label_T, chunk)))
    logp_T, entropy_T, lse_T = (x.reshape(-1)[: label_T.shape[0]] for x in stacked)
    return (logp_T, entropy_T), (hidden_TD, head_VD, label_T, lse_T, entropy_T)


def _chunked_backward(temperature, chunk, saved, bars):
    hidden_TD, head_VD, *rows = saved

    def one_chunk(head_bar_VD, operands):
        hidden_CD, label_C, lse_C, entropy_C, logp_bar_C, entropy_bar_C = operands
        logits_CV = _logits(hidden_CD, head_VD, temperature)
        gradient_CV = _logit_gradient(logits_CV, label_C, lse_C, entropy_C, logp_bar_C, entropy_bar_C)
        hidden_bar_CD, chunk_bar_VD = _operand_gradients(gradient_CV, hidden_CD, head_VD, temperature)
        return head_bar_VD + chunk_bar_VD, hidden_bar_CD.astype(hidden_CD.dtype)

    zero_VD = jnp.zeros(head_VD.shape, jnp.promote_types(head_VD.dtype, jnp.float32))
    operands = tuple(_chunks(x, chunk) for x in (hidden_TD, *rows, *bars))
    head_bar_VD, hidden_bar = jax.lax.scan(one_chunk, zero_VD, operands)
    hidden_bar_TD = hidden_bar.reshape(-1, hidden_TD.shape[1])[: hidden_TD.shape[0]]
    return hidden_bar_TD, head_bar_VD.astype(head_VD.dtype), None


_chunked.defvjp(_chunked_forward, _chunked_backward)
