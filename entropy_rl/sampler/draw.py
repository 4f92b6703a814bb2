"""Drawing one token a row from logits, by inverting the cumulative distribution.

`jax.random.categorical` needs a random number for every entry of the vocabulary; inverting the cumulative
distribution needs two a row: one chooses a block of the vocabulary, the other a token inside it. Two,
because an f32 uniform has 2^-23 resolution: with one, a token rarer than that could never be drawn.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int32


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is drawn. The default is the plain policy, which the paper samples from."""

    temperature: float = 1.0
    """Divides the logits; every log-probability of the product is of this scaled distribution."""
    top_k: int | None = None
    """Keep only the k most probable tokens (None: all). 1 is greedy."""
    top_p: float = 1.0
    """Keep the smallest set of most probable tokens whose mass reaches top_p."""
    min_new_tokens: int = 0
    """Stop tokens cannot be drawn before this many tokens."""

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}; for greedy use top_k=1")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}; use None to keep every token")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], got {self.top_p}")
        if self.min_new_tokens < 0:
            raise ValueError(f"min_new_tokens must not be negative, got {self.min_new_tokens}")

    @property
    def truncates(self) -> bool:
        """Whether some tokens of the vocabulary can never be drawn."""
        return self.top_k is not None or self.top_p < 1


GREEDY = Sampling(top_k=1)
"""The most probable token, always."""


def draw(
    logits_BV: Float[Array, "B V"],
    uniform_B2: Float[Array, "B 2"],
    sampling: Sampling,
    forbidden_V: Bool[Array, " V"] | None = None,
) -> tuple[Int32[Array, " B"], Float[Array, " B"], Float[Array, " B"]]:
    """Draws a token a row; returns (token, behavior_logp, logp).

    `logp` is the token's log-probability under the temperature-scaled model, `behavior_logp` under the
    distribution really drawn from: without the `forbidden_V` tokens, after top-k, then top-p.
    """
    scaled_BV = logits_BV.astype(jnp.float32)
    if sampling.temperature != 1.0:
        scaled_BV = scaled_BV / sampling.temperature
    allowed_BV = scaled_BV if forbidden_V is None else jnp.where(forbidden_V, -jnp.inf, scaled_BV)
    # Relative to the largest allowed logit: what is forbidden may be so likely that the rest would underflow.
    max_B1 = jnp.max(allowed_BV, axis=-1, keepdims=True)
    weight_BV = jnp.exp(allowed_BV - max_B1)
    if sampling.truncates:
        weight_BV = jnp.where(_kept(weight_BV, sampling), weight_BV, 0)
    token_B, mass_B = _invert(weight_BV, uniform_B2)
    shifted_B = jnp.take_along_axis(scaled_BV, token_B[:, None], axis=-1)[:, 0] - max_B1[:, 0]
    behavior_logp_B = shifted_B - jnp.log(mass_B)
    if forbidden_V is None and not sampling.truncates:
        return token_B, behavior_logp_B, behavior_logp_B
    return token_B, behavior_logp_B, shifted_B + max_B1[:, 0] - jax.nn.logsumexp(scaled_BV, axis=-1)


def _kept(weight_BV: Float[Array, "B V"], sampling: Sampling) -> Bool[Array, "B V"]:
    """Tokens that top-k and then top-p keep; equal weights are ranked by token id."""
    if sampling.top_k == 1:  # needs no sort, which takes longer than all the rest of drawing
        return jnp.arange(weight_BV.shape[-1])[None] == jnp.argmax(weight_BV, axis=-1, keepdims=True)
    order_BV = jnp.argsort(-weight_BV, axis=-1, stable=True)
    sorted_BV = jnp.take_along_axis(weight_BV, order_BV, axis=-1)
    rank_1V = jnp.arange(weight_BV.shape[-1])[None]
    if sampling.top_k is not None:
        sorted_BV = jnp.where(rank_1V < sampling.top_k, sorted_BV, 0)
    keep_BV = sorted_BV > 0
    if sampling.top_p < 1:
        before_BV = jnp.cumsum(sorted_BV, axis=-1) - sorted_BV
        enough_B1 = sampling.top_p * jnp.sum(sorted_BV, axis=-1, keepdims=True)
        keep_BV = keep_BV & ((before_BV < enough_B1) | (rank_1V == 0))
    rows_B1 = jnp.arange(weight_BV.shape[0])[:, None]
    return jnp.zeros(weight_BV.shape, bool).at[rows_B1, order_BV].set(keep_BV)


def _invert(
    weight_BV: Float[Array, "B V"], uniform_B2: Float[Array, "B 2"]
) -> tuple[Int32[Array, " B"], Float[Array, " B"]]:
    """Token ids drawn in proportion to non-negative weights, and the rows' total weight."""
    batch, vocab = weight_BV.shape
    size = 1 << math.ceil(math.log2(max(vocab, 2)) / 2)
    padded = jnp.pad(weight_BV, ((0, 0), (0, -vocab % size)))
    block_BNC = padded.reshape(batch, -1, size)
    mass_BN = jnp.sum(block_BNC, axis=-1)
    block_B = _first_reaching(mass_BN, uniform_B2[:, 0])
    inside_BC = jnp.take_along_axis(block_BNC, block_B[:, None, None], axis=1)[:, 0]
    token_B = block_B * size + _first_reaching(inside_BC, uniform_B2[:, 1])
    return token_B, jnp.sum(mass_BN, axis=-1)


def _first_reaching(weight_BN: Float[Array, "B N"], uniform_B: Float[Array, " B"]) -> Int[Array, " B"]:
    """First index whose cumulative weight exceeds uniform * total; never one of zero weight.

    Rounding may leave the target at or above every cumulative sum: then the last positive index is meant.
    """
    cumulative_BN = jnp.cumsum(weight_BN, axis=-1)
    target_B1 = (uniform_B * cumulative_BN[:, -1])[:, None]
    positive_BN = weight_BN > 0
    reached_BN = positive_BN & (cumulative_BN > target_B1)
    last_B = weight_BN.shape[-1] - 1 - jnp.argmax(positive_BN[:, ::-1], axis=-1)
    index_B = jnp.where(jnp.any(reached_BN, axis=-1), jnp.argmax(reached_BN, axis=-1), last_B)
    return index_B.astype(jnp.int32)


def token_uniforms(
    key: jax.Array, prompt_id_P: Int32[Array, " P"], *, num_samples: int, num_tokens: int
) -> Float[Array, "B T 2"]:
    """Two uniforms for every token to be drawn, B = P * num_samples.

    Those of a token depend on (key, prompt id, sample, position) alone, so the same seed draws the same
    tokens however a batch is split; `key` already holds the run's seed and the step.
    """

    def of_token(prompt_id, sample, position):
        token_key = jax.random.fold_in(
            jax.random.fold_in(jax.random.fold_in(key, prompt_id), sample), position
        )
        return jax.random.uniform(token_key, (2,))

    of_sequence = jax.vmap(of_token, in_axes=(None, None, 0))
    of_group = jax.vmap(of_sequence, in_axes=(None, 0, None))
    of_batch = jax.vmap(of_group, in_axes=(0, None, None))
    uniform_PGT2 = of_batch(prompt_id_P, jnp.arange(num_samples), jnp.arange(num_tokens))
    return uniform_PGT2.reshape(-1, num_tokens, 2)
