"""Packed rows on the device: all that a micro-batch needs, gathered by one index a slot.

The sequences of a rollout are [B, S + T], prompt (padded on the left) and response side by side; flat, token
w of sequence b is number b (S + T) + w. A slot holds such a number, from which follow its token, position
and segment, the token it predicts, and the place in [B, T] of all that is known of that token.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Int32

from entropy_rl.models.policy import Params, Policy
from entropy_rl.parallelism import constrain, spec_of
from entropy_rl.training.batch import Sequences
from entropy_rl.training.packing import Geometry, indices, place
from entropy_rl.types import Rollout, tree_of_arrays

ROWS = (None, "batch", None)
"""Logical axes of [M, R, C]: every micro-batch lies on all data x fsdp shards."""


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Packing:
    """Where the sequences of a mini-batch lie in packed rows; its shapes are those of a `Geometry`."""

    index: tuple[Int32[Array, "_ _ _"], ...]
    """For each shape of micro-batch the token in each slot [M, R, C]; -1 in empty ones."""
    counts: Int32[Array, " shapes"]
    """Micro-batches that are run of each shape."""
    start_B: Int32[Array, " B"]
    """First slot of each sequence, counted through the arrays of `index` one after another."""

    @classmethod
    def abstract(cls, geometry: Geometry, num_sequences: int, mesh: Mesh | None) -> "Packing":
        """`jax.ShapeDtypeStruct`s to compile with."""

        def struct(shape, axes):
            sharding = None if mesh is None else NamedSharding(mesh, spec_of(axes))
            return jax.ShapeDtypeStruct(shape, jnp.int32, sharding=sharding)

        return cls(
            index=tuple(struct(shape, ROWS) for shape in geometry.array_shapes),
            counts=struct((len(geometry.shapes),), (None,)),
            start_B=struct((num_sequences,), (None,)),
        )


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class PackedRows(Sequences):
    """One micro-batch, or all of one shape: rows of slots."""

    token_RC: Int32[Array, "*parts R C"]
    position_RC: Int32[Array, "*parts R C"]
    """Of the token in its sequence."""
    segment_RC: Int32[Array, "*parts R C"]
    """1 + its sequence's number; 0 in empty slots."""
    label_RC: Int32[Array, "*parts R C"]
    """The token after it in its sequence; 0 in empty slots."""
    target_RC: Int32[Array, "*parts R C"]
    """Where the label lies in the flat responses; beyond their end if it is of a prompt, or of nothing."""

    @classmethod
    def of(cls, rollout: Rollout, index_MRC: Int32[Array, "M R C"], mesh: Mesh | None) -> "PackedRows":
        """The rows that hold these tokens of the rollout."""
        S, T = rollout.prompt_ids_PS.shape[1], rollout.response_ids_PGT.shape[2]
        # Whole on every device: any slot may hold any token.
        flat_N = constrain(_sequences(rollout).reshape(-1), (None,), mesh)
        num_prompt_B = constrain(_num_prompt_tokens(rollout), (None,), mesh)
        index_MRC = constrain(index_MRC, ROWS, mesh)
        full_MRC = index_MRC >= 0
        sequence_MRC, w_MRC = jnp.divmod(jnp.maximum(index_MRC, 0), S + T)
        next_MRC = w_MRC + 1 - S
        learned_MRC = full_MRC & (next_MRC >= 0)

        def where_full(x_MRC):
            return jnp.where(full_MRC, x_MRC, 0)

        return cls(
            token_RC=where_full(flat_N[index_MRC]),
            position_RC=where_full(w_MRC - S + num_prompt_B[sequence_MRC]),
            segment_RC=where_full(sequence_MRC + 1),
            label_RC=where_full(flat_N[index_MRC + 1]),
            target_RC=jnp.where(learned_MRC, sequence_MRC * T + next_MRC, num_prompt_B.size * T),
        )

    def hidden_and_label(self, policy: Policy, params: Params):
        hidden_RCD = policy.packed_hidden(params, self.token_RC, self.position_RC, self.segment_RC)
        return hidden_RCD, self.label_RC


