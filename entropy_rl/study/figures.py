"""The figures of a study, from its kept curves: a line a method, a band from lowest to highest seed."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from entropy_rl.observability.metric_names import ENTROPY
from entropy_rl.observability.plot_panels import INK, QUIET, RC, RUN_COLORS, smooth, smoothing_window
from entropy_rl.observatory.law import Course, Law
from entropy_rl.study.curves import AVERAGE, PASS, Curves, load_runs

DASHES = ("-", "--")
"""In turns: methods whose curves are the same show one through the other."""
Runs = dict[str, list[Curves]]
"""By method, in the study's order."""


def draw_figures(output: Path) -> list[Path]:
    """Draws overview.png, entropy.png, heldout.png and law.png from final.json in a folder."""
    kept = load_runs(output / "final.json")
    runs: Runs = {}
    for run in kept:
        runs.setdefault(run.method, []).append(run)
    figures = {
        "overview": ((entropy_panel, average_panel), (pass_panel, exchange_panel)),
        "entropy": ((entropy_panel,),),
        "heldout": ((average_panel, pass_panel),),
        "law": ((law_panel,),),
    }
    with matplotlib.rc_context(RC):
        return [_draw(runs, panels, output / f"{name}.png") for name, panels in figures.items()]


def _draw(runs: Runs, panels: Sequence[Sequence], path: Path) -> Path:
    rows, columns = len(panels), len(panels[0])
    figure = Figure(figsize=(5.4 * columns, 3.5 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel, ax in zip((panel for row in panels for panel in row), axes.flat, strict=True):
        panel(ax, runs)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3 * columns)
    figure.savefig(path, dpi=130)
    return path


def over_seeds(
    runs: Sequence[Curves], metric: str
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "seeds n"]]:
    """Steps that all runs have of a metric, and its values there, a row a run."""
    series = [run.series(metric) for run in runs]
    steps = sorted(set.intersection(*(set(found.tolist()) for found, _ in series)))
    return np.array(steps), np.array([values[np.isin(found, steps)] for found, values in series])


def _curves(ax: Axes, runs: Runs, metric: str, title: str, unit: str, *, smoothed: bool = False) -> None:
    for number, (name, mine) in enumerate(runs.items()):
        color, dashes = RUN_COLORS[number % len(RUN_COLORS)], DASHES[number % len(DASHES)]
        steps, values = over_seeds(mine, metric)
        if smoothed:
            values = np.array([smooth(row, smoothing_window(len(row))) for row in values])
        ax.fill_between(steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)
        ax.plot(steps, values.mean(axis=0), dashes, color=color, linewidth=1.8, label=name)
    _name(ax, title, unit, "step")


def entropy_panel(ax: Axes, runs: Runs) -> None:
    """Entropy over steps, on a logarithmic axis."""
    _curves(ax, runs, ENTROPY, "Policy entropy", "nats a token, logarithmic", smoothed=True)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")


def average_panel(ax: Axes, runs: Runs) -> None:
    """Held-out average@8 over steps."""
    _curves(ax, runs, AVERAGE, "Held-out average@8", "share of responses")


def pass_panel(ax: Axes, runs: Runs) -> None:
    """Held-out pass@8 over steps."""
    _curves(ax, runs, PASS, "Held-out pass@8", "share of problems")


def exchange_panel(ax: Axes, runs: Runs) -> None:
    """What of pass@8 is left where average@8 has risen: means over seeds, from the warm start to the dot."""
    for number, (name, mine) in enumerate(runs.items()):
        color, dashes = RUN_COLORS[number % len(RUN_COLORS)], DASHES[number % len(DASHES)]
        average, passed = (over_seeds(mine, metric)[1].mean(axis=0) for metric in (AVERAGE, PASS))
        ax.plot(average, passed, dashes, color=color, linewidth=1.8, label=name)
        ax.plot(average[-1:], passed[-1:], "o", color=color)
    _name(ax, "What one costs of the other, over the run", "held-out pass@8", "held-out average@8")


def law_panel(ax: Axes, runs: Runs) -> None:
    """R against H of all runs, and each method's law: mean coefficients of its runs."""
    for number, (name, mine) in enumerate(runs.items()):
        color, dashes = RUN_COLORS[number % len(RUN_COLORS)], DASHES[number % len(DASHES)]
        courses = [Course.of(run.record(), measure=AVERAGE) for run in mine]
        entropy, success = (
            np.concatenate([getattr(one, part) for one in courses]) for part in ("entropy", "success")
        )
        ax.plot(entropy, success, ".", color=color, alpha=0.5, markersize=4, label=name)
        try:
            lines = [Law.of(course, num_resamples=2).line for course in courses]
        except ValueError:  # too short, or nothing moves: the points stand alone
            continue
        slope, intercept = (
            np.mean([getattr(line, part) for line in lines]) for part in ("slope", "intercept")
        )
        across = np.linspace(entropy.min(), entropy.max(), 101)
        ax.plot(across, intercept + slope * np.exp(across), dashes, color=color, linewidth=1.5)
    _name(ax, "The law R = -a exp(H) + b", "held-out average@8", "entropy H, nats")


def _name(ax: Axes, title: str, unit: str, across: str) -> None:
    ax.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    ax.set_ylabel(unit)
    ax.set_xlabel(across, color=QUIET)
