"""The theory's two sides around the updates of a step: what entropy did, and what Lemma 1 says it would do.

Both need the logits of two policies at the same tokens, over the whole vocabulary. The updates take over the
memory of the parameters they begin with, so the logits before them are kept: of few tokens, whose number is
bounded by the memory of these logits.

Which tokens is decided by their places in the batch alone:

1. Of B sequences n = max(1, floor(fraction B)) are taken, and fewer where that is more than the tokens that
   can be kept. Sequence i of them is number floor(i m / n') of the m that have a token, n' = floor(n m / B)
   but one at least: all places are alike, and empty rows are passed over.
2. Where these have more than N tokens, token j of N is number floor(j M / N) of their M, one sequence after
   another. N is the most whose logits take `MOST_LOGITS` floats, and `MOST_TOKENS` at most.
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from entropy_rl.objectives import bandit_covariances, entropy_of_logits, lemma1_change, masked_mean
from entropy_rl.parallelism import constrain, num_shards
from entropy_rl.training.learner import Learner
from entropy_rl.training.packed_rows import Packing
from entropy_rl.types import Rollout, tree_of_arrays

MOST_LOGITS = 1 << 26
"""Logits kept from before the updates: 256 MiB in all, over the devices. 441 tokens of Qwen2.5."""
MOST_TOKENS = 1 << 15
"""Beyond so many tokens, which only small vocabularies allow, more would not make the means more exact."""
LOGITS_AT_ONCE = 1 << 23
"""Logits of the policy after the updates that exist at a time, each beside one of before."""


@dataclass(frozen=True, kw_only=True)
class ShareSize:
    """Shapes of a share of the tokens of a step. Static under jit."""

    num_sequences: int
    """n of the rule above."""
    num_rows: int
    """The same, in whole rows on every shard of the batch."""
    num_chunks: int
    chunk: int
    """Tokens whose logits are computed at a time; with the number of chunks, N of the rule above."""

    @classmethod
    def of(cls, rollout: Rollout, learner: Learner, fraction: float) -> "ShareSize":
        """Of the sequences of a rollout, on the mesh of a learner."""
        P, G, T = rollout.response_ids_PGT.shape
        vocab_size, shards = learner.policy.config.vocab_size, num_shards(learner.policy.mesh, "batch")
        return cls.of_step(P * G, T, fraction, vocab_size=vocab_size, shards=shards)

    @classmethod
    def of_step(cls, B: int, T: int, fraction: float, *, vocab_size: int, shards: int) -> "ShareSize":
        """Of B sequences of at most T tokens, on so many shards of the batch."""
        most = min(MOST_TOKENS, max(MOST_LOGITS // vocab_size, 1))
        num_sequences = min(max(int(fraction * B), 1), most)
        num_tokens = min(num_sequences * T, most)
        num_chunks = -(-num_tokens // max(LOGITS_AT_ONCE // vocab_size, shards))
        return cls(
            num_sequences=num_sequences,
            num_rows=_multiple(num_sequences, shards),
            num_chunks=num_chunks,
            chunk=_multiple(-(-num_tokens // num_chunks), shards),
        )


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Share:
    """The chosen sequences and tokens."""

    rollout: Rollout
    """Each chosen sequence as a group of one; rows that only fill the shards have no token."""
    slot_BT: Int32[Array, "B T"]
    """1 + the number of each chosen token; 0 of the others."""
    num_tokens: Int32[Array, ""]


@dataclass(frozen=True, kw_only=True)
class TheoryProbe:
    """What is kept from before the updates of a step."""

    learner: Learner
    size: ShareSize
    share: Share
    packing: Packing | None
    logits_MNV: Float[Array, "M N V"]
    """Of the chosen tokens, temperature-scaled, under the policy before the updates, M chunks of N."""

    @classmethod
    def before(cls, learner: Learner, params, rollout: Rollout, fraction: float) -> "TheoryProbe":
        """Looks at the policy that the updates begin with, on at most this fraction of the sequences.

        When it returns, the devices have looked: `params` may be donated.
        """
        size = ShareSize.of(rollout, learner, fraction)
        share = take_share(learner, rollout, size)
        layout = learner.layout.for_prompts(size.num_rows, num_shards(learner.policy.mesh, "batch"))
        learner = replace(learner, layout=layout)
        packing = learner.packing(share.rollout)
        logits_MNV = jax.block_until_ready(_logits_before(learner, size, params, share, packing))
        return cls(learner=learner, size=size, share=share, packing=packing, logits_MNV=logits_MNV)

    def after(self, params) -> dict[str, Array]:
        """Scalars by their names in metrics.jsonl, given the parameters after the updates."""
        return _compare(self.learner, self.size, params, self.share, self.packing, self.logits_MNV)


@jax.jit
def theorem_metrics(
    logp_PGT: tuple[Float[Array, "_ G T"], ...], mask_PGT: Bool[Array, "P G T"], adv_PG: Float[Array, "P G"]
) -> dict[str, Array]:
    """The theorems' covariances over all groups; log-probs, of before the updates, come in parts."""
    logp_PGT = jnp.concatenate(logp_PGT)
    theorem1, theorem2 = bandit_covariances(logp_PGT, mask_PGT[: len(logp_PGT)], adv_PG[: len(logp_PGT)])
    return {"theory/theorem1_covariance": theorem1, "theory/theorem2_covariance": theorem2}