def gather_tokens(by_token, rows: PackedRows, mesh: Mesh | None):
    """Arrays [B, T] by response token as [M, R, C]; 0 where a slot predicts none."""

    def gather(x_BT):
        flat_N = constrain(x_BT.reshape(-1), (None,), mesh)
        return constrain(flat_N.at[rows.target_RC].get(mode="fill", fill_value=0), ROWS, mesh)

    return jax.tree.map(gather, by_token)


def put_back(given: list, rollout: Rollout, packing: Packing, mesh: Mesh | None):
    """What the micro-batches of each shape gave: [M, R, C] as [B, T], 0 under padding; [M] as their sum."""
    T = rollout.response_ids_PGT.shape[2]
    # The slot that predicts the first response token is that of the last prompt token.
    first_B = packing.start_B + _num_prompt_tokens(rollout) - 1
    mask_BT = rollout.response_mask_PGT.reshape(-1, T)

    def one(*parts):
        if parts[0].ndim == 1:
            return sum(part.sum(dtype=part.dtype) for part in parts)
        # A response lies in one piece: slices, not single slots. What is added keeps the last ones inside.
        flat_N = jnp.concatenate([*(part.reshape(-1) for part in parts), jnp.zeros(T, parts[0].dtype)])
        flat_N = constrain(flat_N, (None,), mesh)
        x_BT = jax.vmap(lambda first: jax.lax.dynamic_slice(flat_N, (first,), (T,)))(first_B)
        return jnp.where(mask_BT, constrain(x_BT, ("batch", None), mesh), jnp.zeros((), x_BT.dtype))

    return jax.tree.map(one, *given)


def pack_lengths(rollout: Rollout, geometry: Geometry, mesh: Mesh | None) -> Packing:
    """The packing of these sequences. Every process makes the same, of the lengths alone."""
    width = rollout.prompt_ids_PS.shape[1] + rollout.response_ids_PGT.shape[2]
    num_prompt_B, length_B = (np.asarray(x) for x in _lengths(mesh)(rollout))
    placement = place(length_B, geometry)
    begin_B = np.arange(len(length_B)) * width + rollout.prompt_ids_PS.shape[1] - num_prompt_B
    index = indices(placement, begin_B, length_B, geometry)
    return Packing(
        index=tuple(_placed(x, mesh, ROWS) for x in index),
        counts=_placed(np.array(placement.counts, np.int32), mesh, (None,)),
        start_B=_placed(placement.start_B, mesh, (None,)),
    )


def packed_lengths(rollout: Rollout) -> Int32[Array, " B"]:
    """Slots of each sequence: its last token predicts nothing, and an empty response needs none at all."""
    length_PG = rollout.response_mask_PGT.sum(axis=2, dtype=jnp.int32)
    length_B = length_PG.reshape(-1)
    return jnp.where(length_B > 0, _num_prompt_tokens(rollout) + length_B - 1, 0)


def _num_prompt_tokens(rollout: Rollout) -> Int32[Array, " B"]:
    """Of the prompt of each sequence; an empty one counts one, from which its responses are predicted."""
    length_P = jnp.maximum(rollout.prompt_mask_PS.sum(axis=1, dtype=jnp.int32), 1)
    return jnp.repeat(length_P, rollout.response_ids_PGT.shape[1])


def _sequences(rollout: Rollout) -> Int32[Array, "B W"]:
    """Prompt and response side by side, W = S + T."""
    P, G, T = rollout.response_ids_PGT.shape
    prompt_PGS = jnp.broadcast_to(rollout.prompt_ids_PS[:, None], (P, G, rollout.prompt_ids_PS.shape[1]))
    return jnp.concatenate([prompt_PGS, rollout.response_ids_PGT], axis=2).reshape(P * G, -1)


@cache
def _lengths(mesh: Mesh | None):
    """A program for (prompt tokens, slots) [B] of a rollout, whole in every process."""
    whole = None if mesh is None else NamedSharding(mesh, spec_of(()))

    def lengths(rollout: Rollout):
        return _num_prompt_tokens(rollout), packed_lengths(rollout)

    return jax.jit(lengths, out_shardings=whole)


def _placed(x: np.ndarray, mesh: Mesh | None, axes) -> Array:
    """The same array of every process, on the mesh: each device is sent its own part."""
    if mesh is None:
        return jnp.asarray(x)
    return jax.make_array_from_callback(x.shape, NamedSharding(mesh, spec_of(axes)), lambda part: x[part])
