"""What a program sends over the network, from its compiled text.

Bytes are those that one chip must send whatever the algorithm, in a group of n: of an array of b bytes,
(n - 1) / n * b for an all-gather (b of the result), a reduce-scatter (b of the operand) and an all-to-all,
twice that for an all-reduce, and b for a permutation (Chan et al., "Collective communication: theory,
practice, and experience", 2007).
"""

import re
from dataclasses import dataclass

import numpy as np

from entropy_rl.plan.hlo import (
    Computation,
    Expected,
    Instruction,
    Module,
    Taken,
    every_branch,
    num_bytes,
    shapes,
)

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


@dataclass(frozen=True)
class Collective:
    """One collective operation of a program."""

    kind: str
    """One of KINDS."""
    bytes_sent: float
    """What each chip sends in one execution."""
    times: float
    """How often the program executes it."""
    members: tuple[int, ...]
    """Chips of one group, by their number in the mesh; the groups are alike."""
    op_name: str
    """Where it comes from."""


def collectives(
    module: Module, num_devices: int, expected: Expected, taken: Taken = every_branch
) -> list[Collective]:
    """All collectives of a program for so many devices; an asynchronous one counts at its start."""
    found, seen = [], set()
    for instruction, times, computation in module.executions(expected, taken):
        kind = instruction.opcode.removesuffix("-start")
        if kind not in KINDS:
            continue
        # The compiler may cut one collective into pieces that overlap with arithmetic, and notes the whole in
        # each; they share a chain. A channel would not tell: all of shard_map have the same.
        if (chain := re.search(r'chain_id="(\d+)"', instruction.attributes)) is not None:
            piece = (chain[1], instruction.attribute("channel_id"), times)
            if piece in seen:
                continue
            seen.add(piece)
        members = _members(instruction, num_devices)
        if len(members) > 1:
            kind, sent = _sent(kind, instruction, computation, len(members))
            found.append(Collective(kind, sent, times, members, instruction.op_name))
    return found


def _sent(kind: str, instruction: Instruction, computation: Computation, n: int) -> tuple[str, float]:
    """(kind, bytes one chip sends): on TPUs a reduce-scatter is an all-reduce fused with a slice of it."""
    result = sum(num_bytes(*shape) for shape in _results(instruction))
    share = (n - 1) / n
    if kind == "all-reduce" and "all-reduce-scatter" in computation.name:
        return "reduce-scatter", share * result
    if kind == "reduce-scatter":
        return kind, share * n * result
    factor = {"all-gather": share, "all-to-all": share, "all-reduce": 2 * share, "collective-permute": 1.0}
    return kind, factor[kind] * result


def _results(instruction: Instruction) -> list[tuple[str, tuple[int, ...]]]:
    """Shapes of the results; the start of an asynchronous operation also holds its operands and flags."""
    found = shapes(instruction.type)
    if not instruction.opcode.endswith("-start") or instruction.opcode == "all-reduce-start":
        return found
    if instruction.opcode == "collective-permute-start":
        return found[1:2]
    return found[len(found) // 2 :]


def _members(instruction: Instruction, num_devices: int) -> tuple[int, ...]:
    """The first group: of lists, of a transposed iota, or of axes of a mesh."""
    text = instruction.attributes
    if pairs := re.search(r"source_target_pairs=\{([{}\d,]*)\}", text):
        moved = ((int(a), int(b)) for a, b in re.findall(r"\{(\d+),(\d+)\}", pairs[1]) if a != b)
        return next(moved, (0,))
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", text):
        return tuple(int(number) for number in listed[1].split(","))
    if iota := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        shape, reshaped = _numbers(iota[1]), np.arange(num_devices).reshape(_numbers(iota[2]))
        order = _numbers(iota[3]) if iota[3] else range(reshaped.ndim)
        return tuple(reshaped.transpose(order).reshape(shape)[0].tolist())
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\]([^{]*)\{([^}]*)\}", text):
        return _members_of_mesh(mesh[1], _devices_of_mesh(mesh[2], num_devices), mesh[3])
    return tuple(range(num_devices))


def _devices_of_mesh(text: str, num_devices: int) -> np.ndarray:
    """`device_ids=([4,2]T(1,0))` or `device_ids=(0,2,1,3)`; in order where nothing is said."""
    if iota := re.search(r"device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        numbers = np.arange(num_devices).reshape(_numbers(iota[1]))
        return (numbers.transpose(_numbers(iota[2])) if iota[2] else numbers).ravel()
    if listed := re.search(r"device_ids=\(([\d,]+)\)", text):
        return np.array(_numbers(listed[1]))
    return np.arange(num_devices)


def _members_of_mesh(axes: str, devices: np.ndarray, used: str) -> tuple[int, ...]:
    """`'a'=2,'b'=4` and `'a','b':(2)2`: whole axes, or the part of an axis after its first so many."""
    sizes = {name: int(size) for name, size in re.findall(r"'?([\w.\-]+)'?=(\d+)", axes)}
    numbers = devices.reshape(list(sizes.values()))
    index = {name: np.zeros(1, int) for name in sizes}
    for name, before, size in re.findall(r"'?([\w.\-]+)'?(?::\((\d+)\)(\d+))?", used):
        stride = sizes[name] // (int(before) * int(size)) if size else 1
        steps = np.arange(int(size) if size else sizes[name]) * stride
        index[name] = np.add.outer(index[name], steps).ravel()
    return tuple(numbers[np.ix_(*index.values())].ravel().tolist())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))
