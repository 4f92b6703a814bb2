"""What a study keeps of its runs: a few curves each, in one small file that outlives their folders."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from entropy_rl.observability.json_files import write_atomically
from entropy_rl.observability.metric_names import ENTROPY
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.study.design import NUM_SAMPLES, PlannedRun
from entropy_rl.study.worker import is_done, start_file, start_numbers

AVERAGE, PASS = f"heldout/average@{NUM_SAMPLES}", f"heldout/pass@{NUM_SAMPLES}"
CURVES = (ENTROPY, "reward/mean", "covariance/mean", AVERAGE, PASS)
DIGITS = 5
"""Significant digits that are kept of a value."""
PLATEAU_FRACTION = 0.1
"""The last part of the steps, over which the plateau is the mean."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A finished run."""

    method: str
    setting: str
    seed: int
    num_steps: int
    seconds: float
    """Of all steps, evaluations and checkpoints left out."""
    points: dict[str, list[list[float | int]]]
    """Metric to its (step, value) pairs; step 0 is the policy that the run began from."""

    def series(self, metric: str) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Steps and values of a metric."""
        steps, values = np.array(self.points[metric], np.float64).T
        return steps.astype(np.int64), values

    @cached_property
    def plateau_entropy(self) -> float:
        """Mean entropy of the last tenth of the steps, nats."""
        steps, entropy = self.series(ENTROPY)
        return float(entropy[steps > (1 - PLATEAU_FRACTION) * self.num_steps].mean())

    def first(self, metric: str) -> float:
        return self.points[metric][0][1]

    def last(self, metric: str) -> float:
        return self.points[metric][-1][1]

    def record(self) -> RunRecord:
        """The run as the observatory reads one."""
        steps = sorted({int(step) for pairs in self.points.values() for step, _ in pairs})
        rows = {step: {"step": step} for step in steps}
        for metric, pairs in self.points.items():
            for step, value in pairs:
                rows[int(step)][metric] = value
        return RunRecord(path=Path(), name=f"{self.method} {self.seed}", config={}, rows=tuple(rows.values()))


def read_runs(runs: Sequence[PlannedRun]) -> list[Curves]:
    """The curves of runs, from their folders. Raises ValueError where one is not done."""
    if missing := [run.config.name for run in runs if not is_done(run)]:
        raise ValueError(
            f"all runs must be done, {len(missing)} of {len(runs)} are not, such as {missing[0]}; call the "
            "stage that makes them again"
        )
    return [_read(run) for run in runs]


def _read(run: PlannedRun) -> Curves:
    record = RunRecord.load(run.path)
    points: dict[str, list[list[float | int]]] = {}
    start = start_numbers(run) if start_file(run).is_file() else {}
    for metric in CURVES:
        steps, values = record.series(metric)
        begin = metric.removeprefix("heldout/")
        points[metric] = [[0, _short(start[begin])]] if metric != begin and begin in start else []
        points[metric] += [[int(step), _short(value)] for step, value in zip(steps, values, strict=True)]
    return Curves(
        method=run.method,
        setting=run.setting,
        seed=run.seed,
        num_steps=run.config.num_steps,
        seconds=round(float(record.series("seconds/step")[1].sum()), 1),
        points=points,
    )


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def write_runs(path: Path, runs: Sequence[Curves]) -> None:
    """Writes curves to a JSON file, a run a line."""
    lines = ",\n".join(json.dumps(asdict(run), separators=(",", ":")) for run in runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"[\n{lines}\n]\n".encode())


def load_runs(path: Path) -> list[Curves]:
    """What `write_runs` wrote. Raises ValueError where there is nothing."""
    if not path.is_file():
        raise ValueError(f"{path} must hold the curves of runs, it is not there; run --stage collect")
    return [Curves(**run) for run in json.loads(path.read_bytes())]
