"""The arrays an update works on: a mini-batch of whole groups, and the same as flat per-token arrays."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from entropy_rl.objectives import Aggregation, PolicyObjective, Selection
from entropy_rl.types import Rollout
from pallas_kernels.covariance_selection import CovarianceSelector


@jax.tree_util.register_dataclass
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


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """A mini-batch, or one micro-batch of it, as flat per-token arrays for the objective."""

    old_logp_BT: Float[Array, "*parts B T"]
    ref_logp_BT: Float[Array, "*parts B T"] | None
    adv_BT: Float[Array, "*parts B T"]
    mask_BT: Bool[Array, "*parts B T"]
    weight_BT: Float[Array, "*parts B T"]
    sequence_id_B: Int32[Array, "*parts B"]
    on_policy_B: Bool[Array, "*parts B"]

    @classmethod
    def of(cls, batch: Minibatch, aggregation: Aggregation) -> "TokenBatch":
        rollout, shape = batch.rollout, batch.rollout.response_ids_PGT.shape

        def flat(x_PGT):
            return None if x_PGT is None else x_PGT.reshape(-1, shape[-1])

        mask_BT = flat(rollout.response_mask_PGT)
        sample_1G = jnp.arange(shape[1], dtype=jnp.int32)[None]
        return cls(
            old_logp_BT=flat(batch.old_logp_PGT),
            ref_logp_BT=flat(batch.ref_logp_PGT),
            adv_BT=flat(jnp.broadcast_to(batch.adv_PG[..., None], shape)),
            mask_BT=mask_BT,
            weight_BT=aggregation.weights(mask_BT),
            on_policy_B=jnp.broadcast_to(batch.on_policy, mask_BT.shape[:1]),
            sequence_id_B=(rollout.prompt_id_P[:, None] * shape[1] + sample_1G).reshape(-1),
        )

    def old_or(self, logp_BT):
        """The old log-probs; in the first update of a rollout they are the given current ones."""
        return jnp.where(self.on_policy_B[:, None], jax.lax.stop_gradient(logp_BT), self.old_logp_BT)

    def select(self, objective: PolicyObjective, selector: CovarianceSelector, logp_BT, key) -> Selection:
        """The objective's choice among exactly these tokens."""
        return objective.select(
            logp_BT=logp_BT,
            old_logp_BT=self.old_or(logp_BT),
            adv_BT=self.adv_BT,
            mask_BT=self.mask_BT,
            sequence_id_B=self.sequence_id_B,
            key=key,
            selector=selector,
        )


def split(tree, num_parts: int, rows_per_prompt: int = 1):
    """Cuts the leading axis of every leaf into `num_parts` micro-batches of whole prompts: [n] -> [M, n / M].

    Micro-batch m takes the prompts m, m + M, m + 2 M, ...: so each device cuts what it holds, while a cut
    into consecutive prompts would put whole micro-batches on single devices. Raises ValueError when the cut
    cannot be even.
    """

    def cut(x):
        num_prompts = x.shape[0] // rows_per_prompt
        if num_prompts % num_parts:
            raise ValueError(
                f"a mini-batch of {num_prompts} prompts cannot be cut into {num_parts} equal micro-batches; "
                "set num_microbatches to a divisor"
            )
        by_part = x.reshape(num_prompts // num_parts, num_parts, rows_per_prompt, *x.shape[1:]).swapaxes(0, 1)
        return by_part.reshape(num_parts, -1, *x.shape[1:])

    return jax.tree.map(cut, tree)


def join(x_Mn, rows_per_prompt: int = 1):
    """Undoes `split` on one array."""
    num_parts, rest = x_Mn.shape[0], x_Mn.shape[2:]
    by_prompt = x_Mn.reshape(num_parts, -1, rows_per_prompt, *rest).swapaxes(0, 1)
    return by_prompt.reshape(-1, *rest)
