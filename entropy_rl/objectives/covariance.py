"""Token covariance (arXiv 2505.22617, Eq. 10) and the choice of tokens by it.

Which tokens are chosen depends on what they are, never on where they lie: ties and random numbers go by a
token's identity (sequence id, position), so that the order of the batch, its padding, its split into
micro-batches and the number of devices do not matter.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int32, Key

from entropy_rl.objectives.numerics import as_float, count, masked_centred
from entropy_rl.objectives.order import kth_smallest, sortable_bits


def token_covariance(
    adv_BT: Float[Array, "B T"], logp_BT: Float[Array, "B T"], mask_BT: Bool[Array, "B T"]
) -> Float[Array, "B T"]:
    """(A - mean A) * (logp - mean logp), means over all valid tokens; 0 where masked."""
    return masked_centred(adv_BT, mask_BT) * masked_centred(logp_BT, mask_BT)


def select_largest(
    score_BT: Float[Array, "B T"],
    eligible_BT: Bool[Array, "B T"],
    k: Int32[Array, ""],
    sequence_id_B: Int[Array, " B"],
) -> Bool[Array, "B T"]:
    """The k eligible tokens of largest score, or all of them if there are fewer.

    Ties go to the smaller (sequence id, position); sequence ids must be distinct. A score that is not finite
    is never chosen.
    """
    descending_BT = ~sortable_bits(as_float(score_BT))
    return _select_first(descending_BT, eligible_BT & jnp.isfinite(score_BT), k, sequence_id_B)


def select_uniform(
    eligible_BT: Bool[Array, "B T"],
    k: Int32[Array, ""],
    sequence_id_B: Int[Array, " B"],
    key: Key[Array, ""],
) -> Bool[Array, "B T"]:
    """k eligible tokens uniformly at random without replacement, or all of them if there are fewer.

    Each token draws a number that depends on `key` and its identity alone; the k smallest are chosen.
    """
    position_T = jnp.arange(eligible_BT.shape[1])

    def draw(sequence_id, position):
        token_key = jax.random.fold_in(jax.random.fold_in(key, sequence_id), position)
        return jax.random.bits(token_key, dtype=jnp.uint32)

    bits_BT = jax.vmap(jax.vmap(draw, (None, 0)), (0, None))(sequence_id_B, position_T)
    return _select_first(bits_BT, eligible_BT, k, sequence_id_B)


def _select_first(order_BT: Array, eligible_BT: Array, k: Array, sequence_id_B: Array) -> Array:
    """The k eligible tokens that come first by (order, sequence id, position)."""
    position_T = jnp.arange(order_BT.shape[1], dtype=jnp.uint32)
    sequence_BT = jnp.broadcast_to(sortable_bits(sequence_id_B)[:, None], order_BT.shape)
    position_BT = jnp.broadcast_to(position_T[None, :], order_BT.shape)
    missing = jnp.minimum(k, count(eligible_BT))
    tied_BT = eligible_BT
    chosen_BT = jnp.zeros_like(eligible_BT)
    for keys_BT in (order_BT, sequence_BT, position_BT):
        threshold = kth_smallest(keys_BT, tied_BT, missing)
        before_BT = tied_BT & (keys_BT < threshold)
        chosen_BT |= before_BT
        missing -= count(before_BT)
        tied_BT &= keys_BT == threshold
    # Identities are distinct, so at most one token is still tied.
    return chosen_BT | (tied_BT & (missing > 0))
