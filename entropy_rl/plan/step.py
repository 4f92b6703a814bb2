"""The plan of a training step: every program's memory and time, and what follows for the whole."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

from entropy_rl.plan import work as formulas
from entropy_rl.plan.collectives import Collective, collectives
from entropy_rl.plan.compiler import DoesNotFitError
from entropy_rl.plan.hlo import Computation, Instruction, parse, shapes
from entropy_rl.plan.job import Job
from entropy_rl.plan.memory import KINDS, Memory, compiled, estimated, sampler_differs, too_large
from entropy_rl.plan.programs import PHASES, Program, Programs
from entropy_rl.plan.roofline import Times, seconds_of, seconds_of_axes, times
from entropy_rl.plan.work import Work


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One program of a step, on one chip."""

    name: str
    executions: float
    """How often a step runs it; of decode, tokens drawn one after another."""
    memory: Memory
    work: Work
    """By formula, in one execution."""
    collectives: tuple[Collective, ...] | None
    """Of the compiled program; None where the network traffic is by formula too."""
    times: Times
    compiler_flops: float | None = None
    """By XLA's cost analysis, the body of each loop counted once."""
    compile_seconds: float = 0.0
    note: str = ""

    @property
    def sent_bytes(self) -> float:
        """What one execution sends over the network."""
        if self.collectives is None:
            return sum(self.work.sent.values())
        return sum(c.bytes_sent * c.times for c in self.collectives)

    @property
    def seconds(self) -> float:
        """Of a whole step."""
        return self.executions * self.times.seconds


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All programs of a step on a topology."""

    job: Job
    phases: tuple[Phase, ...]
    chosen_wave: int | None = None
    """Size of a wave where the plan had to choose one smaller than a whole step."""

    @property
    def by_compiler(self) -> bool:
        """Whether memory and collectives are the compiler's."""
        return all(phase.memory.by_compiler for phase in self.phases)

    @property
    def usable_bytes(self) -> int:
        """Memory of a chip that a program may take."""
        return self.job.topology.chip.usable_bytes

    @property
    def peak(self) -> Phase:
        """The phase that takes the most memory."""
        return max(self.phases, key=lambda phase: phase.memory.total)

    @property
    def fits(self) -> bool:
        """Whether every phase fits."""
        return self.peak.memory.total <= self.usable_bytes

    @property
    def step_seconds(self) -> float:
        """The roofline of all phases, one after another."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def tokens_per_step(self) -> float:
        """Response tokens."""
        return self.job.num_sequences * self.job.responses.mean

    @property
    def tokens_per_second(self) -> float:
        """Response tokens a second, of the whole step."""
        return self.tokens_per_step / self.step_seconds

    @cached_property
    def useful_share(self) -> float:
        """Of the peak while updates run: what the mathematics needs, no padding and nothing twice."""
        seconds = sum(phase.seconds for phase in self.phases if phase.name == "update")
        return self._share(seconds)

    @cached_property
    def useful_share_of_step(self) -> float:
        """The same of the whole step: rollouts count as time, not as work."""
        return self._share(self.step_seconds)

    def _share(self, seconds: float) -> float:
        peak = self.job.topology.num_chips * self.job.topology.chip.bf16_flops
        return formulas.useful_flops(self.job) / (peak * seconds)

    @property
    def chip_hours_per_step(self) -> float:
        """Chips x hours."""
        return self.job.topology.num_chips * self.step_seconds / 3600

    @property
    def chip_hours(self) -> float:
        """Of the whole run, without evaluations and checkpoints."""
        return self.chip_hours_per_step * self.job.config.num_steps


def make_plan(job: Job, *, by_formula: bool, tell: Callable[[str], None] = lambda line: None) -> Plan:
    """The plan of a job; a wave's size that is not given is the largest that fits.

    `by_formula` leaves the compiler out and takes less than a second.
    """
    if job.config.batch.prompts_per_wave is not None:
        return _plan_of(job, by_formula, tell)
    plan = _plan_of(_with_chosen_wave(job, by_formula, tell), by_formula, tell)
    return plan if plan.job.num_waves == 1 else replace(plan, chosen_wave=plan.job.prompts_per_wave)


def estimated_peak(job: Job) -> float:
    """Bytes of the largest phase by formula, with the wave that a plan by formula would choose."""
    if job.config.batch.prompts_per_wave is None:
        job = _with_chosen_wave(job, True, lambda line: None)
    return max(estimated(job, phase).total for phase in phases_of(job))


def phases_of(job: Job) -> list[str]:
    """Those of PHASES that a step of the job has."""
    left_out = {
        "reshard": not sampler_differs(job),
        "ref_logp": not job.config.regularizer.needs_reference,
    }
    return [name for name in PHASES if not left_out.get(name)]


def _plan_of(job: Job, by_formula: bool, tell: Callable[[str], None]) -> Plan:
    programs, names = None if by_formula else Programs(job, tell), phases_of(job)
    with ThreadPoolExecutor(len(names)) as threads:  # they wait for the compiler most of their time
        return Plan(job=job, phases=tuple(threads.map(lambda name: _phase(job, name, programs), names)))


def _with_chosen_wave(job: Job, by_formula: bool, tell: Callable[[str], None]) -> Job:
    """The largest wave whose prefill and decoding fit; the smallest there is where none does."""
    usable, correction = job.topology.chip.usable_bytes, 1.0
    for size in job.wave_sizes:
        candidate = job.with_wave(size)
        needed = max(estimated(candidate, phase).total for phase in ("prefill", "decode"))
        if correction * needed > usable:
            continue
        if by_formula:
            return candidate
        programs = Programs(candidate, tell)
        found = max(_phase(candidate, name, programs).memory.total for name in ("prefill", "decode"))
        if found <= usable:
            return candidate
        correction = found / needed
    return job.with_wave(job.wave_sizes[-1])


def _phase(job: Job, name: str, programs: Programs | None) -> Phase:
    work, executions = work_of(job, name)
    chip = job.topology.chip
    by_formula = Phase(
        name=name,
        executions=executions,
        memory=estimated(job, name),
        work=work,
        collectives=None,
        times=times(chip, work, seconds_of_axes(work.sent, job)),
    )
    if programs is None:
        return by_formula
    try:
        program = programs.program(name)
    except DoesNotFitError as error:
        if error.name != name:
            return replace(by_formula, note=f"not compiled, since it needs what does not fit, {error}")
        return replace(by_formula, memory=too_large(job, name, error.needed_bytes), note=str(error))
    found = _collectives(job, name, program)
    places = job.topology.places(programs.mesh.devices.flat)
    return replace(
        by_formula,
        memory=compiled(job, name, program),
        collectives=tuple(found),
        times=times(chip, work, seconds_of(found, job.topology, places)),
        compiler_flops=program.flops,
        compile_seconds=program.seconds,
    )


def work_of(job: Job, name: str) -> tuple[Work, float]:
    """(of one execution on a chip, by formula; executions in a step)."""
    return {
        "reshard": lambda: (formulas.reshard(job), 1.0),
        "prefill": lambda: (formulas.prefill(job), float(job.num_waves)),
        "decode": lambda: (formulas.decode_step(job), job.num_waves * job.decode_steps),
        "ref_logp": lambda: (formulas.log_probs(job), float(job.num_updates)),
        "old_logp": lambda: (formulas.log_probs(job), float(job.num_old_logp)),
        "update": lambda: (formulas.update(job), float(job.num_updates)),
    }[name]()


def _collectives(job: Job, name: str, program: Program) -> list[Collective]:
    return collectives(
        parse(program.text),
        job.topology.num_chips,
        lambda loop: expected_turns(job, name, loop),
        lambda branch: share_of_updates(job, branch),
    )


def expected_turns(job: Job, name: str, loop: Instruction) -> float:
    """Of a loop whose bound the program computes: one token of decoding, or an update's micro-batches.

    Which shape of micro-batch a loop runs is seen from the arrays it carries.
    """
    if name == "decode" or job.geometry is None:
        return 1.0
    carried = {sizes for _, sizes in shapes(loop.type)}
    for (most, rows, slots), number in zip(job.geometry.array_shapes, job.microbatches, strict=True):
        if (most, rows // job.num_shards, slots) in carried:
            return number
    return sum(job.microbatches) / len(job.microbatches)


def share_of_updates(job: Job, branch: Computation) -> float:
    """Of a step's updates, those that take a branch of the update: the pass in which tokens are chosen ahead
    of the gradient is left out of a step's first. All else that is decided there is small, and counted."""
    chooses = any("/jit(_log_probs)/" in instruction.op_name for instruction in branch.instructions)
    return job.num_selections / job.num_updates if chooses else 1.0


