"""What the selection of covariance tokens costs: measured on the present device, modelled at scale.

The model counts in the compiled program of one chip: bytes that its instructions move, histograms, and
collectives, each of a few kilobytes and so all latency. The rest is arithmetic on the chip's published facts.
"""

import re
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from entropy_rl.objectives import ClipCov, KLCov, PolicyObjective
from entropy_rl.objectives.selection import DEFAULT_SELECTOR
from entropy_rl.plan.topology import tpu_devices
from pallas_kernels.chips import TPU_CHIPS
from pallas_kernels.covariance_selection import CovarianceSelector, MosaicHistogram, TokenIdentity
from pallas_kernels.covariance_selection.reference import largest_reference
from pallas_kernels.sharding import Shards

NUM_TOKENS = 1 << 25
"""256 prompts, 8 responses each, 16,384 positions."""
LENGTH = 1 << 14
NUM_CHIPS = 256
TOPOLOGIES = {
    "v4": {"topology_name": "v4:8x8x4", "chip_config_name": "megacore"},
    "v5e": {"topology_name": "v5e:16x16"},
    "v5p": {"topology_name": "v5p:8x8x4"},
    "v6e": {"topology_name": "v6e:16x16"},
}
"""`NUM_CHIPS` chips of each kind, a device each: both cores of a v4 are one only where that is asked for."""
OBJECTIVES: tuple[PolicyObjective, ...] = (KLCov(), ClipCov())
"""Those that select: the largest covariances, and a draw from a window of them."""
NUM_PARAMS = 7.6e9
COLLECTIVE_SECONDS = 1e-4
"""One small all-reduce over 256 chips: 32 hops of a microsecond, there and back, and its launch; high."""
LAUNCH_SECONDS = 5e-6
"""One instruction of the program, however small; high."""


def bench_selection(
    num_tokens: tuple[int, ...],
    *,
    repeats: int,
    selector: CovarianceSelector = DEFAULT_SELECTOR,
    largest_sort: int = 1 << 22,
) -> list[dict]:
    """One row a size, a power of two: KL-Cov's selection with its statistics, and its K tokens by a sort.

    Seconds are the least of `repeats`, since a disturbance only adds; cpu_seconds, of all threads together,
    hardly sees other programs. Beyond `largest_sort` tokens nothing is sorted. The ceiling is to read the
    arguments and to write the results once, at the rate at which the device copies as many bytes.
    """
    rows = []
    for total in num_tokens:
        arrays = _random_tokens(total)
        choose = jax.jit(lambda a: _select(KLCov(), selector, **a))
        choose = choose.lower(arrays).compile()
        seconds, cpu_seconds, selection = _least_time(choose, arrays, repeats)
        num_words = sum(x.nbytes for x in jax.tree.leaves((arrays, selection))) // 8
        copy_seconds, *_ = _least_time(jax.jit(jnp.negative), jnp.zeros(num_words), repeats)
        row = {"tokens": total, "seconds": seconds, "cpu_seconds": cpu_seconds}
        row |= {"temp_mib": choose.memory_analysis().temp_size_in_bytes / 2**20}
        row |= {"ratio_to_ceiling": seconds / copy_seconds}
        row |= {"ns_per_token": 1e9 * seconds / total, "cpu_ns_per_token": 1e9 * cpu_seconds / total}
        if total <= largest_sort:
            operands = (selection.covariance_BT, arrays["mask_BT"], selection.quota)
            sorted_seconds, _, chosen_BT = _least_time(jax.jit(_by_sort), (*operands, arrays), repeats)
            row |= {"sort_seconds": sorted_seconds, "ratio_to_sort": seconds / sorted_seconds}
            row["equals_sort"] = bool(jnp.array_equal(chosen_BT, selection.selected_BT))
        rows.append(row)
    return rows


