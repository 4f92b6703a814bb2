"""The theory's two sides over steps: how much the entropy changed, and how much Lemma 1 predicts.

Source: arXiv 2505.22617, Lemma 1 and Theorems 1 and 2. The lemma predicts the change itself; the theorems'
covariances are up to a step size, so that only their correlation with the loss of entropy can be told.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from entropy_rl.observability import plot_panels as panels
from entropy_rl.observability.plots import label_steps, save_figure
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.law_pictures import heading

MEASURED, PREDICTED = "theory/entropy_change", "theory/lemma1"
THEOREMS = {"Theorem 1": "theory/theorem1_covariance", "Theorem 2": "theory/theorem2_covariance"}


def draw_theory(runs: Sequence[RunRecord], output: Path) -> list[Path]:
    """Draws theory.png into a folder, a row for each run that recorded the theory; nothing where none did."""
    runs = [run for run in runs if len(paired(run, PREDICTED)[0])]
    if not runs:
        return []
    with matplotlib.rc_context(panels.RC):
        figure = Figure(figsize=(11.0, 0.4 + 3.6 * len(runs)), layout="constrained")
        grid = figure.subplots(len(runs), 2, squeeze=False, width_ratios=(1.9, 1.0))
        for (left, right), run in zip(grid, runs, strict=True):
            _over_steps(left, run)
            _against_each_other(right, run)
        return [save_figure(figure, output / "theory.png")]


def paired(run: RunRecord, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, the measured changes of entropy and the values of a metric, over the rows that have both."""
    rows = [
        (row["step"], row[MEASURED], row[metric])
        for row in run.rows
        if row.get(MEASURED) is not None and row.get(metric) is not None
    ]
    steps, measured, values = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return steps, measured, values


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; NaN where one never differs or there are fewer than three pairs."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _over_steps(axes: Axes, run: RunRecord) -> None:
    steps, measured, predicted = paired(run, PREDICTED)
    said = [
        f"{name} {correlation(paired(run, metric)[2], -paired(run, metric)[1]):.2f}"
        for name, metric in THEOREMS.items()
        if len(paired(run, metric)[0]) >= 3
    ]
    heading(axes, run.name, f"correlation with the loss: {', '.join(said)}" if said else "")
    axes.axhline(0, color=panels.INK, lw=0.8)
    marker = "o" if len(steps) < 60 else None
    axes.plot(steps, measured, color=panels.ENTROPY, lw=1.8, marker=marker, ms=4, label="measured")
    axes.plot(
        steps,
        predicted,
        color=panels.REWARD,
        lw=1.8,
        ls="--",
        marker=marker,
        ms=4,
        label="predicted (Lemma 1)",
    )
    axes.legend(loc="best")
    panels.finish(axes, True, ylabel="change of entropy in a step, nats")
    label_steps(axes)


def _against_each_other(axes: Axes, run: RunRecord) -> None:
    _, measured, predicted = paired(run, PREDICTED)
    heading(axes, "", f"correlation {correlation(predicted, measured):.3f}")
    both = np.concatenate([measured, predicted])
    ends = np.array([both.min(), both.max()])
    axes.plot(ends, ends, color=panels.QUIET, lw=1.0)
    axes.scatter(predicted, measured, s=22, color=panels.ENTROPY, alpha=0.7, lw=0)
    axes.set_xlabel("predicted change (Lemma 1), nats", fontsize=9)
    axes.set_ylabel("measured change, nats", fontsize=9)
