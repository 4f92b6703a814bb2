"""The pictures of one run or of several over each other, which `plot` draws.

A metric that a run lacks is left out of its panel, or "not recorded" where all lack it. Nothing here touches
pyplot's global state.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from entropy_rl.observability import plot_panels as panels
from entropy_rl.observability.metric_names import ENTROPY
from entropy_rl.observability.plots import (
    draw_comparison,
    draw_run,
    label_steps,
    legend_of_runs,
    save_figure,
)
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.law import MEASURES, MIN_POINTS, Course, Law
from entropy_rl.observatory.law_pictures import draw_law, formula, heading, law_curve
from entropy_rl.observatory.theory_pictures import draw_theory

CURVES = (
    (ENTROPY, "Policy entropy", "nats per token", True),
    ("heldout/accuracy", "Held-out accuracy, sampled", "share of responses", False),
    ("reward/pass_rate", "Pass rate in training", "share of responses", False),
    ("heldout/greedy_accuracy", "Held-out accuracy, greedy", "share of prompts", False),
)
"""Of the picture that shows several runs at a glance; as `plots.COMPARED`."""
STATISTICS = (("Mean", np.mean), ("Max", np.max), ("Min", np.min))
WIDTH_INCHES = 11.0


def draw_pictures(runs: Sequence[RunRecord], output: Path) -> list[Path]:
    """Draws all pictures of one run, or of several over each other, into a folder; returns the PNG files."""
    output.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(panels.RC):
        pictures = [save_figure(_statistics_figure(runs), output / "statistics.png")]
        if len(runs) == 1:
            pictures += draw_run(runs[0], output)
            pictures += _draw_law_of_one(runs[0], output)
        else:
            pictures.append(draw_comparison(runs, output / "curves.png", compared=CURVES))
            pictures.append(save_figure(_entropy_figure(runs), output / "entropy.png"))
            pictures.append(save_figure(_laws_figure(runs), output / "law.png"))
            pictures.append(save_figure(_covariance_figure(runs), output / "covariance.png"))
            pictures.append(save_figure(_lengths_figure(runs), output / "length.png"))
    return pictures + draw_theory(runs, output)


def _draw_law_of_one(run: RunRecord, output: Path) -> list[Path]:
    """The law of a run with its residuals; its points alone, and why, where the law cannot be fitted."""
    try:
        return draw_law(Law.of(Course.of(run)), run.name, output)
    except ValueError:
        return [save_figure(_laws_figure([run]), output / "law.png")]


def _entropy_figure(runs: Sequence[RunRecord]) -> Figure:
    """Entropy over steps from zero up, and by its logarithm, which shows how fast it is lost."""
    figure = Figure(figsize=(WIDTH_INCHES, 5.0), layout="constrained")
    linear, logarithmic = figure.subplots(1, 2, width_ratios=(1.6, 1.0))
    panels.comparison_panel(linear, runs, ENTROPY, "Policy entropy", "nats per token", from_zero=True)
    panels.comparison_panel(logarithmic, runs, ENTROPY, "Its logarithm", "", from_zero=False)
    if any((run.series(ENTROPY)[1] > 0).any() for run in runs):
        logarithmic.set_yscale("log")
        logarithmic.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        logarithmic.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        logarithmic.yaxis.set_minor_formatter(NullFormatter())
    label_steps(linear, logarithmic)
    legend_of_runs(figure, [run.name for run in runs])
    return figure


def _statistics_figure(runs: Sequence[RunRecord]) -> Figure:
    """Bars of the mean, the largest and the smallest entropy of each run."""
    figure = Figure(figsize=(WIDTH_INCHES, 1.5 + 0.36 * len(runs)), layout="constrained")
    grid = figure.subplots(1, len(STATISTICS), sharey=True)
    for axes, (title, reduce) in zip(grid, STATISTICS, strict=True):
        heading(axes, f"{title} entropy")
        values = [_reduced(run, reduce) for run in runs]
        colors = [panels.run_style(number)[0] for number in range(len(runs))]
        bars = axes.barh(range(len(runs)), np.nan_to_num(values), height=0.62, color=colors, alpha=0.85)
        texts = ["not recorded" if np.isnan(value) else f"{value:.3g}" for value in values]
        axes.bar_label(bars, texts, padding=4, fontsize=9.5, color=panels.INK)
        axes.set_xlim(0, 1.25 * max([0.0, *filter(np.isfinite, values)]) or 1.0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x")
        axes.set_xlabel("nats per token", fontsize=9)
    grid[0].set_yticks(range(len(runs)), [run.name for run in runs], color=panels.INK)
    grid[0].set_ylim(len(runs) - 0.5, -0.5)
    return figure


def _reduced(run: RunRecord, reduce) -> float:
    values = run.series(ENTROPY)[1]
    values = values[np.isfinite(values)]
    return float(reduce(values)) if len(values) else float("nan")


def common_measure(runs: Sequence[RunRecord]) -> str | None:
    """The best R that the law of every run can take; else the training reward, or what any has a point of;
    None for none."""
    courses = {name: [_course(run, name) for run in runs] for name in MEASURES}
    for name, of_runs in courses.items():
        if all(course is not None and len(course) >= MIN_POINTS for course in of_runs):
            return name
    return next((name for name in reversed(MEASURES) if any(courses[name])), None)


def _course(run: RunRecord, measure: str) -> Course | None:
    try:
        return Course.of(run, measure=measure)
    except ValueError:
        return None


def _laws_figure(runs: Sequence[RunRecord]) -> Figure:
    """R over entropy of every run, with its law where it can be fitted."""
    figure = Figure(figsize=(WIDTH_INCHES, 6.0), layout="constrained")
    axes = figure.subplots()
    measure = common_measure(runs)
    labels = [run.name for run in runs]
    if measure is None:
        heading(axes, "Reward against entropy")
        panels.finish(axes, False, ylabel="")
        legend_of_runs(figure, labels)
        return figure
    heading(
        axes, f"{measure} against entropy", "lines: R = b \u2212 a exp(H), dotted below the entropies seen"
    )
    for number, run in enumerate(runs):
        labels[number] += _law_of_run(axes, run, measure, *panels.run_style(number))
    axes.set_xlabel("policy entropy, nats per token", fontsize=9)
    axes.set_ylabel(measure, fontsize=9)
    axes.set_xlim(left=0)
    legend_of_runs(figure, labels)
    return figure


def _law_of_run(axes: Axes, run: RunRecord, measure: str, color: str, style: str) -> str:
    """Draws the points of a run and its law; returns what the legend adds to its name."""
    course = _course(run, measure)
    if course is None:
        return f": no {measure}"
    axes.scatter(course.entropy, course.success, s=14, color=color, alpha=0.35, lw=0)
    try:
        law = Law.of(course)
    except ValueError:
        return ": too few points for a law"
    law_curve(axes, law, color, style=style)
    return f": {formula(law)}" + (" (doubtful)" if law.doubts() else "")


def _covariance_figure(runs: Sequence[RunRecord]) -> Figure:
    """Quantiles of the token covariance over steps, a panel a run that has them, on one scale."""
    having = [run for run in runs if np.isfinite(run.series("covariance/mean")[1]).any()]
    lacking = ", ".join(run.name for run in runs if run not in having)
    drawn = having or list(runs[:1])
    num_columns = min(len(drawn), 2 if len(drawn) < 5 else 3)
    num_rows = -(-len(drawn) // num_columns)
    figure = Figure(figsize=(WIDTH_INCHES, 0.5 + 3.4 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(drawn) :]:
        axes.remove()
    for number, (axes, run) in enumerate(zip(grid.flat, drawn, strict=False)):
        panels.covariance_panel(axes, run)
        axes.set_title(run.name if having else "", loc="left", fontsize=11, fontweight="bold", pad=10)
        if number + num_columns >= len(drawn):  # the lowest of its column
            axes.tick_params(labelbottom=True)
            label_steps(axes)
    figure.suptitle("Token covariance", x=0.012, ha="left", fontsize=14, fontweight="bold")
    note = f"not recorded: {lacking}" if lacking else ""
    figure.text(0.988, 0.985, note, ha="right", va="top", fontsize=9, color=panels.QUIET)
    return figure


def _lengths_figure(runs: Sequence[RunRecord]) -> Figure:
    """Mean length of responses, and the share that was cut at the limit."""
    figure = Figure(figsize=(WIDTH_INCHES, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1.0))
    panels.comparison_panel(top, runs, "length/mean", "Response length", "mean tokens", from_zero=True)
    panels.comparison_panel(
        bottom, runs, "length/truncated_fraction", "Truncated", "share of responses", from_zero=True
    )
    label_steps(bottom)
    legend_of_runs(figure, [run.name for run in runs])
    return figure
