"""The pictures of a run, from its metrics.jsonl alone: one an aspect, and an overview of four.

Nothing here touches pyplot's global state, so that plots can be drawn from any thread.
"""

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from entropy_rl.observability import plot_panels as panels
from entropy_rl.observability.json_files import write_atomically
from entropy_rl.observability.run_record import RunRecord

Panel = Callable[..., None]

ASPECTS: dict[str, tuple[Panel, Panel]] = {
    "reward": (panels.reward_panel, panels.groups_strip),
    "entropy": (panels.entropy_panel, panels.approx_kl_strip),
    "length": (panels.length_panel, panels.truncation_strip),
    "covariance": (panels.covariance_panel, panels.selection_strip),
}
"""Name of a picture: its panel, and the strip below that shares the steps."""

COMPARED = (
    ("policy/entropy", "Policy entropy", "nats per token", True),
    ("reward/mean", "Reward", "mean over responses", False),
    ("length/mean", "Response length", "mean tokens", True),
    ("covariance/mean", "Token covariance", "mean, nats", False),
)
"""What runs are compared by: metric, title, unit, whether the axis begins at zero."""


def draw_run(run: Path | str | RunRecord, output: Path | str | None = None) -> list[Path]:
    """Draws reward, entropy, length, covariance and an overview of a run.

    Args:
        run: its folder, or what was read of it.
        output: folder of the pictures; the run's plots/ unless given.

    Returns:
        The PNG files. A metric that the run lacks is shown as "not recorded".

    Raises:
        ValueError: there is no run in the folder.
    """
    run = run if isinstance(run, RunRecord) else RunRecord.load(run)
    folder = run.path / "plots" if output is None else Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with matplotlib.rc_context(panels.RC):
        for name, (panel, strip) in ASPECTS.items():
            drawn.append(save_figure(_aspect_figure(run, panel, strip), folder / f"{name}.png"))
        drawn.append(save_figure(_overview_figure(run), folder / "overview.png"))
    return drawn


def draw_comparison(
    runs: Sequence[Path | str | RunRecord],
    output: Path | str,
    labels: Sequence[str] | None = None,
    compared: Sequence[tuple[str, str, str, bool]] = COMPARED,
) -> Path:
    """Draws several runs over each other into the PNG file `output`.

    Args:
        runs: their folders, or what was read of them.
        output: the file to write.
        labels: what to call the runs; their names unless given.
        compared: four metrics, each as in `COMPARED`.

    Raises:
        ValueError: no run is given, one is not there, or there is not a label a run.
    """
    runs = [run if isinstance(run, RunRecord) else RunRecord.load(run) for run in runs]
    labels = [run.name for run in runs] if labels is None else list(labels)
    if not runs or len(labels) != len(runs):
        raise ValueError(
            f"there must be a run and a label for each, got {len(runs)} runs, {len(labels)} labels"
        )
    runs = [dataclasses.replace(run, name=label) for run, label in zip(runs, labels, strict=True)]
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(panels.RC):
        figure = Figure(figsize=(11.0, 7.4), layout="constrained")
        grid = figure.subplots(2, 2, sharex=True)
        for axes, (metric, title, ylabel, from_zero) in zip(grid.flat, compared, strict=True):
            panels.comparison_panel(axes, runs, metric, title, ylabel, from_zero=from_zero)
        label_steps(*grid[-1])
        legend_of_runs(figure, labels)
        return save_figure(figure, output)


def _aspect_figure(run: RunRecord, panel: Panel, strip: Panel) -> Figure:
    figure = Figure(figsize=(8.4, 5.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1.0))
    panel(top, run)
    strip(bottom, run)
    label_steps(bottom)
    head(figure, run)
    return figure


def _overview_figure(run: RunRecord) -> Figure:
    figure = Figure(figsize=(11.0, 7.4), layout="constrained")
    grid = figure.subplots(2, 2, sharex=True)
    order = ("entropy", "reward", "covariance", "length")
    for axes, name in zip(grid.flat, order, strict=True):
        ASPECTS[name][0](axes, run)
    label_steps(*grid[-1])
    head(figure, run)
    return figure


def head(figure: Figure, run: RunRecord) -> None:
    """The run's name and, smaller, what its lines are."""
    figure.suptitle(run.name, x=0.012, ha="left", fontsize=14, fontweight="bold")
    steps = [row["step"] for row in run.rows]
    window = panels.smoothing_window(len(steps))
    span = f"steps {steps[0]} to {steps[-1]}" if steps else "no steps yet"
    smoothing = f"; bold: mean of {window} steps, faint: every step" if window > 1 else ""
    figure.text(0.988, 0.985, span + smoothing, ha="right", va="top", fontsize=9, color=panels.QUIET)


def legend_of_runs(figure: Figure, labels: Sequence[str]) -> None:
    """Names the runs of a figure in their colours, above it."""
    styles = [panels.run_style(number) for number in range(len(labels))]
    lines = [Line2D([], [], color=color, ls=style, lw=2.5) for color, style in styles]
    longest = max(map(len, labels), default=0)
    num_columns = max(1, min(4, len(labels), int(12 * figure.get_figwidth()) // (longest + 7)))
    figure.legend(lines, labels, loc="outside upper left", ncols=num_columns, fontsize=10)


def label_steps(*bottom_row: Axes) -> None:
    """Says that x is the step."""
    for axes in bottom_row:
        axes.set_xlabel("step", fontsize=9)


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a PNG file, whole at every moment, and returns its path."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, buffer.getvalue())
    return path
