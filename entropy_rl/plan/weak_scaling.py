"""Weak scaling by the compiler: the same work a chip on ever more chips should take the same memory.

The mesh's data axis grows with the chips, and with it the prompts of a step, of an update and of a wave;
shards of parameters stay as they are. XLA's count of operations has the body of each loop once; the formula's
has every turn, and moves with the lengths that were drawn for so many chips.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product

from entropy_rl.plan.job import Job
from entropy_rl.plan.programs import Programs
from entropy_rl.plan.step import work_of
from entropy_rl.plan.topology import Topology

SLICES = {
    2: {16: "4x4", 64: "8x8", 256: "16x16"},
    3: {16: "2x2x4", 64: "4x4x4", 256: "4x8x8"},
}
"""Chips -> sizes of the slice, for tori of two and three dimensions."""


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """One program on one number of chips."""

    topology: str
    chips: int
    phase: str
    temporary_bytes: int
    compiler_flops: float
    """The body of each loop once."""
    flops: float
    """Of one execution with all turns of its loops, by formula."""


def weak_scaling(jobs: list[Job], phases: tuple[str, ...], tell: Callable[[str], None]) -> list[Scaled]:
    """Every phase of every job, compiled."""

    def scaled(job: Job, phase: str) -> Scaled:
        program = Programs(job, tell).program(phase)
        return Scaled(
            topology=job.topology.name,
            chips=job.topology.num_chips,
            phase=phase,
            temporary_bytes=program.temporary_bytes,
            compiler_flops=program.flops,
            flops=work_of(job, phase)[0].flops,
        )

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(scaled, *zip(*product(jobs, phases), strict=True)))


def scaled_jobs(job: Job) -> list[Job]:
    """The job with as much work a chip on 16, 64 and 256 chips. Raises ValueError if it is not of 16."""
    chip, slices = job.topology.name.partition(":")[0], SLICES.get(len(job.topology.shape), {})
    if job.topology.chip.platform != "tpu" or job.topology.num_chips != min(slices):
        raise ValueError(f"weak scaling starts on {min(slices)} TPU chips, got {job.topology.name}")
    return [
        _times(job, chips // job.topology.num_chips, f"{chip}:{sizes}") for chips, sizes in slices.items()
    ]


def _times(job: Job, factor: int, topology: str) -> Job:
    config, batch = job.config, job.config.batch
    batch = replace(
        batch,
        prompts_per_step=factor * batch.prompts_per_step,
        prompts_per_update=factor * batch.prompts_per_update,
        prompts_per_wave=factor * job.prompts_per_wave,
    )
    mesh = replace(config.mesh, data=factor * config.mesh.data)
    return replace(job, config=replace(config, batch=batch, mesh=mesh), topology=Topology.of(topology))


def as_markdown(rows: list[Scaled]) -> str:
    """A table, each figure also as a share of the smallest slice's."""
    lines = [
        "| program | chips | topology | temporaries GiB | TFLOP by formula | by XLA, loops once |",
        "|---|---|---|---|---|---|",
    ]
    first = {row.phase: row for row in reversed(rows)}
    for row in sorted(rows, key=lambda row: (row.phase, row.chips)):
        base = first[row.phase]
        cells = [
            f"{value(row) / unit:.4g} ({value(row) / value(base):.3f})"
            for value, unit in (
                (lambda one: one.temporary_bytes, 1 << 30),
                (lambda one: one.flops, 1e12),
                (lambda one: one.compiler_flops, 1e12),
            )
        ]
        lines.append(f"| {row.phase} | {row.chips} | {row.topology} | {' | '.join(cells)} |")
    return "\n".join(lines)
