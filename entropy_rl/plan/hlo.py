"""A compiled program, read from its text: which instruction is executed how often.

XLA's own cost analysis counts the body of a loop once. Here a loop counts as often as it turns: by the
compiler's note (known_trip_count), by the constant its condition compares with, or, where the program decides
that while it runs, as often as the caller expects.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

_ITEM_BITS = {"pred": 8, "s4": 4, "u4": 4, "f16": 16, "bf16": 16, "token": 0}
_CALLED = re.compile(r"\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_END = re.compile(r'\}(, execution_thread="[^"]*")?')
"""The last line of a computation; a kernel's attributes may also have lines that start with `}`."""
_BRANCHES = re.compile(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}")


@dataclass(frozen=True)
class Instruction:
    """name = type opcode(operands), attributes"""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    literal: str
    """What stands between the brackets of a constant."""
    attributes: str

    def attribute(self, name: str) -> str | None:
        """A computation or a number by the attribute's name."""
        match = re.search(rf"\b{name}=%?([\w.\-]+)", self.attributes)
        return match and match[1]

    @property
    def op_name(self) -> str:
        """Where it comes from in the traced function; empty where that is not told."""
        match = re.search(r'op_name="([^"]*)"', self.attributes)
        return match[1] if match else ""


Expected = Callable[[Instruction], float]
"""From a loop whose bound is not a constant to the expected number of its turns."""


@dataclass(frozen=True)
class Computation:
    """Instructions, the last (or the one called ROOT) giving the result."""

    name: str
    instructions: tuple[Instruction, ...]
    root: Instruction

    @cached_property
    def by_name(self) -> dict[str, Instruction]:
        """Its instructions by name."""
        return {instruction.name: instruction for instruction in self.instructions}


Taken = Callable[[Computation], float]
"""From a branch of a conditional to how often it is taken, of all times that the conditional is reached."""


def every_branch(branch: Computation) -> float:
    """As if each were taken: more than can be."""
    return 1.0


@dataclass(frozen=True)
class Module:
    """A whole program."""

    computations: dict[str, Computation]
    entry: str

    def executions(
        self, expected: Expected, taken: Taken = every_branch
    ) -> Iterator[tuple[Instruction, float, Computation]]:
        """Every instruction with how often it is executed, in the mean.

        A computation that several instructions call comes once for each.
        """
        yield from self._executions(self.entry, 1.0, expected, taken)

    def _executions(self, name: str, times: float, expected: Expected, taken: Taken):
        for instruction in self.computations[name].instructions:
            yield instruction, times, self.computations[name]
            if instruction.opcode.endswith("-done") or instruction.opcode == "async-update":
                continue  # they name once more what their start has called
            turns = self.trip_count(instruction, expected) if instruction.opcode == "while" else 1.0
            for called in _called(instruction):
                if called in self.computations:
                    is_branch = instruction.opcode == "conditional"
                    share = taken(self.computations[called]) if is_branch else 1.0
                    yield from self._executions(called, times * turns * share, expected, taken)

    def trip_count(self, loop: Instruction, expected: Expected) -> float:
        """How often the body of a while loop is executed."""
        if known := re.search(r'known_trip_count[":{\s]*n[":\s]*(\d+)', loop.attributes):
            return float(known[1])
        bound = self._constant_bound(self.computations[loop.attribute("condition")])
        return expected(loop) if bound is None else float(bound)

    def _constant_bound(self, condition: Computation) -> int | None:
        """The constant below which a counter that starts at 0 must be; None where it is no constant."""
        root, scope = condition.root, condition
        if root.opcode == "fusion":
            scope = self.computations[root.attribute("calls")]
            if scope.root.opcode != "compare":
                return None
            outer = {f"parameter({k})": condition.by_name[name] for k, name in enumerate(root.operands)}
        else:
            outer = {}
        if scope.root.opcode != "compare" or scope.root.attribute("direction") != "LT":
            return None
        bound = scope.by_name[scope.root.operands[1]]
        bound = outer.get(f"parameter({bound.literal})", bound) if bound.opcode == "parameter" else bound
        return int(bound.literal) if bound.opcode == "constant" else None


def parse(text: str) -> Module:
    """Reads `Compiled.as_text()`."""
    computations, entry, name, lines = {}, "", None, []
    for line in text.splitlines():
        if name is not None and _END.fullmatch(line):
            computations[name] = _computation(name, lines)
            name = None
        elif name is not None:
            lines.append(line)
        elif (header := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)) is not None:
            name, lines = header[2], []
            entry = name if header[1] else entry
    if not entry:
        raise ValueError("the text of a compiled program must have a computation that is called ENTRY")
    return Module(computations, entry)


def shapes(type_text: str) -> list[tuple[str, tuple[int, ...]]]:
    """(dtype, dimensions) of every array in a type, in order."""
    found = re.findall(r"\b([a-z]+\d*\w*)\[([\d,<=]*)\]", type_text)
    return [(dtype, tuple(int(n.strip("<=")) for n in sizes.split(",") if n)) for dtype, sizes in found]


def num_bytes(dtype: str, sizes: tuple[int, ...]) -> int:
    """Bytes of an array without padding."""
    digits = re.search(r"\d+", dtype)
    bits = _ITEM_BITS.get(dtype, int(digits[0]) if digits else 8)
    for size in sizes:
        bits *= size
    return bits // 8


def _computation(name: str, lines: list[str]) -> Computation:
    instructions, root = [], None
    for line in lines:
        if (instruction := _instruction(line)) is not None:
            instructions.append(instruction)
            root = instruction if line.lstrip().startswith("ROOT") else root
    return Computation(name, tuple(instructions), root or instructions[-1])


def _instruction(line: str) -> Instruction | None:
    match = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = ", line)
    if match is None:
        return None
    start = match.end()
    end = _closing(line, start) if line[start] == "(" else line.index(" ", start)
    opening = line.index("(", end)
    closing = _closing(line, opening)
    inner = line[opening + 1 : closing - 1]
    return Instruction(
        name=match[1],
        type=line[start:end],
        opcode=line[end:opening].strip(),
        operands=tuple(re.findall(r"%([\w.\-]+)", inner)),
        literal=inner,
        attributes=line[closing:],
    )


def _closing(line: str, start: int) -> int:
    """The place behind the bracket that closes the one at `start`."""
    depth = 0
    for place in range(start, len(line)):
        depth += {"(": 1, ")": -1}.get(line[place], 0)
        if depth == 0:
            return place + 1
    return len(line)


def _called(instruction: Instruction) -> list[str]:
    if instruction.opcode in ("reduce", "reduce-window", "scatter", "sort", "select-and-scatter", "map"):
        return []  # scalar functions
    if "all-reduce" in instruction.opcode or "reduce-scatter" in instruction.opcode:
        return []
    called = _CALLED.findall(instruction.attributes)
    for group in _BRANCHES.findall(instruction.attributes):
        called += re.findall(r"%?([\w.\-]+)", group)
    return called