def as_json(plan: Plan, price: float | None = None) -> dict:
    """The whole plan as plain numbers: bytes and seconds of one chip."""
    job = plan.job
    result = {
        "name": job.config.name,
        "topology": job.topology.name,
        "chips": job.topology.num_chips,
        "by_compiler": plan.by_compiler,
        "fits": plan.fits,
        "usable_bytes": plan.usable_bytes,
        "peak_phase": plan.peak.name,
        "peak_bytes": plan.peak.memory.total,
        "margin_bytes": plan.usable_bytes - plan.peak.memory.total,
        "mesh": {
            "data": job.config.mesh.data,
            "fsdp": job.config.mesh.fsdp,
            "tensor": job.config.mesh.tensor,
        },
        "prompts_per_wave": job.prompts_per_wave,
        "waves": job.num_waves,
        "wave_chosen_by_plan": plan.chosen_wave is not None,
        "microbatches_per_update": None if job.geometry is None else list(job.microbatches),
        "padding_fraction": job.padding_fraction,
        "lengths": {
            name: {"mean": lengths.mean, "longest": lengths.longest, "sigma": lengths.sigma}
            for name, lengths in (("prompts", job.prompts), ("responses", job.responses))
        },
        "step_seconds": plan.step_seconds,
        "tokens_per_second": plan.tokens_per_second,
        "useful_share_of_update": plan.useful_share,
        "useful_share_of_step": plan.useful_share_of_step,
        "chip_hours_per_step": plan.chip_hours_per_step,
        "steps": job.config.num_steps,
        "chip_hours": plan.chip_hours,
        "phases": [_phase_json(phase) for phase in plan.phases],
    }
    return result if price is None else result | {"price": price * plan.chip_hours}


def _phase_json(phase: Phase) -> dict:
    by_kind: dict[str, float] = {}
    for collective in phase.collectives or ():
        sent = collective.bytes_sent * collective.times
        by_kind[collective.kind] = by_kind.get(collective.kind, 0.0) + sent
    return {
        "name": phase.name,
        "executions": phase.executions,
        "memory_by_compiler": phase.memory.by_compiler,
        "bytes": {kind: phase.memory.kinds[kind] for kind in KINDS},
        "total_bytes": phase.memory.total,
        "host_bytes": phase.memory.host_bytes,
        "flops": phase.work.flops,
        "hbm_bytes": phase.work.hbm_bytes,
        "sent_bytes": phase.sent_bytes,
        "sent_by_axis": phase.work.sent if phase.collectives is None else None,
        "sent_by_collective": None if phase.collectives is None else by_kind,
        "seconds": {
            "compute": phase.times.compute,
            "memory": phase.times.memory,
            "network": phase.times.network,
        },
        "bound": phase.times.bound,
        "seconds_of_step": phase.seconds,
        "compiler_flops_loops_once": phase.compiler_flops,
        "compile_seconds": phase.compile_seconds,
        "note": phase.note,
    }
