"""How token losses become one number: loss = sum of weight * token loss.

All the usual averages are linear in the token losses, so each is a table of weights. Weights computed once
for a whole mini-batch and cut with it into micro-batches, or over a mesh, add up to exactly the mini-batch's
average; averages of averages do not.

Below, m is the mask and B' the number of sequences with at least one valid token.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from entropy_rl.objectives.numerics import count


class Aggregation(ABC):
    """The interface of all averages."""

    @abstractmethod
    def weights(self, mask_BT: Bool[Array, "B T"]) -> Float[Array, "B T"]:
        """The weight of each token, 0 where masked; `mask_BT` must cover the whole mini-batch."""


@dataclass(frozen=True, kw_only=True)
class TokenMean(Aggregation):
    """sum(l m) / sum(m): every token counts the same."""

    def weights(self, mask_BT):
        return mask_BT.astype(float) / jnp.maximum(count(mask_BT), 1)


@dataclass(frozen=True, kw_only=True)
class SequenceMeanTokenSum(Aggregation):
    """sum(l m) / B'."""

    def weights(self, mask_BT):
        return mask_BT.astype(float) / _num_sequences(mask_BT)


@dataclass(frozen=True, kw_only=True)
class SequenceMeanTokenMean(Aggregation):
    """The mean over sequences of each sequence's own mean: every sequence counts the same."""

    def weights(self, mask_BT):
        length_B1 = jnp.sum(mask_BT, axis=1, keepdims=True, dtype=jnp.int32)
        return mask_BT.astype(float) / jnp.maximum(length_B1, 1) / _num_sequences(mask_BT)


@dataclass(frozen=True, kw_only=True)
class SequenceMeanTokenSumNorm(Aggregation):
    """sum(l m) / length / B' (Dr. GRPO): a token counts the same in any company."""

    length: int | None = None
    """The constant that stands for a sequence's length; None for T, the longest a response can be."""

    def __post_init__(self):
        if self.length is not None and self.length < 1:
            raise ValueError(f"length must be a positive number of tokens, or None, got {self.length}")

    def weights(self, mask_BT):
        length = mask_BT.shape[1] if self.length is None else self.length
        return mask_BT.astype(float) / length / _num_sequences(mask_BT)


def _num_sequences(mask_BT):
    return jnp.maximum(count(mask_BT.any(axis=1)), 1)