@partial(jax.jit, static_argnums=(0, 2))
def take_share(learner: Learner, rollout: Rollout, size: ShareSize) -> Share:
    """The sequences and tokens of a rollout on which the theory is measured, by the rule above."""
    index_B, chosen_B = _chosen_sequences(rollout, size)
    group, T = rollout.response_ids_PGT.shape[1:]

    def rows(x, axes_before=1):
        return x.reshape(-1, *x.shape[2:])[index_B][:, None] if axes_before == 2 else x[index_B // group]

    mask_BT = rows(rollout.response_mask_PGT, 2)[:, 0] & chosen_B[:, None]
    taken = Rollout(
        prompt_ids_PS=rows(rollout.prompt_ids_PS),
        prompt_mask_PS=rows(rollout.prompt_mask_PS),
        prompt_id_P=rows(rollout.prompt_id_P),
        response_ids_PGT=rows(rollout.response_ids_PGT, 2),
        response_mask_PGT=mask_BT[:, None],
        behavior_logp_PGT=rows(rollout.behavior_logp_PGT, 2),
        logp_PGT=rows(rollout.logp_PGT, 2),
    )
    slot_BT, num_tokens = _numbered(mask_BT, size.num_chunks * size.chunk)
    share = Share(rollout=taken, slot_BT=slot_BT, num_tokens=num_tokens)
    return jax.tree.map(
        lambda x: constrain(x, ("batch", *(None,) * (x.ndim - 1)) if x.ndim else (), learner.policy.mesh),
        share,
    )


def _chosen_sequences(rollout: Rollout, size: ShareSize) -> tuple[Int32[Array, " B"], Bool[Array, " B"]]:
    """Numbers of the sequences in the rows of the share, and which of these rows are meant."""
    present = rollout.response_mask_PGT.any(axis=-1).reshape(-1)
    num_present = present.sum(dtype=jnp.int32)
    order = jnp.nonzero(present, size=present.size, fill_value=0)[0].astype(jnp.int32)
    num_chosen = jnp.maximum(num_present * size.num_sequences // present.size, 1)
    row_B = jnp.arange(size.num_rows, dtype=jnp.int32)
    index_B = order[jnp.minimum(_evenly(row_B, num_present, num_chosen), present.size - 1)]
    return index_B, (row_B < num_chosen) & (num_present > 0)


def _numbered(mask_BT: Bool[Array, "B T"], num_slots: int) -> tuple[Int32[Array, "B T"], Int32[Array, ""]]:
    """1 + the number of each token that is chosen among those of the mask, 0 of the others; how many are."""
    flat = mask_BT.reshape(-1)
    total = flat.sum(dtype=jnp.int32)
    num_tokens = jnp.minimum(total, num_slots)
    place = jnp.nonzero(flat, size=flat.size, fill_value=flat.size)[0]
    slot_N = jnp.arange(num_slots, dtype=jnp.int32)
    chosen = place[jnp.minimum(_evenly(slot_N, total, jnp.maximum(num_tokens, 1)), flat.size - 1)]
    chosen = jnp.where(slot_N < num_tokens, chosen, flat.size)
    slot = jnp.zeros(flat.size, jnp.int32).at[chosen].set(slot_N + 1, mode="drop")
    return slot.reshape(mask_BT.shape), num_tokens


def _evenly(number: Int32[Array, " n"], total: Int32[Array, ""], num: Int32[Array, ""]) -> Int32[Array, " n"]:
    """floor(number * total / num), of 32 bits also where the product is not."""
    quotient, rest = total // num, total % num
    return number * quotient + number * rest // num


def _hidden(learner: Learner, size: ShareSize, params, share: Share, packing: Packing | None):
    """Hidden states [M, N, D] that predict the chosen tokens, computed as an update computes them."""
    policy, num_slots = learner.policy, size.num_chunks * size.chunk

    def step(hidden_ND, sequences, slot_BT):
        hidden_BTD, _ = sequences.hidden_and_label(policy, params)
        hidden_BTD = hidden_BTD.reshape(-1, hidden_BTD.shape[-1])
        slot = slot_BT.reshape(-1)
        return hidden_ND.at[jnp.where(slot > 0, slot - 1, num_slots)].set(hidden_BTD, mode="drop"), ()

    nothing = jnp.zeros((num_slots, policy.config.hidden_size), policy.compute_dtype)
    hidden_ND, _ = learner.layout.fold(step, nothing, share.rollout, packing, share.slot_BT, policy.mesh)
    hidden_MND = hidden_ND.reshape(size.num_chunks, size.chunk, -1)
    return constrain(hidden_MND, (None, "batch", None), policy.mesh)


def _logits(learner: Learner, params, hidden_ND: Float[Array, "N D"]) -> Float[Array, "N V"]:
    policy = learner.policy
    logits_NV = policy.logits(params, hidden_ND) / learner.temperature
    return constrain(logits_NV, ("batch", "vocab"), policy.mesh)


@partial(jax.jit, static_argnums=(0, 1))
def _logits_before(learner: Learner, size: ShareSize, params, share: Share, packing: Packing | None):
    hidden_MND = _hidden(learner, size, params, share, packing)
    logits_MNV = jax.lax.map(partial(_logits, learner, params), hidden_MND)
    return constrain(logits_MNV, (None, "batch", "vocab"), learner.policy.mesh)


@partial(jax.jit, static_argnums=(0, 1))
def _compare(learner: Learner, size: ShareSize, params, share: Share, packing: Packing | None, before_MNV):
    hidden_MND = _hidden(learner, size, params, share, packing)

    def sides(chunk):
        hidden_ND, before_NV = chunk
        after_NV = _logits(learner, params, hidden_ND)
        entropy_N = entropy_of_logits(before_NV)
        return entropy_N, entropy_of_logits(after_NV) - entropy_N, lemma1_change(before_NV, after_NV)

    sides_MN = jax.lax.map(sides, (hidden_MND, before_MNV))
    slot_MN = jnp.arange(size.num_chunks * size.chunk, dtype=jnp.int32).reshape(sides_MN[0].shape)
    before, change, lemma1 = (masked_mean(x_MN, slot_MN < share.num_tokens) for x_MN in sides_MN)
    return {
        "theory/tokens": share.num_tokens,
        "theory/entropy_before": before,
        "theory/entropy_change": change,
        "theory/lemma1": lemma1,
    }
