"""The numbers of the charts, ready for JSON: columns, rounded to what a screen shows."""

import math
import re
from collections.abc import Sequence
from itertools import cycle

import numpy as np

from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.page.charts import SHADES, Chart, Line

MAX_POINTS = 800
"""Of a curve. A longer one is shown by the means of as many stretches."""


class Columns:
    """Columns of numbers that charts refer to by their position, so that equal ones are stored once."""

    def __init__(self) -> None:
        self.columns: list[list] = []
        self._places: dict[tuple, int] = {}

    def place_of(self, values: Sequence) -> int:
        """Where these values are kept."""
        key = tuple(values)
        if key not in self._places:
            self._places[key] = len(self.columns)
            self.columns.append(list(key))
        return self._places[key]


def short(value: float | int | None) -> float | int | None:
    """A number by four significant digits, whole numbers whole; None for what JSON lacks."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded


def brief(value: float | int | None) -> float | int | None:
    """A number of a token, of which there are many: three significant digits, five decimals at most."""
    return None if value is None else short(round(float(f"{value:.3g}"), 5))


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[list[int], list[float | int | None]]:
    """A curve of at most `MAX_POINTS` points: the means of stretches, at their last steps."""
    num_stretches = min(len(steps), MAX_POINTS)
    if num_stretches == len(steps):
        return steps.tolist(), [short(value) for value in values]
    ends = np.arange(1, num_stretches + 1) * len(steps) // num_stretches
    starts = np.concatenate([[0], ends[:-1]])
    known = np.isfinite(values)
    totals = np.add.reduceat(np.where(known, values, 0.0), starts)
    counts = np.add.reduceat(known.astype(np.int64), starts)
    means = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    return steps[ends - 1].tolist(), [short(value) for value in means]


def expanded(line: Line, names: Sequence[str]) -> list[tuple[str, str]]:
    """Metric and label of every metric of the run that the line stands for, in the run's order."""
    pattern = re.escape(line.metric).replace("NAME", r"(?P<key>[^/]+)")
    if line.metric.endswith("@k"):
        pattern = pattern[: -len("@k")] + (r"@\d+" if "NAME" in line.metric else r"@(?P<key>\d+)")
    found = [(name, re.fullmatch(pattern, name)) for name in names]
    return [
        (name, line.label.format(match["key"] if match.groupdict() else "")) for name, match in found if match
    ]


def names_of(run: RunRecord) -> list[str]:
    """The metrics of a run, in the order in which they appear."""
    return list(dict.fromkeys(name for row in run.rows for name in row))


def chart_data(chart: Chart, run: RunRecord, names: Sequence[str], columns: Columns) -> dict | None:
    """What the script draws of a chart; None when the run has nothing of it, or dashed lines at most.

    `names` are those of `names_of`.
    """

    def curve(metric: str) -> tuple[int, int] | None:
        steps, values = run.series(metric)
        if not np.isfinite(values).any() or chart.zero_is_absent and not np.nan_to_num(values).any():
            return None
        return tuple(columns.place_of(column) for column in thinned(steps, values))

    lines = [
        {
            "label": label,
            "metric": name,
            "colour": colour,
            "weight": line.weight,
            "x": place[0],
            "y": place[1],
        }
        for line in chart.lines
        for colour, (name, label) in _coloured(line, expanded(line, names))
        if (place := curve(name))
    ]
    bands = [
        {"label": band.label, "colour": band.colour, "opacity": band.opacity}
        | {"x": low[0], "low": low[1], "high": high[1]}
        for band in chart.bands
        if (low := curve(band.low)) and (high := curve(band.high))
    ]
    rows = [{"metric": name, "x": place[0], "y": place[1]} for name in chart.rows if (place := curve(name))]
    if all(line["weight"] == "dashed" for line in lines) and not bands and not rows:
        return None
    kind = {"heat": rows} if rows else {"lines": _without_twins(lines), "bands": bands}
    return kind | {"unit": chart.unit, "scale": chart.scale, "fromZero": chart.from_zero}


def _coloured(line: Line, metrics: Sequence[tuple[str, str]]) -> list[tuple[str, tuple[str, str]]]:
    """Metrics of a line with their colours: its own, or shades where there are several."""
    shades = cycle(SHADES if len(metrics) > 1 else (line.colour,))
    return list(zip(shades, metrics, strict=False))


def _without_twins(lines: list[dict]) -> list[dict]:
    """Lines but those that lie wholly under an earlier one, as a pass rate under a reward of 0 and 1."""
    kept: dict[tuple, dict] = {}
    for line in lines:
        place = (line["x"], line["y"])
        if place in kept:
            kept[place] = kept[place] | {"label": f"{kept[place]['label']} = {line['label']}"}
        else:
            kept[place] = line
    return list(kept.values())
