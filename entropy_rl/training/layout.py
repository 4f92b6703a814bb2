"""How a mini-batch goes through the model: padded rows, or rows packed to a budget of tokens.

All that is said of tokens stays in padded arrays [B, T]; a layout cuts these into micro-batches together with
the sequences, and puts what the micro-batches give back in their place. No result depends on it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Int

from entropy_rl.models.policy import Params, Policy
from entropy_rl.parallelism import num_shards
from entropy_rl.training.batch import Sequences
from entropy_rl.training.packed_rows import (
    PackedRows,
    Packing,
    gather_tokens,
    pack_lengths,
    packed_lengths,
    put_back,
)
from entropy_rl.training.packing import Geometry
from entropy_rl.types import Rollout

LANES = 128
"""Packed rows are whole multiples of this where they are longer: the TPU's lanes, and splash's blocks."""


Step = Callable[[Any, Sequences, Any], tuple[Any, Any]]
"""(carry, sequences, arrays by token [B, T] of one micro-batch) -> (carry, arrays by token and scalars)."""


class Layout(ABC):
    """The interface of both; frozen and hashable, static under jit."""

    @property
    @abstractmethod
    def may_cut(self) -> bool:
        """Whether a mini-batch may become several micro-batches."""

    @abstractmethod
    def for_prompts(self, num_prompts: int, num_shards: int) -> "Layout":
        """The same for another number of prompts, a multiple of the shards that the batch is cut into."""

    @abstractmethod
    def packing(self, rollout: Rollout, mesh: Mesh | None) -> Packing | None:
        """What a program must be told of the lengths of these sequences, made on the host, if anything."""

    @abstractmethod
    def abstract_packing(self, rollout: Rollout, mesh: Mesh | None) -> Packing | None:
        """The shapes of that, as `jax.ShapeDtypeStruct`s, for all that has the shapes of these arrays."""

    @abstractmethod
    def fold(
        self, step: Step, carry, rollout: Rollout, packing: Packing | None, by_token, mesh: Mesh | None
    ) -> tuple[Any, Any]:
        """Runs `step` over all micro-batches, one after another, under `jit`.

        `by_token` is a tree of arrays [B, T] as wide as the responses, which are cut with the sequences. Of
        what the steps give, arrays by token come back as [B, T] and scalars as their sum.
        """

    @abstractmethod
    def load(self, rollout: Rollout, packing: Packing | None) -> dict[str, Array]:
        """Micro-batches of this mini-batch, and the share of their slots that hold no token."""


@dataclass(frozen=True, kw_only=True)
class Padded(Layout):
    """A row a response, as long as the longest may be; a prompt runs once for its group.

    The quicker one where responses are short, all about as long, and prompts long beside them.
    """

    num_microbatches: int = 1
    """Equal parts of a mini-batch that go through the model one after another, to save memory."""

    def __post_init__(self):
        if self.num_microbatches < 1:
            raise ValueError(f"num_microbatches must be at least 1, got {self.num_microbatches}")

    @property
    def may_cut(self):
        return self.num_microbatches > 1

    def for_prompts(self, num_prompts, num_shards):
        return replace(self, num_microbatches=math.gcd(self.num_microbatches, num_prompts // num_shards))

    def packing(self, rollout, mesh):
        return None

    def abstract_packing(self, rollout, mesh):
        return None

    def fold(self, step, carry, rollout, packing, by_token, mesh):
        group = rollout.response_ids_PGT.shape[1]
        if not self.may_cut:
            return step(carry, PaddedRows(rollout), by_token)
        parts = (split(rollout, self.num_microbatches), split(by_token, self.num_microbatches, group))
        carry, given = jax.lax.scan(lambda c, part: step(c, PaddedRows(part[0]), part[1]), carry, parts)
        return carry, jax.tree.map(lambda x: x.sum() if x.ndim == 1 else join(x, group), given)

    def load(self, rollout, packing):
        P, G, T = rollout.response_ids_PGT.shape
        # The last token of a response predicts nothing and is not run.
        length_PG = jnp.maximum(rollout.response_mask_PGT.sum(axis=2, dtype=jnp.int32) - 1, 0)
        num_tokens = rollout.prompt_mask_PS.sum(dtype=jnp.int32) + length_PG.sum()
        return _load(self.num_microbatches, num_tokens, rollout.prompt_ids_PS.size + P * G * (T - 1))


@dataclass(frozen=True, kw_only=True)
class Packed(Layout):
    """Whole sequences, each with its own prompt, packed into rows as segments: next to no padding.

    Full micro-batches, as many as a mini-batch needs, are followed by a few of smaller shapes
    (training/packing.py), in one compiled program for all lengths.

    Attention is computed between all sequences of a row and then masked: for 9 of them in 10,240 slots that
    is about 6 times the arithmetic of each alone, at 7B 16 % of that of the linear layers instead of 3 %.
    """

    tokens_per_device: int = 20_480
    """Slots of a full micro-batch on each data x fsdp shard: what activations may take of its memory.
    Rounded down to whole rows."""
    tokens_per_row: int | None = None
    """Slots of a row; None for the longest prompt and response (in whole 128s where it is above)."""
    num_smaller_shapes: int | None = None
    """Smaller shapes of micro-batches, each of about a quarter of the rows of the one before, never less than
    one on each shard, and after that of a quarter of its row. Each is compiled, and lessens padding: 2
    suffice for 4 % where a shard has 32 sequences of 1,000 tokens, 3 where it has 16; None takes 2 or 3 so.
    More do not help on a mesh where one full row on every shard is more than the mini-batch: the longest need
    such rows (8 sequences a shard: 7 to 11 %)."""

    def __post_init__(self):
        if min(self.tokens_per_device, self.tokens_per_row or 1) < 1 or (self.num_smaller_shapes or 0) < 0:
            raise ValueError(
                "tokens_per_device and tokens_per_row must be positive, num_smaller_shapes not negative; got "
                f"{self.tokens_per_device}, {self.tokens_per_row} and {self.num_smaller_shapes}"
            )

    @property
    def may_cut(self):
        return True

    def row_slots(self, longest: int) -> int:
        """Slots of a row for sequences of at most `longest` tokens. Raises ValueError where none fits."""
        tokens_per_row = self.tokens_per_row
        if tokens_per_row is None:
            tokens_per_row = longest if longest <= LANES else -(-longest // LANES) * LANES
        if not longest <= tokens_per_row <= self.tokens_per_device:
            raise ValueError(
                "a packed row must hold the longest prompt and response, and tokens_per_device a row; got "
                f"{longest} tokens, rows of {tokens_per_row} and {self.tokens_per_device}; raise "
                "batch.layout.tokens_per_device or batch.layout.tokens_per_row"
            )
        return tokens_per_row

    def geometry(self, num_sequences: int, longest: int, num_shards: int) -> Geometry:
        """The micro-batches of so many sequences of at most `longest` tokens, on data x fsdp shards."""
        tokens_per_row, num_smaller_shapes = self.row_slots(longest), self.num_smaller_shapes
        if num_smaller_shapes is None:
            num_smaller_shapes = 2 if num_sequences >= 32 * num_shards else 3
        return Geometry.of(
            num_sequences=num_sequences,
            num_shards=num_shards,
            rows_per_shard=self.tokens_per_device // tokens_per_row,
            tokens_per_row=tokens_per_row,
            num_smaller_shapes=num_smaller_shapes,
        )

    def for_prompts(self, num_prompts, num_shards):
        return self

    def packing(self, rollout, mesh):
        return pack_lengths(rollout, self._geometry_of(rollout, mesh), mesh)

    def abstract_packing(self, rollout, mesh):
        num_sequences = rollout.response_ids_PGT.shape[0] * rollout.response_ids_PGT.shape[1]
        return Packing.abstract(self._geometry_of(rollout, mesh), num_sequences, mesh)

    def _geometry_of(self, rollout: Rollout, mesh: Mesh | None) -> Geometry:
        P, G, T = rollout.response_ids_PGT.shape
        return self.geometry(P * G, rollout.prompt_ids_PS.shape[1] + T, num_shards(mesh, "batch"))

    def fold(self, step, carry, rollout, packing, by_token, mesh):
        given = []
        for index_MRC, count in zip(packing.index, packing.counts, strict=True):
            rows = PackedRows.of(rollout, index_MRC, mesh)
            parts = (rows, gather_tokens(by_token, rows, mesh))
            carry, of_shape = _run_first(step, carry, count, parts)
            given.append(of_shape)
        return carry, put_back(given, rollout, packing, mesh)

    def load(self, rollout, packing):
        slots = [shape[1] * shape[2] for shape in (index.shape for index in packing.index)]
        num_slots = jnp.sum(packing.counts * jnp.array(slots, jnp.int32), dtype=jnp.int32)
        return _load(packing.counts.sum(), packed_lengths(rollout).sum(dtype=jnp.int32), num_slots)


def _load(num_microbatches, num_tokens, num_slots) -> dict[str, Array]:
    return {
        "update/microbatches": jnp.asarray(num_microbatches, jnp.int32),
        "update/padding_fraction": (num_slots - num_tokens) / jnp.maximum(num_slots, 1),
    }


@dataclass(frozen=True)
class PaddedRows(Sequences):
    """Whole groups of a rollout as the sequences of a micro-batch."""

    rollout: Rollout

    def hidden_and_label(self, policy: Policy, params: Params):
        rollout = self.rollout
        ids_BT = rollout.response_ids_PGT.reshape(-1, rollout.response_ids_PGT.shape[-1])
        hidden_BTD = policy.response_hidden(params, rollout.prompt_ids_PS, rollout.prompt_mask_PS, ids_BT)
        return hidden_BTD, ids_BT


def _run_first(step: Step, carry, count: Int[Array, ""], parts) -> tuple[Any, Any]:
    """Runs `step` on the first `count` of the M micro-batches; what the others would give is 0."""

    def part(m):
        return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, m, keepdims=False), parts)

    num_parts = jax.tree.leaves(parts)[0].shape[0]
    _, shapes = jax.eval_shape(lambda: step(carry, *part(0)))
    given = jax.tree.map(lambda x: jnp.zeros((num_parts, *x.shape), x.dtype), shapes)

    def body(m, state):
        carry, given = state
        carry, new = step(carry, *part(m))
        return carry, jax.tree.map(lambda x, one: x.at[m].set(one), given, new)

    return jax.lax.fori_loop(0, count, body, (carry, given))


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
