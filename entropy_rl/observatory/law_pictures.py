"""Pictures of the law of entropy and reward: the fit, what it leaves over, and what it predicts.

Nothing here touches pyplot's global state.
"""

from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from entropy_rl.observability import plot_panels as panels
from entropy_rl.observability.plots import label_steps, save_figure
from entropy_rl.observatory.law import Law, Prediction

POINTS = "viridis"
"""Steps from the first, dark, to the last, light."""
LAW = panels.ENTROPY
NUM_CURVE_POINTS = 200


def draw_law(law: Law, name: str, output: Path) -> list[Path]:
    """Draws law.png and residuals.png of the run `name` into the folder `output`."""
    with matplotlib.rc_context(panels.RC):
        figure = Figure(figsize=(8.4, 5.6), layout="constrained")
        axes = figure.subplots()
        points = law_panel(axes, law)
        figure.colorbar(points, ax=axes, label="step", pad=0.015, aspect=34).outline.set_visible(False)
        figure.suptitle(name, x=0.012, ha="left", fontsize=14, fontweight="bold")
        doubts = len(law.doubts())
        text = f"not to be trusted: {doubts} warning{'s' * (doubts > 1)} in law.json" if doubts else ""
        figure.text(0.988, 0.985, text, ha="right", va="top", fontsize=9, color=LAW)
        return [
            save_figure(figure, output / "law.png"),
            save_figure(_residuals_figure(law, name), output / "residuals.png"),
        ]


def draw_prediction(prediction: Prediction, name: str, output: Path) -> Path:
    """Draws prediction.png of the run `name` into the folder `output`."""
    with matplotlib.rc_context(panels.RC):
        figure = Figure(figsize=(9.4, 5.0), layout="constrained")
        axes = figure.subplots()
        prediction_panel(axes, prediction)
        label_steps(axes)
        figure.suptitle(name, x=0.012, ha="left", fontsize=14, fontweight="bold")
        return save_figure(figure, output / "prediction.png")


def law_panel(axes: Axes, law: Law) -> PathCollection:
    """R over entropy with the law, its band and its ceiling; returns the points, which a colour bar reads."""
    course = law.course
    heading(axes, f"Law of {course.measure}", formula(law))
    low, high = law_curve(axes, law, LAW)
    points = axes.scatter(
        course.entropy, course.success, c=course.steps, cmap=POINTS, s=22, alpha=0.85, lw=0, zorder=3
    )
    axes.errorbar(
        [0.0],
        [law.ceiling.value],
        yerr=[[law.ceiling.value - law.ceiling.low], [law.ceiling.high - law.ceiling.value]],
        color=LAW,
        marker="D",
        ms=5,
        lw=1.4,
        capsize=3,
        zorder=4,
        clip_on=False,
    )
    axes.annotate(
        f"ceiling {law.ceiling.value:.3g}",
        (0.0, law.ceiling.value),
        xytext=(10, 0),
        textcoords="offset points",
        va="bottom",
        fontsize=9.5,
        color=LAW,
    )
    axes.set_xlabel("policy entropy, nats per token", fontsize=9)
    axes.set_ylabel(course.measure, fontsize=9)
    axes.set_xlim(left=0)
    fit_height(axes, np.concatenate([course.success, low, high]))
    return points


def law_curve(
    axes: Axes, law: Law, color: str, *, style: str = "-"
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """The law and its band, dotted below the entropies seen; returns the band's bounds, low and high."""
    seen = law.course.entropy
    entropy = np.linspace(0.0, 1.02 * float(seen.max()), NUM_CURVE_POINTS)
    low, high = law.band(entropy)
    axes.fill_between(entropy, low, high, color=color, alpha=0.13, lw=0)
    within = entropy >= seen.min()
    success = law.predict(entropy)
    axes.plot(entropy[within], success[within], color=color, lw=2.0, ls=style, zorder=2)
    axes.plot(entropy[~within], success[~within], color=color, lw=1.6, ls=(0, (1, 1.6)), zorder=2)
    return low, high


def _residuals_figure(law: Law, name: str) -> Figure:
    """What the law leaves over: over steps, which shows persistence, and over R, which shows curvature."""
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, x in ((left, law.course.steps), (right, law.fitted)):
        axes.axhline(0, color=panels.INK, lw=0.8)
        axes.scatter(x, law.residuals, s=16, color=panels.REWARD, alpha=0.5, lw=0)
    window = panels.smoothing_window(len(law.course))
    left.plot(law.course.steps, panels.smooth(law.residuals, window), color=panels.REWARD, lw=2.0)
    tenths = np.array_split(np.argsort(law.fitted, kind="stable"), min(10, len(law.course) // 3))
    means = np.array([(law.fitted[tenth].mean(), law.residuals[tenth].mean()) for tenth in tenths])
    right.plot(*means.T, "o-", ms=5, color=panels.REWARD, lw=2.0)
    heading(left, "Residuals over steps", f"persistence {law.persistence:.2f}")
    heading(right, "Residuals over the law", f"explained {100 * law.explained:.0f} % of the variance")
    left.set_xlabel("step", fontsize=9)
    right.set_xlabel(f"{law.course.measure} by the law, and means over {len(means)} parts of it", fontsize=9)
    left.set_ylabel(f"measured minus fitted {law.course.measure}", fontsize=9)
    figure.suptitle(name, x=0.012, ha="left", fontsize=14, fontweight="bold")
    return figure


def prediction_panel(axes: Axes, prediction: Prediction) -> None:
    """R over steps: measured, fitted in the first steps, predicted in those after from their entropies."""
    fitted, later, law = prediction.law.course, prediction.later, prediction.law
    heading(
        axes,
        f"{later.measure} predicted from the first {len(fitted)} points",
        f"RMSE {prediction.rmse:.3g}; at the last step {prediction.last_error:+.3g}",
    )
    axes.axvspan(fitted.steps[0], fitted.steps[-1], color=panels.GRID, alpha=0.6, lw=0)
    for course, label in ((fitted, None), (later, "measured")):
        axes.plot(course.steps, course.success, ".", ms=5, color=panels.REWARD, alpha=0.45, label=label)
    steps, success = (
        np.concatenate([getattr(course, name) for course in (fitted, later)]) for name in ("steps", "success")
    )
    smoothed = panels.smooth(success, panels.smoothing_window(len(success)))
    axes.plot(steps, smoothed, color=panels.REWARD, lw=1.8)
    low, high = law.band(later.entropy)
    axes.fill_between(later.steps, low, high, color=LAW, alpha=0.15, lw=0)
    axes.plot(fitted.steps, law.fitted, color=LAW, lw=1.8, label="fitted")
    axes.plot(later.steps, prediction.predicted, color=LAW, lw=1.8, ls="--", label="predicted")
    axes.legend(loc="best")
    axes.margins(x=0.01)
    axes.set_ylabel(later.measure, fontsize=9)
    fit_height(axes, np.concatenate([success, law.fitted, prediction.predicted]))


def formula(law: Law) -> str:
    """The law with its numbers."""
    return f"R = {law.b.value:.3g} \u2212 {law.a.value:.3g} exp(H)"


def heading(axes: Axes, left: str, right: str = "") -> None:
    """A panel's name at the left, its number at the right."""
    axes.set_title(left, loc="left", fontsize=11, fontweight="bold", pad=10)
    axes.set_title(right, loc="right", fontsize=9.5, color=panels.QUIET, pad=10)


def fit_height(axes: Axes, values: np.ndarray) -> None:
    """Lets the y axis hold `values` with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.05
    axes.set_ylim(low - margin, high + margin)
