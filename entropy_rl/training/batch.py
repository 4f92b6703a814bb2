"""The arrays an update works on: a mini-batch of whole groups, and the same as flat per-token arrays."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int32

from entropy_rl.models.policy import Params, Policy
from entropy_rl.objectives import Aggregation, PolicyObjective, Selection
from entropy_rl.types import Rollout, tree_of_arrays
from pallas_kernels.covariance_selection import CovarianceSelector, TokenIdentity


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Minibatch:
    """Whole groups of a rollout with their advantages, and the log-probs that are known already."""

    rollout: Rollout
    adv_PG: Float[Array, "P G"]
    old_logp_PGT: Float[Array, "P G T"]
    """The learner's log-probs before the updates of this rollout. In the first of these updates they are read
    only where `Learner.needs_first_old_logp`, to choose tokens by."""
    on_policy: Bool[Array, ""]
    """Whether this is the first of these updates. Its old log-probs are the current ones, as the update
    itself computes them, so that the ratio is exactly 1: a rounding difference would turn KL-Cov's
    |log ratio| into a gradient of full size. An array, so that all updates are one compiled program."""
    ref_logp_PGT: Float[Array, "P G T"] | None = None
    """Log-probs of the frozen reference; needed only by a KL term."""
    entropy_coef: Float[Array, ""] | None = None
    """Weight of the entropy bonus, an array, so that no other one needs another program; None where there is
    no bonus, or takes that of a static one."""


class Sequences(ABC):
    """What the model is told of the sequences of one micro-batch, in rows [B, T]."""

    @abstractmethod
    def hidden_and_label(
        self, policy: Policy, params: Params
    ) -> tuple[Float[Array, "B T D"], Int[Array, "B T"]]:
        """Hidden states, and the token that each of them predicts."""


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """What the objective is told of each token, of a mini-batch or of one micro-batch.

    The rows B are responses, or packed rows: each token is told all of its own, and no other.
    """

    old_logp_BT: Float[Array, "*parts B T"]
    ref_logp_BT: Float[Array, "*parts B T"] | None
    adv_BT: Float[Array, "*parts B T"]
    mask_BT: Bool[Array, "*parts B T"]
    weight_BT: Float[Array, "*parts B T"]
    sequence_id_BT: Int32[Array, "*parts B T"]
    position_BT: Int32[Array, "*parts B T"]
    """In the response."""
    on_policy_BT: Bool[Array, "*parts B T"]

    @classmethod
    def of(cls, batch: Minibatch, aggregation: Aggregation) -> "TokenBatch":
        """A row a response."""
        rollout, shape = batch.rollout, batch.rollout.response_ids_PGT.shape

        def flat(x):
            return None if x is None else jnp.broadcast_to(x, shape).reshape(-1, shape[-1])

        mask_BT = flat(rollout.response_mask_PGT)
        sample_1G = jnp.arange(shape[1], dtype=jnp.int32)[None]
        return cls(
            old_logp_BT=flat(batch.old_logp_PGT),
            ref_logp_BT=flat(batch.ref_logp_PGT),
            adv_BT=flat(batch.adv_PG[..., None]),
            mask_BT=mask_BT,
            weight_BT=aggregation.weights(mask_BT),
            sequence_id_BT=flat((rollout.prompt_id_P[:, None] * shape[1] + sample_1G)[..., None]),
            position_BT=flat(jnp.arange(shape[2], dtype=jnp.int32)[None, None]),
            on_policy_BT=flat(batch.on_policy[None, None, None]),
        )

    def old_or(self, logp_BT):
        """The old log-probs; in the first update of a rollout they are the given current ones."""
        return jnp.where(self.on_policy_BT, jax.lax.stop_gradient(logp_BT), self.old_logp_BT)

    def select(self, objective: PolicyObjective, selector: CovarianceSelector, logp_BT, key) -> Selection:
        """The objective's choice among exactly these tokens."""
        return objective.select(
            logp_BT=logp_BT,
            old_logp_BT=self.old_or(logp_BT),
            adv_BT=self.adv_BT,
            mask_BT=self.mask_BT,
            identity=TokenIdentity(sequence_id=self.sequence_id_BT, position=self.position_BT),
            key=key,
            selector=selector,
        )
