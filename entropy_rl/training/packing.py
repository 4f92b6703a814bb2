"""Which sequence lies where in packed rows: the plan, made on the host from lengths alone.

A program knows a few shapes of micro-batches, R rows of C slots each: full ones, of which it runs as many as
are needed, and ever smaller ones, each with about a quarter of the slots of the one before (of several rows
a shard never less than one) and run at most three times. So the slots that are run come in steps of the
smallest shape, although a full micro-batch on many devices may be larger than all sequences together. Every
shape is compiled, which at 7B takes the compiler half a minute and more: hence quarters, of which half as
many are needed as of halves.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

MOST_OF_A_SMALLER_SHAPE = 3
"""Micro-batches that are run at most of each shape but the full one; four would be one of the next larger."""
OVERHEAD = 1 / 64
"""What a micro-batch costs beside its slots, as a part of a full one's: it gathers all parameters, reduces
all gradients and starts every kernel, however short it is. Without it a full micro-batch would be replaced
by many small ones whenever that saves the smallest of them."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The shapes of micro-batches of one program. Static under jit."""

    shapes: tuple[tuple[int, int], ...]
    """(R, C) of each, falling in slots; the first is the full one."""
    max_full: int
    """Full micro-batches that always suffice: a row for every sequence."""

    @classmethod
    def of(
        cls,
        *,
        num_sequences: int,
        num_shards: int,
        rows_per_shard: int,
        tokens_per_row: int,
        num_smaller_shapes: int,
    ) -> "Geometry":
        """Quarters the rows of a shard down to one and then the slots of a row, so that the longest sequences
        fit as small a micro-batch as there can be."""
        rows, slots = min(rows_per_shard, -(-num_sequences // num_shards)), tokens_per_row
        shapes = [(rows * num_shards, slots)]
        for _ in range(num_smaller_shapes):
            if rows == slots == 1:
                break
            rows, slots = (-(-rows // 4), slots) if rows > 1 else (1, -(-slots // 4))
            shapes.append((rows * num_shards, slots))
        return cls(shapes=tuple(shapes), max_full=-(-num_sequences // shapes[0][0]))

    @property
    def array_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(M, R, C) of the arrays that hold the most micro-batches there can be."""
        most = (self.max_full, *(MOST_OF_A_SMALLER_SHAPE for _ in self.shapes[1:]))
        return tuple((number, *shape) for number, shape in zip(most, self.shapes, strict=True))

    @cached_property
    def slots(self) -> np.ndarray:
        """Slots of one micro-batch of each shape."""
        return np.prod(np.array(self.shapes, np.int64), axis=1)

    @property
    def num_slots(self) -> int:
        """Slots of all arrays together."""
        return int(sum(np.prod(shape, dtype=np.int64) for shape in self.array_shapes))


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where every sequence lies, in the slots of all arrays one after another."""

    counts: tuple[int, ...]
    """Micro-batches that are run of each shape."""
    start_B: np.ndarray
    """First slot of each sequence; 0 where it takes none."""


def place(length_B: np.ndarray, geometry: Geometry) -> Placement:
    """The cheapest micro-batches that hold all sequences, each in consecutive slots of one row.

    Lengths count slots; sequences of none are not placed. Raises ValueError for one longer than a row.
    """
    longest = int(length_B.max(initial=0))
    if longest > geometry.shapes[0][1]:
        raise ValueError(
            f"a packed row must hold the longest sequence, got rows of {geometry.shapes[0][1]} slots and a "
            f"sequence of {longest}; raise batch.layout.tokens_per_row or leave it None"
        )
    order = np.argsort(-length_B, kind="stable")
    order = order[length_B[order] > 0]
    descending = length_B[order].tolist()
    least = _least_full(descending, geometry)
    for counts in _by_cost(least, sum(descending), geometry):  # the costliest of them suffices
        starts = _best_fit(descending, counts, geometry)
        if starts is not None:
            start_B = np.zeros(len(length_B), np.int32)
            start_B[order] = starts
            return Placement(counts=counts, start_B=start_B)
    raise AssertionError("no micro-batches were enough")


def indices(placement: Placement, first_B: np.ndarray, length_B: np.ndarray, geometry: Geometry):
    """For each shape an array [M, R, C]: the place of every slot's token in the flat sequences, -1 if empty.

    Sequence b is the tokens first_B[b], first_B[b] + 1, ... of them.
    """
    flat = np.full(geometry.num_slots, -1, np.int32)
    for start, first, length in zip(placement.start_B, first_B, length_B, strict=True):
        flat[start : start + length] = np.arange(first, first + length, dtype=np.int32)
    ends = np.cumsum([np.prod(shape) for shape in geometry.array_shapes])
    parts = np.split(flat, ends[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, geometry.array_shapes, strict=True))


def _least_full(descending: list[int], geometry: Geometry) -> int:
    """The fewest full micro-batches that suffice together with all smaller ones."""
    smaller = (MOST_OF_A_SMALLER_SHAPE,) * (len(geometry.shapes) - 1)
    full, rest = int(geometry.slots[0]), MOST_OF_A_SMALLER_SHAPE * int(geometry.slots[1:].sum())

    def suffice(number: int) -> bool:
        return _best_fit(descending, (number, *smaller), geometry) is not None

    low, step = max(0, -(-(sum(descending) - rest) // full)), 1
    high = low
    while high < geometry.max_full and not suffice(high):
        low, high, step = high + 1, min(high + step, geometry.max_full), 2 * step
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffice(middle) else (middle + 1, high)
    return high


def _by_cost(least: int, num_tokens: int, geometry: Geometry):
    """Counts of each shape that have enough slots, the cheapest first."""
    full = range(least, min(least + 1, geometry.max_full) + 1)
    smaller = (range(MOST_OF_A_SMALLER_SHAPE + 1) for _ in geometry.shapes[1:])
    counts = np.array(list(product(full, *smaller)))
    slots = counts @ geometry.slots
    cost = slots + OVERHEAD * geometry.slots[0] * counts.sum(axis=1)
    for k in np.argsort(cost, kind="stable"):
        if slots[k] >= num_tokens:
            yield tuple(counts[k].tolist())


def _best_fit(descending: list[int], counts: tuple[int, ...], geometry: Geometry) -> list[int] | None:
    """First slots by best-fit decreasing: each goes into the fullest row that holds it. None if none does."""
    free, begin = [], 0  # (slots left, first of them) of every row, in order
    for count, (most, rows, slots) in zip(counts, geometry.array_shapes, strict=True):
        free += [(slots, begin + row * slots) for row in range(count * rows)]
        begin += most * rows * slots
    free.sort()
    starts = []
    for length in descending:
        k = bisect_left(free, (length, -1))
        if k == len(free):
            return None
        left, start = free.pop(k)
        starts.append(start)
        insort(free, (left - length, start + length))
    return starts