def _random_tokens(total: int) -> dict:
    shape = (total // min(total, LENGTH), min(total, LENGTH))
    k1, k2, k3, k4 = jax.random.split(jax.random.key(total), 4)
    logp_BT = -jax.random.exponential(k1, shape)
    return {
        "logp_BT": logp_BT,
        "old_logp_BT": logp_BT,
        "adv_BT": jnp.broadcast_to(jax.random.normal(k2, (shape[0], 1)), shape),
        "mask_BT": jnp.arange(shape[1])[None] < jax.random.randint(k3, (shape[0], 1), 1, shape[1]),
        "sequence_id_B": jax.random.permutation(k4, shape[0]),
    }


def _select(objective: PolicyObjective, selector: CovarianceSelector, *, sequence_id_B, mask_BT, **arrays):
    identity = TokenIdentity.of_rows(sequence_id_B, mask_BT.shape[1])
    return objective.select(
        **arrays, mask_BT=mask_BT, identity=identity, key=jax.random.key(0), selector=selector
    )


def _by_sort(score_BT, mask_BT, k, arrays):
    position_1T = jnp.arange(mask_BT.shape[1])[None]
    return largest_reference(score_BT, mask_BT, k, arrays["sequence_id_B"][:, None], position_1T)


def _least_time(function, argument, repeats: int):
    """(least wall seconds, least CPU seconds, result) after a first call that compiles."""
    arguments = argument if isinstance(argument, tuple) else (argument,)
    result = jax.block_until_ready(function(*arguments))
    walls, processors = [], []
    for _ in range(repeats):
        processor, wall = time.process_time(), time.perf_counter()
        jax.block_until_ready(function(*arguments))
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return min(walls), min(processors), result


def compiled_selection(chip: str, objective: PolicyObjective):
    """The program that selects among `NUM_TOKENS` tokens cut over `NUM_CHIPS` chips (needs libtpu)."""
    mesh = Mesh(np.array(tpu_devices(**TOPOLOGIES[chip])), ("data",))
    selector = CovarianceSelector(histogram=MosaicHistogram(), shards=Shards(mesh=mesh, tokens=("data",)))
    shape, rows = (NUM_TOKENS // LENGTH, LENGTH), NamedSharding(mesh, PartitionSpec("data"))

    def operand(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=rows)

    arrays = {name: operand(shape, jnp.float32) for name in ("logp_BT", "old_logp_BT", "adv_BT")}
    arrays |= {"mask_BT": operand(shape, jnp.bool_), "sequence_id_B": operand(shape[:1], jnp.int32)}
    select = jax.jit(lambda a: _select(objective, selector, **a))
    return select.lower(arrays).compile()


def modelled_cost(chip: str, objective: PolicyObjective, compiled=None) -> dict:
    """Memory, counts and modelled seconds on `NUM_CHIPS` chips, and their share of a 7B update step.

    `compiled` is of `compiled_selection(chip, objective)`, made here (with libtpu) if not given. The step is
    6 N D FLOP for forward and backward and 2 N D for the forward again, at 40 % of the peak. Ties take the
    branch that breaks them.
    """
    facts, compiled = TPU_CHIPS[chip], compiled or compiled_selection(chip, objective)
    memory = compiled.memory_analysis()
    step_seconds = 8 * NUM_PARAMS * NUM_TOKENS / (0.4 * facts.bf16_flops * NUM_CHIPS)
    report = {
        "chip": chip,
        "objective": type(objective).__name__,
        "argument_bytes": memory.argument_size_in_bytes,
        "temp_bytes": memory.temp_size_in_bytes,
        "step_seconds": step_seconds,
    }
    for kind, worst in (("", False), ("_with_ties", True)):
        counts = _count(compiled.as_text(), worst)
        # At most 208 rows of one-hots (12 prefixes of 16, and 16), a comparison and two conversions each.
        kernel_ops = counts.histograms * 3 * 208 * NUM_TOKENS / NUM_CHIPS
        seconds = (
            counts.bytes / facts.hbm_bytes_per_s
            + kernel_ops / facts.vector_ops
            + counts.collectives * COLLECTIVE_SECONDS
            + counts.instructions * LAUNCH_SECONDS
        )
        report |= {f"{name}{kind}": value for name, value in vars(counts).items()}
        report |= {f"seconds{kind}": seconds, f"share_of_step{kind}": seconds / step_seconds}
    return report


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What one chip executes in one run of a program; bodies of loops as often as they run."""

    instructions: int = 0
    collectives: int = 0
    histograms: int = 0
    bytes: int = 0
    """Operands and results of all instructions, as if none stayed on the chip."""

    def __add__(self, other):
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def __mul__(self, times: int):
        return Counts(**{name: value * times for name, value in vars(self).items()})


_FREE = ("parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all", "partition-id")
_ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "s32": 4, "u32": 4, "f32": 4}


def _count(text: str, worst: bool) -> Counts:
    """Counts of the entry computation; of a conditional the branch that does most, or least."""
    bodies = dict(re.findall(r"^(?:ENTRY )?(%[\w.\-]+) [^\n]*\{\n(.*?)^\}", text, re.M | re.S))
    entry = re.search(r"^ENTRY (%[\w.\-]+)", text, re.M).group(1)
    result_bytes = {
        name: _bytes(shape) for name, shape, _ in re.findall(r"(%[\w.\-]+) = (.*?) ([\w\-]+)\(", text)
    }

    def of(computation: str) -> Counts:
        total = Counts()
        for line in bodies[computation].splitlines():
            if match := re.search(r"(%[\w.\-]+) = (.*?) ([\w\-]+)\((.*?)\)", line):
                total += of_instruction(line, *match.groups())
        return total

    def of_instruction(line, name, shape, operation, operands):
        if operation in _FREE or operation.endswith("-done"):
            return Counts()
        if operation == "while":
            condition, body = re.search(r"condition=(%[\w.\-]+), body=(%[\w.\-]+)", line).groups()
            trips = max(map(int, re.findall(r"constant\((\d+)\)", bodies[condition])))
            return of(body) * trips
        if operation == "conditional":
            names = re.findall(r"%[\w.\-]+", line.split("computation", 1)[1])
            branches = [of(name) for name in names if name in bodies]
            return (max if worst else min)(branches, key=lambda counts: counts.instructions)
        moved = _bytes(shape) + sum(result_bytes.get(x, 0) for x in re.findall(r"%[\w.\-]+", operands))
        return Counts(
            instructions=1,
            collectives=int(operation.startswith("all-reduce")),
            histograms=int('"tpu_custom_call"' in line),
            bytes=moved,
        )

    return of(entry)


def _bytes(shape: str) -> int:
    """Bytes of all arrays in a shape, tuples included."""
    return sum(
        _ITEM_BYTES.get(kind, 4) * int(np.prod([int(n) for n in sizes.split(",") if n], dtype=np.int64))
        for kind, sizes in re.findall(r"\b(pred|[a-z]+\d+)\[([\d,]*)\]", shape)
    )
