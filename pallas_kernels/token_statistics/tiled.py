"""The operation in plain XLA, a tile of the vocabulary at a time: no array of [T, V] ever exists.

For one token with logits z, p = softmax(z) and label y:

    logp = z_y - lse(z)                d logp / dz_v = 1[v = y] - p_v
    H    = lse(z) - sum_v p_v z_v      d H    / dz_v = -p_v (log p_v + H)

The forward pass keeps, for each token, the running maximum m, s = sum exp(z - m), u = sum exp(z - m) (z - m)
and the label's logit. The backward pass makes each tile of z again, from lse and H alone. That is four
products of the size of the head instead of the three that kept logits would need; but a tile stays in the
cache, where logits of gigabytes do not, and on the CPU the four are faster (EXPERIMENTS.md, 2026-11-20).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class _Tiles(NamedTuple):
    """How the vocabulary is cut: tile i begins at min(i * width, vocab - width)."""

    vocab: int
    width: int

    @property
    def count(self) -> int:
        return -(-self.vocab // self.width)

    def take(self, head_VD, i):
        """(tile [C, D], number of its first row)."""
        start = jnp.minimum(i * self.width, self.vocab - self.width)
        return jax.lax.dynamic_slice_in_dim(head_VD, start, self.width), start

    def where_new(self, x_TC, i, start, otherwise):
        """`x` where the last tile, which begins early so as to be whole, does not repeat its neighbour."""
        if self.vocab % self.width == 0:
            return x_TC
        column_1C = start + jnp.arange(self.width, dtype=jnp.int32)[None]
        return jnp.where(column_1C >= i * self.width, x_TC, otherwise)


def tile_width(num_tokens: int, vocab: int, max_tile_bytes: int, min_width: int) -> int:
    """Columns of a tile: what `max_tile_bytes` of f32 hold, or a divisor of the vocabulary not far below."""
    widest = min(vocab, max(min_width, max_tile_bytes // (4 * num_tokens)))
    fewest = -(-vocab // widest)
    divisors = [n for n in range(fewest, 2 * fewest + 1) if vocab % n == 0]
    return vocab // divisors[0] if divisors else widest


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def tiled_statistics(
    hidden_TD: Float[Array, "T D"],
    head_VD: Float[Array, "V D"],
    label_T: Int[Array, " T"],
    scale: float,
    width: int,
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """(log-probs, entropies) of softmax(scale * hidden @ head.T), in tiles of `width` columns."""
    return _forward(hidden_TD, head_VD, label_T, scale, width)[0]


def _forward(hidden_TD, head_VD, label_T, scale, width):
    tiles = _Tiles(head_VD.shape[0], width)
    dtype = jnp.promote_types(hidden_TD.dtype, jnp.float32)

    def add_tile(running, i):
        max_T, sum_T, weighted_T, label_logit_T = running
        head_CD, start = tiles.take(head_VD, i)
        logit_TC = scale * _product("TD,CD->TC", hidden_TD, head_CD, preferred_element_type=dtype)
        new_max_T = jnp.maximum(max_T, tiles.where_new(logit_TC, i, start, -jnp.inf).max(axis=1))
        shifted_TC = logit_TC - new_max_T[:, None]
        weight_TC = tiles.where_new(jnp.exp(shifted_TC), i, start, 0)
        # Earlier terms are relative to the earlier maximum, which before the first tile is none at all.
        fall_T = jnp.where(sum_T > 0, max_T - new_max_T, 0)
        decay_T = jnp.exp(fall_T)
        weighted_T = decay_T * (weighted_T + fall_T * sum_T) + jnp.sum(weight_TC * shifted_TC, axis=1)
        sum_T = decay_T * sum_T + jnp.sum(weight_TC, axis=1)
        place_T = label_T - start
        logit_T = jnp.take_along_axis(logit_TC, jnp.clip(place_T, 0, width - 1)[:, None], axis=1)[:, 0]
        label_logit_T = jnp.where((place_T >= 0) & (place_T < width), logit_T, label_logit_T)
        return (new_max_T, sum_T, weighted_T, label_logit_T), None

    zero_T = jnp.zeros(label_T.shape, dtype)
    begin = (jnp.full(label_T.shape, -jnp.inf, dtype), zero_T, zero_T, zero_T)
    (max_T, sum_T, weighted_T, label_logit_T), _ = jax.lax.scan(add_tile, begin, jnp.arange(tiles.count))
    log_sum_T = jnp.log(sum_T)
    logp_T = label_logit_T - max_T - log_sum_T
    entropy_T = log_sum_T - weighted_T / sum_T
    return (logp_T, entropy_T), (hidden_TD, head_VD, label_T, max_T + log_sum_T, entropy_T)


def _backward(scale, width, saved, bars):
    hidden_TD, head_VD, label_T, lse_T, entropy_T = saved
    logp_bar_T, entropy_bar_T = bars
    tiles = _Tiles(head_VD.shape[0], width)

    def add_tile(gradients, i):
        hidden_bar_TD, head_bar_VD = gradients
        head_CD, start = tiles.take(head_VD, i)
        logit_TC = scale * _product("TD,CD->TC", hidden_TD, head_CD, preferred_element_type=lse_T.dtype)
        log_p_TC = logit_TC - lse_T[:, None]
        from_entropy_TC = entropy_bar_T[:, None] * (log_p_TC + entropy_T[:, None])
        logit_bar_TC = -jnp.exp(log_p_TC) * (logp_bar_T[:, None] + from_entropy_TC)
        is_label_TC = (label_T - start)[:, None] == jnp.arange(width, dtype=label_T.dtype)[None]
        logit_bar_TC = logit_bar_TC + jnp.where(is_label_TC, logp_bar_T[:, None], 0)
        logit_bar_TC = tiles.where_new(scale * logit_bar_TC, i, start, 0).astype(hidden_TD.dtype)
        hidden_bar_TD = hidden_bar_TD + _product(
            "TC,CD->TD", logit_bar_TC, head_CD, preferred_element_type=lse_T.dtype
        )
        head_bar_CD = _product("TC,TD->CD", logit_bar_TC, hidden_TD, preferred_element_type=lse_T.dtype)
        head_bar_CD = head_bar_CD.astype(head_VD.dtype)
        if tiles.vocab % width:  # rows that the last tile repeats have their gradient already
            head_bar_CD = head_bar_CD + jax.lax.dynamic_slice_in_dim(head_bar_VD, start, width)
        return (hidden_bar_TD, jax.lax.dynamic_update_slice_in_dim(head_bar_VD, head_bar_CD, start, 0)), None

    begin = (jnp.zeros(hidden_TD.shape, lse_T.dtype), jnp.zeros(head_VD.shape, head_VD.dtype))
    (hidden_bar_TD, head_bar_VD), _ = jax.lax.scan(add_tile, begin, jnp.arange(tiles.count))
    return hidden_bar_TD.astype(hidden_TD.dtype), head_bar_VD, None


tiled_statistics.defvjp(_forward, _backward)
