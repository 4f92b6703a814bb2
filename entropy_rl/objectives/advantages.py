"""Group-relative advantages of GRPO: a response is judged against the other responses to its own prompt."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from entropy_rl.objectives.numerics import as_float


@dataclass(frozen=True, kw_only=True)
class GroupAdvantage:
    """A = (R - mean) / (std + eps) within each group of G responses, std with ddof = 1.

    A group of one is compared with nothing (mean 0, std 1): a lone response would always have advantage 0.
    """

    normalize_by_std: bool = True
    """False leaves A = R - mean (Dr. GRPO)."""
    eps: float = 1e-6
    """Added to the standard deviation; a group of equal rewards has advantage 0, not 0/0."""

    def __call__(self, reward_PG: Float[Array, "P G"]) -> Float[Array, "P G"]:
        reward_PG = as_float(reward_PG)
        group_size = reward_PG.shape[1]
        if group_size == 1:
            return reward_PG / (1 + self.eps) if self.normalize_by_std else reward_PG
        # Relative to the first reward, equal rewards are exactly 0 and so is their rounded mean.
        shifted_PG = reward_PG - reward_PG[:, :1]
        centred_PG = shifted_PG - shifted_PG.mean(axis=1, keepdims=True)
        if not self.normalize_by_std:
            return centred_PG
        variance_P1 = jnp.sum(centred_PG**2, axis=1, keepdims=True) / (group_size - 1)
        return centred_PG / (jnp.sqrt(variance_P1) + self.eps)
