"""What the logits of a rollout look like: how sure the policy is, and what a minimum length keeps from it.

Summed up while tokens are drawn, over the draws that a response was alive at: of the first response to each
prompt, a share of 1 in `num_samples` that depends on no split of the batch, since the whole vocabulary is
read for it once more. Looked at are the logits that every token is drawn from, over the temperature: before
stop tokens are forbidden and before top-k and top-p. No token depends on it.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int32

from entropy_rl.sampler.draw import Sampling

NUM_RANKS = 5
"""Of so many of the likeliest tokens the probability is told."""
BLOCK = 128
"""Tokens of the vocabulary that are searched together: the largest few lie in as many blocks."""

_ALWAYS = ("logits/gap", *(f"logits/top_{n}" for n in range(1, NUM_RANKS + 1)))
_BEFORE_MINIMUM = ("sampler/stop_suppressed_fraction", "sampler/stop_suppressed_mass")
NUM_SUMS = len(_ALWAYS + _BEFORE_MINIMUM)
"""N, numbers that a draw adds to the sums of its row: those of `_ALWAYS`, then those of `_BEFORE_MINIMUM`."""


@dataclass(frozen=True, kw_only=True)
class LogitHealth:
    """Sums over draws; those of several rollouts add up."""

    sum_N: Float64[np.ndarray, " N"]
    num_draws: int
    num_suppressed: int
    """Draws at which stop tokens were forbidden."""

    @classmethod
    def of(
        cls,
        sum_PN: Float[np.ndarray, "P N"],
        mask_PT: Bool[np.ndarray, "P T"],
        sampling: Sampling,
        stop_ids: tuple[int, ...],
    ) -> "LogitHealth":
        """From what was summed for each row, and the tokens it has drawn."""
        return cls(
            sum_N=sum_PN.sum(axis=0, dtype=np.float64),
            num_draws=int(mask_PT.sum()),
            num_suppressed=int(mask_PT[:, : sampling.min_new_tokens].sum()) if stop_ids else 0,
        )

    def __add__(self, other: "LogitHealth") -> "LogitHealth":
        return LogitHealth(
            sum_N=self.sum_N + other.sum_N,
            num_draws=self.num_draws + other.num_draws,
            num_suppressed=self.num_suppressed + other.num_suppressed,
        )

    def metrics(self) -> dict[str, float]:
        """Means over draws, as in metrics.jsonl; none of stop tokens where none was forbidden."""
        means = dict(zip(_ALWAYS, self.sum_N / max(self.num_draws, 1), strict=False))
        means = {"logits/max_probability": means["logits/top_1"]} | means
        if self.num_suppressed:
            means |= dict(zip(_BEFORE_MINIMUM, self.sum_N[len(_ALWAYS) :] / self.num_suppressed, strict=True))
        return {name: float(value) for name, value in means.items()}


def draw_sums(
    logits_BV: Float[Array, "B V"],
    token_B: Int32[Array, " B"],
    logp_B: Float[Array, " B"],
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    position: Int32[Array, ""],
) -> Float[Array, "B N"]:
    """What one draw adds for each row.

    `logp_B` is of the tokens drawn, under the temperature-scaled model: it spares a sum over the vocabulary.
    """

    def scaled(logits_BK):
        return logits_BK.astype(jnp.float32) / sampling.temperature

    # Without a barrier the compiler sees that single columns are read, and sorts whole rows to have them.
    top_BK = jax.lax.optimization_barrier(scaled(largest(logits_BV, NUM_RANKS)))
    log_mass_B1 = scaled(jnp.take_along_axis(logits_BV, token_B[:, None], axis=-1)) - logp_B[:, None]
    of_stops_B2 = jnp.zeros((len(token_B), len(_BEFORE_MINIMUM)), jnp.float32)
    if sampling.min_new_tokens > 0 and stop_ids:
        stop_BE = scaled(jnp.take(logits_BV, jnp.array(stop_ids, jnp.int32), axis=-1))
        likeliest_B1 = jnp.max(stop_BE, axis=-1, keepdims=True) >= top_BK[:, :1]
        mass_B1 = jnp.sum(jnp.exp(stop_BE - log_mass_B1), axis=-1, keepdims=True)
        of_stops_B2 = jnp.concatenate([likeliest_B1.astype(jnp.float32), mass_B1], axis=-1)
        of_stops_B2 = jnp.where(position < sampling.min_new_tokens, of_stops_B2, 0)
    gap_B1 = top_BK[:, :1] - top_BK[:, 1:2]
    return jnp.concatenate([gap_B1, jnp.exp(top_BK - log_mass_B1), of_stops_B2], axis=-1)


def largest(x_BV: Float[Array, "B V"], k: int) -> Float[Array, "B k"]:
    """The k largest of each row, descending; -inf where V is less than k.

    Of a large vocabulary the blocks are found first that have the k largest maxima: nothing else can be among
    the k largest. That reads all of it once, where a sort of it takes several times as long as drawing.
    """
    batch, vocab = x_BV.shape
    in_blocks = vocab > 2 * k * BLOCK
    padding = -vocab % BLOCK if in_blocks else max(k - vocab, 0)
    x_BV = jnp.pad(x_BV, ((0, 0), (0, padding)), constant_values=-jnp.inf)
    if in_blocks:
        block_BNC = x_BV.reshape(batch, -1, BLOCK)
        _, best_Bk = jax.lax.top_k(jnp.max(block_BNC, axis=-1), k)
        x_BV = jnp.take_along_axis(block_BNC, best_Bk[:, :, None], axis=1).reshape(batch, -1)
    return jax.lax.top_k(x_BV, k)[0]
