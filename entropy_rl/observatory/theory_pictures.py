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
from entropy_rl.observatory.theory import LEMMA1, TheoryCheck


def draw_theory(runs: Sequence[RunRecord], output: Path) -> list[Path]:
    """Draws theory.png into a folder, a row for each run that recorded the theory; nothing where none did."""
    checks = {run.name: TheoryCheck.of(run) for run in runs}
    checks = {name: check for name, check in checks.items() if check.num_points}
    if not checks:
        return []
    with matplotlib.rc_context(panels.RC):
        figure = Figure(figsize=(11.0, 0.4 + 3.6 * len(checks)), layout="constrained")
        grid = figure.subplots(len(checks), 2, squeeze=False, width_ratios=(1.9, 1.0))
        for (left, right), (name, check) in zip(grid, checks.items(), strict=True):
            theory_over_steps(left, name, check)
            theory_against_each_other(right, check)
        return [save_figure(figure, output / "theory.png")]


def theory_over_steps(axes: Axes, name: str, check: TheoryCheck) -> None:
    """Measured and predicted change of entropy, by the steps that recorded both."""
    theorems = {"Theorem 1": check.theorem1, "Theorem 2": check.theorem2}
    said = [f"{theorem} {found.correlation:.2f}" for theorem, found in theorems.items() if found]
    heading(axes, name, f"correlation with the loss: {', '.join(said)}" if said else "")
    axes.axhline(0, color=panels.INK, lw=0.8)
    look = {"lw": 1.8, "ms": 4, "marker": "o" if check.num_points < 60 else None}
    axes.plot(check.steps, -check.falls, color=panels.ENTROPY, label="measured", **look)
    predicted = -check.predicted[LEMMA1]
    axes.plot(check.steps, predicted, "--", color=panels.REWARD, label="predicted (Lemma 1)", **look)
    axes.legend(loc="best")
    panels.finish(axes, True, ylabel="change of entropy in a step, nats")
    label_steps(axes)


def theory_against_each_other(axes: Axes, check: TheoryCheck) -> None:
    """Measured over predicted change, and the line on which both are equal."""
    found = check.lemma1
    said = f"correlation {found.correlation:.3f}, slope {found.slope:.2f}" if found else ""
    heading(axes, "", said)
    both = np.concatenate([check.falls, check.predicted[LEMMA1]])
    ends = (-both.max(), -both.min())
    axes.plot(ends, ends, color=panels.QUIET, lw=1.0)
    axes.scatter(-check.predicted[LEMMA1], -check.falls, s=22, color=panels.ENTROPY, alpha=0.7, lw=0)
    axes.set_xlabel("predicted change (Lemma 1), nats", fontsize=9)
    axes.set_ylabel("measured change, nats", fontsize=9)
