"""Reading what a run left: the rows of metrics.jsonl, as a live run or a killed one wrote them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from entropy_rl.observability.metric_names import metric_of

METRICS_FILE = "metrics.jsonl"
CONFIG_FILE = "config.json"
SUMMARY_FILE = "summary.json"


def read_rows(path: Path) -> list[dict]:
    """The rows of a metrics.jsonl, oldest first.

    A torn last line (the writer was killed, or is still writing) is left out.

    Raises:
        ValueError: a line before the last one is no JSON object with a step.
    """
    lines = path.read_bytes().split(b"\n")
    while lines and not lines[-1].strip(b" \r\t\0"):
        lines.pop()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(parse_row(line, f"{path}:{number}"))
        except ValueError:
            if number < len(lines):
                raise
    return rows


def parse_row(line: bytes, where: str) -> dict:
    """One line of a metrics.jsonl.

    Raises:
        ValueError: it is no JSON object with a step; `where` says which line it is.
    """
    try:
        row = json.loads(line)
    except ValueError:  # covers broken UTF-8 as well
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError(
            f'{where}: a line must be a JSON object with an integer "step", got {line[:60]!r}; '
            "only the last line may be torn; repair or remove this line"
        )
    return row


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as its folder tells it; read once, never written."""

    path: Path
    """The run's folder."""
    name: str
    """The run's name: that of its folder."""
    config: dict
    """What config.json holds; empty where there is none."""
    rows: tuple[dict, ...]
    """The rows of metrics.jsonl, oldest first."""

    @classmethod
    def load(cls, path: Path | str) -> "RunRecord":
        """Reads the folder of a run, finished or not.

        Raises:
            ValueError: there is no metrics.jsonl, or it is broken before its last line.
        """
        path = Path(path).resolve()
        if not (path / METRICS_FILE).is_file():
            raise ValueError(
                f"a run's folder must hold {METRICS_FILE}, got {path}; give a folder such as runs/NAME"
            )
        config_path = path / CONFIG_FILE
        config = json.loads(config_path.read_bytes()) if config_path.is_file() else {}
        return cls(path=path, name=path.name, config=config, rows=tuple(read_rows(path / METRICS_FILE)))

    def series(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and float64 values of a metric, over the rows that have it; null becomes NaN."""
        having = [row for row in self.rows if metric in row]
        steps = np.array([row["step"] for row in having], dtype=np.int64)
        values = np.array([row[metric] for row in having], dtype=np.float64)
        return steps, values


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """One metric over a whole run, nulls left out."""

    first: float | int
    last: float | int
    lowest: float | int
    highest: float | int
    best: float | int | None
    """The highest or lowest value, by the legend; None where neither way is better."""
    best_step: int | None
    """The earliest step that reached it."""


def summarize(rows: Iterable[Mapping]) -> dict[str, MetricSummary]:
    """First, last, extreme and best value of every metric that has a finite one, in order of appearance."""
    points: dict[str, list[tuple[int, float | int]]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and value is not None:
                points.setdefault(name, []).append((row["step"], value))
    return {name: _summary_of(name, series) for name, series in points.items()}


def _summary_of(name: str, points: list[tuple[int, float | int]]) -> MetricSummary:
    metric = metric_of(name)
    lowest, highest = (pick(points, key=lambda point: point[1]) for pick in (min, max))
    best_step, best = {"higher": highest, "lower": lowest, "neither": (None, None)}[
        metric.better if metric else "neither"
    ]
    return MetricSummary(
        first=points[0][1],
        last=points[-1][1],
        lowest=lowest[1],
        highest=highest[1],
        best=best,
        best_step=best_step,
    )
