"""Groups of responses that wait to be learned from: what the host knows of them, and their arrays.

Which group goes where is decided on the host, by numbers that are equal on every process. The arrays stay on
the devices, cut by prompts as a rollout's are, and are only ever gathered by index, in few static shapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Bool, Float32, Int, Int32, Int64

from entropy_rl.types import Rollout

DTYPES = {"reward_NG": np.float32, "correct_NG": bool, "length_NG": np.int32}
"""Of the columns that do not hold int64."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """What the host knows of N groups."""

    row_N: Int64[np.ndarray, " N"]
    """Where each lies in the arrays of its rollout."""
    prompt_id_N: Int64[np.ndarray, " N"]
    step_N: Int64[np.ndarray, " N"]
    """The step that sampled it."""
    reward_NG: Float32[np.ndarray, "N G"]
    correct_NG: Bool[np.ndarray, "N G"]
    length_NG: Int32[np.ndarray, "N G"]
    """Tokens of each response."""

    def __len__(self) -> int:
        return len(self.row_N)

    @property
    def num_tokens(self) -> int:
        """Response tokens of all."""
        return int(self.length_NG.sum())

    def take(self, which: Int[np.ndarray, " n"] | Bool[np.ndarray, " N"] | slice) -> "Groups":
        """Those of these numbers, or where it is true."""
        return Groups(**{name: column[which] for name, column in vars(self).items()})

    @classmethod
    def joined(cls, parts: Sequence["Groups"]) -> "Groups":
        """One after another."""
        return cls(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})

    @classmethod
    def none(cls, samples_per_prompt: int) -> "Groups":
        """No groups of so many samples."""

        def column(name):
            shape = (0, samples_per_prompt) if name.endswith("_NG") else (0,)
            return np.zeros(shape, DTYPES.get(name, np.int64))

        return cls(**{field.name: column(field.name) for field in fields(cls)})

    def as_json(self) -> dict[str, list]:
        """The same as an object that JSON can hold, exactly."""
        return {name: column.tolist() for name, column in vars(self).items()}

    @classmethod
    def from_json(cls, columns: dict[str, list]) -> "Groups":
        """What `as_json` gave, of one group at least."""
        return cls(**{name: np.array(x, DTYPES.get(name, np.int64)) for name, x in columns.items()})


@dataclass(frozen=True, kw_only=True)
class GroupPool:
    """Groups that wait for their turn, the oldest first, with their arrays."""

    groups: Groups
    rollout: Rollout
    """Has more rows than there are groups; the others mean nothing."""

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int], placement: NamedSharding) -> "GroupPool":
        """No groups, in arrays of shape (groups, samples, prompt tokens, response tokens)."""
        P, G, S, T = shape

        def zeros():
            return Rollout(
                prompt_ids_PS=jnp.zeros((P, S), jnp.int32),
                prompt_mask_PS=jnp.zeros((P, S), bool),
                prompt_id_P=jnp.zeros(P, jnp.int32),
                response_ids_PGT=jnp.zeros((P, G, T), jnp.int32),
                response_mask_PGT=jnp.zeros((P, G, T), bool),
                behavior_logp_PGT=jnp.zeros((P, G, T), jnp.float32),
                logp_PGT=jnp.zeros((P, G, T), jnp.float32),
            )

        return cls(groups=Groups.none(G), rollout=jax.jit(zeros, out_shardings=placement)())

    @property
    def shape(self) -> list[int]:
        """(rows for groups, samples, prompt tokens, response tokens) of the arrays."""
        return [
            *self.rollout.response_ids_PGT.shape[:2],
            self.rollout.prompt_ids_PS.shape[1],
            self.rollout.response_ids_PGT.shape[2],
        ]

    def keep(self, which: Int[np.ndarray, " n"] | Bool[np.ndarray, " N"] | slice) -> "GroupPool":
        """Without the others."""
        return replace(self, groups=self.groups.take(which))

    def add(self, rollout: Rollout, groups: Groups) -> "GroupPool":
        """With these groups of a rollout at the end. There must be rows for them."""
        if not len(groups):
            return self
        num_rows = len(self.rollout.prompt_id_P)
        index_N = np.concatenate([self.groups.row_N, num_rows + groups.row_N])
        assert len(index_N) <= num_rows, f"{len(index_N)} groups for {num_rows} rows"
        both = Groups.joined([self.groups, groups])
        return GroupPool(
            groups=replace(both, row_N=np.arange(len(index_N))),
            rollout=gather_groups((self.rollout, rollout), _padded(index_N, num_rows)),
        )


def spread(num_groups: int, prompts_per_update: int, num_rows: int) -> Int[np.ndarray, " rows"]:
    """Which group lies in each row of a batch, -1 where a row stays empty.

    The mini-batches, consecutive groups each, are as few and as even as may be: of 33 groups in mini-batches
    of 32 the second has 16, not a single one that would make a whole update.
    """
    row_N = np.full(num_rows, -1)
    num_updates = -(-num_groups // prompts_per_update)
    for number, part in enumerate(np.array_split(np.arange(num_groups), num_updates)):
        start = number * prompts_per_update
        row_N[start : start + len(part)] = part
    return row_N


def gather_groups(rollouts: Sequence[Rollout], index_N: Int[np.ndarray, " rows"]) -> Rollout:
    """The groups of these numbers, counted through the rollouts one after another, lying as the first does.

    A row of number -1 is empty: a copy of another group's, so that all in it is finite, of which no response
    has a token. One number must not be negative.
    """
    real_N = index_N >= 0
    filled_N = np.where(real_N, index_N, index_N[real_N][0]).astype(np.int32)
    return _gather(rollouts[0].prompt_id_P.sharding)(tuple(rollouts), filled_N, real_N)


@cache
def _gather(sharding: jax.sharding.Sharding):
    """A program, whose result lies on the devices by rows whatever it is gathered from."""

    def gather(rollouts, index_N, real_N):
        rows = jax.tree.map(lambda *parts: jnp.concatenate(parts)[index_N], *rollouts)
        return replace(rows, response_mask_PGT=rows.response_mask_PGT & real_N[:, None, None])

    return jax.jit(gather, out_shardings=sharding)


def _padded(index_N, num_rows: int):
    return np.pad(index_N, (0, num_rows - len(index_N)), constant_values=-1)
