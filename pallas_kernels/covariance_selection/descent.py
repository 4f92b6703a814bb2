"""Radix descent: exact order statistics from histograms, without a sort and without moving a key.

Each level settles one digit of every wanted key, so that all ranks share the passes over the tokens, and only
tables of counts are added up over the devices.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Int32, UInt32

from pallas_kernels.covariance_selection.histogram import KEY_BITS, Histogram
from pallas_kernels.covariance_selection.keys import integer_keys, only
from pallas_kernels.covariance_selection.reduction import Reduction


class Ranked(NamedTuple):
    """The keys at some ranks."""

    key_R: UInt32[Array, " R"]
    num_below_R: Int32[Array, " R"]
    """How many keys are smaller."""
    num_equal_R: Int32[Array, " R"]
    """How many keys are the same, itself included."""

    def __getitem__(self, r):
        return Ranked(*(x[r] for x in tuple(self)))


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Order statistics of keys that may be spread over devices."""

    histogram: Histogram
    reduction: Reduction

    def at_ranks(self, key_N: UInt32[Array, " N"], rank_R: Int32[Array, " R"]) -> Ranked:
        """The keys number `rank_R` in ascending order, counted from 0, of all devices' keys."""
        bits = self.histogram.bits

        def settle_digit(level, state):
            prefix_R, rest_R, _ = state
            shift = (KEY_BITS - bits * (level + 1)).astype(jnp.int32)
            count_RD = self.reduction.sum(self.histogram.counts(key_N, prefix_R, shift))
            digit_R, rest_R, num_equal_R = _locate(count_RD, rest_R)
            return (prefix_R << bits) | digit_R.astype(jnp.uint32), rest_R, num_equal_R

        begin = (jnp.zeros(rank_R.shape, jnp.uint32), rank_R, jnp.zeros_like(rank_R))
        key_R, rest_R, num_equal_R = jax.lax.fori_loop(0, KEY_BITS // bits, settle_digit, begin)
        return Ranked(key_R, rank_R - rest_R, num_equal_R)

    def at_rank(self, key_N: UInt32[Array, " N"], rank: Int32[Array, ""]) -> Ranked:
        """As `at_ranks`, for one rank; the fields are scalars."""
        return self.at_ranks(key_N, rank[None])[0]

    def first(
        self,
        key_BT: UInt32[Array, "B T"],
        eligible_BT: Bool[Array, "B T"],
        k: Int32[Array, ""],
        last: Ranked,
        sequence_id: Int[Array, "#B #T"],
        position: Int[Array, "#B #T"],
    ) -> Bool[Array, "B T"]:
        """The k eligible tokens that come first by (key, sequence id, position).

        k is at most the number of eligible tokens, and `last` the key at rank k - 1 (any, if k = 0).
        """
        missing = k - last.num_below_R
        before_BT = eligible_BT & (key_BT < last.key_R)
        tied_BT = eligible_BT & (key_BT == last.key_R)

        def break_ties(tied_BT):
            return self._first_of_tied(tied_BT, missing, sequence_id, position)

        def take_all_or_none(tied_BT):
            return tied_BT & (missing > 0)

        undecided = (0 < missing) & (missing < last.num_equal_R)
        return before_BT | jax.lax.cond(undecided, break_ties, take_all_or_none, tied_BT)

    def _first_of_tied(self, tied_BT, missing, sequence_id, position):
        """The tokens that come first by identity; distinct identities leave no tie at the end."""
        chosen_BT = jnp.zeros_like(tied_BT)
        for identity in (sequence_id, position):
            key_BT = only(tied_BT, integer_keys(jnp.broadcast_to(identity, tied_BT.shape)))
            last = self.at_rank(key_BT.reshape(-1), missing - 1)
            chosen_BT |= tied_BT & (key_BT < last.key_R)
            tied_BT &= key_BT == last.key_R
            missing -= last.num_below_R
        return chosen_BT | tied_BT


def _locate(
    count_RD: Int32[Array, "R D"], rank_R: Int32[Array, " R"], width: int = 256
) -> tuple[Int32[Array, " R"], Int32[Array, " R"], Int32[Array, " R"]]:
    """(digit that holds the rank, rank within the digit, keys of the digit), wide digits in two steps."""
    num_rows, num_digits = count_RD.shape
    if num_digits > width:
        count_RHW = count_RD.reshape(num_rows, -1, width)
        high_R, rank_R, _ = _locate(count_RHW.sum(axis=2, dtype=jnp.int32), rank_R)
        low_R, rank_R, num_equal_R = _locate(_take(count_RHW, high_R), rank_R)
        return high_R * width + low_R, rank_R, num_equal_R
    upto_RD = jnp.cumsum(count_RD, axis=1, dtype=jnp.int32)
    digit_R = jnp.sum(upto_RD <= rank_R[:, None], axis=1, dtype=jnp.int32)
    # A rank beyond all keys cannot be located; the last digit keeps the arithmetic within bounds.
    digit_R = jnp.minimum(digit_R, num_digits - 1)
    num_equal_R = _take(count_RD, digit_R)
    return digit_R, rank_R - (_take(upto_RD, digit_R) - num_equal_R), num_equal_R


def _take(x_RD: Int32[Array, "R D ..."], index_R: Int32[Array, " R"]) -> Int32[Array, "R ..."]:
    index = index_R.reshape(-1, *(1,) * (x_RD.ndim - 1))
    return jnp.take_along_axis(x_RD, index, axis=1)[:, 0]
