"""The nearest setting that fits: the smallest changes first, by formula, then verified by compiling."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from entropy_rl.config import RunConfig
from entropy_rl.parallelism import MeshConfig
from entropy_rl.plan.job import Job
from entropy_rl.plan.step import Plan, estimated_peak, make_plan
from entropy_rl.training.layout import Packed

REMATERIALIZE = ("none", "dots", "layer", "offload")
"""From the most memory to the least."""

MAX_COMPILED = 4
"""Candidates that are compiled before giving up."""


@dataclass(frozen=True)
class Candidate:
    """Changed settings and how far they are from the ones given."""

    job: Job
    distance: float


@dataclass(frozen=True)
class Suggestion:
    """A setting that fits."""

    plan: Plan
    overrides: str
    """Arguments of the command line that make it of the settings given."""


def suggest(
    given: Job, plan: Plan, *, by_formula: bool, tell: Callable[[str], None] = lambda line: None
) -> Suggestion | None:
    """The nearest setting that fits instead of the one given, whose plan does not; None if there is none."""
    usable, num_compiled, correction = plan.usable_bytes, 0, _correction(plan)
    for candidate in sorted(_candidates(given), key=lambda candidate: candidate.distance):
        if correction * estimated_peak(candidate.job) > usable:
            continue
        if not by_formula:
            if num_compiled == MAX_COMPILED:
                break
            num_compiled += 1
            tell(f"trying {overrides(given.config, candidate.job.config)}")
        found = make_plan(candidate.job, by_formula=by_formula, tell=tell)
        if found.fits:
            return Suggestion(found, overrides(given.config, found.job.config))
        correction = max(correction, _correction(found))
    return None


def overrides(given: RunConfig, wanted: RunConfig) -> str:
    """What to write on the command line."""
    named = {
        "--mesh.data": (given.mesh.data, wanted.mesh.data),
        "--mesh.fsdp": (given.mesh.fsdp, wanted.mesh.fsdp),
        "--mesh.tensor": (given.mesh.tensor, wanted.mesh.tensor),
        "--batch.prompts-per-wave": (given.batch.prompts_per_wave, wanted.batch.prompts_per_wave),
        "--policy.rematerialize": (given.policy.rematerialize, wanted.policy.rematerialize),
    }
    if isinstance(wanted.batch.layout, Packed):
        tokens = [config.batch.layout.tokens_per_device for config in (given, wanted)]
        named["--batch.layout.tokens-per-device"] = tuple(tokens)
    for moment in ("first", "second"):
        values = [getattr(config.optimizer, f"{moment}_moment_dtype", None) for config in (given, wanted)]
        named[f"--optimizer.{moment}-moment-dtype"] = tuple(values)
    return " ".join(f"{flag} {new}" for flag, (old, new) in named.items() if old != new)


def _correction(plan: Plan) -> float:
    """By how much the compiler needs more than the formulas say, at the peak."""
    if not plan.by_compiler:
        return 1.0
    return max(plan.peak.memory.total / estimated_peak(plan.job), 1.0)


def _candidates(job: Job) -> Iterator[Candidate]:
    config = job.config
    choices = product(
        _meshes(job), _tokens(job), _rematerializations(config), _optimizers(config), _waves(job)
    )
    for (mesh, far), (layout, farther), (how, by_how), (optimizer, by_moments), (wave, by_wave) in choices:
        try:
            changed = replace(
                config,
                mesh=mesh,
                policy=replace(config.policy, rematerialize=how),
                optimizer=optimizer,
                batch=replace(config.batch, layout=layout, prompts_per_wave=wave),
            )
            candidate = replace(job, config=changed)
        except ValueError:
            continue  # a mesh that does not divide the batch
        sizes = candidate.wave_sizes
        if sizes and (wave in (None, *sizes) or wave == config.batch.prompts_per_wave):
            yield Candidate(candidate, far + farther + by_how + by_moments + by_wave)


def _meshes(job: Job) -> Iterator[tuple[MeshConfig, float]]:
    """Other splits of fsdp and tensor over the same chips; a doubling counts 1.5."""
    given, c = job.config.mesh, job.architecture
    rest = job.topology.num_chips // given.data
    steps = 0
    for tensor in (1 << power for power in range(10)):
        cut = (c.num_kv_heads, c.num_heads, c.intermediate_size, c.vocab_size, rest)
        if any(size % tensor for size in cut) or c.hidden_size % (rest // tensor):
            continue
        steps = abs(tensor.bit_length() - given.tensor.bit_length())
        yield MeshConfig(data=given.data, fsdp=rest // tensor, tensor=tensor), 1.5 * steps


def _tokens(job: Job) -> Iterator[tuple[object, float]]:
    """Fewer rows in a micro-batch; a halving counts 1."""
    layout = job.config.batch.layout
    yield layout, 0.0
    if isinstance(layout, Packed):
        slots = job.geometry.shapes[0][1]
        rows = layout.tokens_per_device // slots
        for halvings in range(1, rows.bit_length()):
            yield replace(layout, tokens_per_device=(rows >> halvings) * slots), float(halvings)


def _rematerializations(config: RunConfig) -> Iterator[tuple[str, float]]:
    first = REMATERIALIZE.index(config.policy.rematerialize)
    for steps, how in enumerate(REMATERIALIZE[first:]):
        yield how, float(steps)


def _optimizers(config: RunConfig) -> Iterator[tuple[object, float]]:
    """Moments in 16 bits: the first counts 2, the second 2 more."""
    optimizer = config.optimizer
    yield optimizer, 0.0
    if getattr(optimizer, "first_moment_dtype", None) == "float32":
        optimizer = replace(optimizer, first_moment_dtype="bfloat16")
        yield optimizer, 2.0
    if getattr(optimizer, "second_moment_dtype", None) == "float32":
        yield replace(optimizer, second_moment_dtype="bfloat16"), 4.0


def _waves(job: Job) -> Iterator[tuple[int | None, float]]:
    """Smaller waves where a size was given; else every plan chooses its own."""
    given = job.config.batch.prompts_per_wave
    yield given, 0.0
    if given is not None:
        smaller = [size for size in job.wave_sizes if size < given]
        yield from ((size, 0.5 * steps) for steps, size in enumerate(smaller, start=1))
