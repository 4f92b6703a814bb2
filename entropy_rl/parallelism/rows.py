"""Rows of a batch over processes: who holds them, who answers for them, and what all must know of them.

Every process runs the same programme on the same global arrays, each with the rows its own devices hold.
"""

from collections.abc import Sequence
from functools import lru_cache

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jaxtyping import Int


def is_main() -> bool:
    """Whether this process writes what is written once: the run folder, plots, lines on the screen."""
    return jax.process_index() == 0


@lru_cache
def row_holders(sharding: Sharding, num_rows: int) -> tuple[tuple[int, ...], ...]:
    """The processes, in order, that hold each row of an array whose leading axis has this sharding."""
    holders = [set() for _ in range(num_rows)]
    for device, index in sharding.devices_indices_map((num_rows,)).items():
        for row in range(*index[0].indices(num_rows)):
            holders[row].add(device.process_index)
    return tuple(tuple(sorted(processes)) for processes in holders)


def held_rows(sharding: Sharding, num_rows: int, process: int | None = None) -> Int[np.ndarray, " held"]:
    """The rows that lie on devices of a process (None: this one)."""
    process = jax.process_index() if process is None else process
    holders = row_holders(sharding, num_rows)
    return np.array([row for row in range(num_rows) if process in holders[row]], int)


def owned_rows(sharding: Sharding, num_rows: int, process: int | None = None) -> Int[np.ndarray, " owned"]:
    """The rows a process (None: this one) answers for: rows that several hold go round among them."""
    process = jax.process_index() if process is None else process
    holders = row_holders(sharding, num_rows)
    return np.array([row for row in range(num_rows) if process == _owner(holders[row], row)], int)


def _owner(processes: Sequence[int], row: int) -> int:
    return processes[row % len(processes)]


def to_global(tree, sharding: Sharding):
    """Host arrays as global ones; of each only the rows that this process holds are read.

    `sharding` may be a tree of them, one for each array.
    """

    def place(x, sharding):
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    if isinstance(sharding, Sharding):
        return jax.tree.map(lambda x: place(x, sharding), tree)
    return jax.tree.map(place, tree, sharding)


def rows_on_host(x: jax.Array, rows: Int[np.ndarray, " rows"]) -> np.ndarray:
    """These rows of a global array, all of which this process must hold, in their order."""
    out = np.empty((len(rows), *x.shape[1:]), x.dtype)
    for shard in x.addressable_shards:
        start, stop, _ = shard.index[0].indices(x.shape[0])
        inside = (rows >= start) & (rows < stop)
        if inside.any():
            out[(inside, *shard.index[1:])] = np.asarray(shard.data)[rows[inside] - start]
    return out


def gathered(x: jax.Array, layer: int | None = None) -> jax.Array:
    """A global array, or one layer of a stack of them, whole on every device.

    All processes must ask for it.
    """
    return _gather(NamedSharding(x.sharding.mesh, PartitionSpec()), layer is not None)(x, layer or 0)


@lru_cache
def _gather(everywhere: NamedSharding, of_stack: bool):
    """One program for all layers: only one of them is ever gathered."""

    def whole(x, layer):
        return jax.lax.dynamic_index_in_dim(x, layer, keepdims=False) if of_stack else x

    return jax.jit(whole, out_shardings=everywhere)


def share(tree):
    """Small host arrays of every process, on every process: each with one more axis in front, of processes.

    All processes must call it, with the same shapes and dtypes. Values arrive bit by bit as they were, in one
    exchange for the whole tree.
    """
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    if jax.process_count() == 1:
        return structure.unflatten([leaf[None] for leaf in leaves])
    sent = np.frombuffer(b"".join(leaf.tobytes() for leaf in leaves), np.uint8)
    received = np.asarray(multihost_utils.process_allgather(sent))
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    parts = np.split(received, ends[:-1], axis=1)
    return structure.unflatten(
        [
            np.ascontiguousarray(part).view(leaf.dtype).reshape(len(received), *leaf.shape)
            if leaf.size
            else np.empty((len(received), *leaf.shape), leaf.dtype)
            for part, leaf in zip(parts, leaves, strict=True)
        ]
    )


def share_rows(tree, sharding: Sharding, num_rows: int):
    """Arrays of the rows this process owns become arrays of all `num_rows`, the same on every process."""
    own = owned_rows(sharding, num_rows)
    owners = [_owner(processes, row) for row, processes in enumerate(row_holders(sharding, num_rows))]

    def whole(x):
        out = np.zeros((num_rows, *x.shape[1:]), x.dtype)
        out[own] = x[: len(own)]
        return out

    everyones = share(jax.tree.map(whole, tree))
    return jax.tree.map(lambda x: x[owners, np.arange(num_rows)], everyones)


def wait_for_all(name: str) -> None:
    """Returns when every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
