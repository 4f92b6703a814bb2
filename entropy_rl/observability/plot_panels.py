"""The panels that plots are composed of: each draws one aspect of runs into the axes it is given.

Faint is what was measured, bold is its centred moving average, a band spans quantiles or extremes. One run
is drawn in the colour of its aspect; several are drawn in the colours of `RUN_COLORS`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from entropy_rl.observability.run_record import RunRecord

COVARIANCE_LEVELS = ("q50", "q90", "q99", "q999", "max")

INK, QUIET, GRID = "#1f2933", "#6b7785", "#e6e9ed"
REWARD, ENTROPY, LENGTH, COVARIANCE = "#2166a8", "#c4512d", "#217a5b", "#6a4c9c"
RUN_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b")
"""Told apart by colour-blind readers too (after Okabe and Ito)."""
RUN_STYLES = ("-", "--", ":", "-.")
"""What tells runs apart once every colour is taken."""

RC = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a run's label may hold a dollar sign
    "axes.labelcolor": QUIET,
    "axes.edgecolor": "#b8c0c9",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": "#b8c0c9",
    "ytick.color": "#b8c0c9",
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def run_style(number: int) -> tuple[str, str]:
    """Colour and line of the run of this number, the first being 0."""
    turn, color = divmod(number, len(RUN_COLORS))
    return RUN_COLORS[color], RUN_STYLES[turn % len(RUN_STYLES)]


def smoothing_window(num_points: int) -> int:
    """Width in points of the moving average: a twentieth of the curve, odd; 1 (none) below 20 points."""
    return 1 if num_points < 20 else max(3, num_points // 20) | 1


def smooth(values: Float[np.ndarray, " n"], window: int) -> Float[np.ndarray, " n"]:
    """Moving average over `window` points around each one; NaN is left out, and stays where all are NaN.

    It is the value of a straight line fitted to the window: the plain mean where the window is centred,
    and without the mean's lag near the ends, where half of the window is missing.
    """
    num_points, half = len(values), window // 2
    index = np.arange(num_points)
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, num_points)
    finite = np.isfinite(values)
    x, y = np.where(finite, index, 0).astype(np.float64), np.where(finite, values, 0.0)
    count, sum_x, sum_y, sum_xx, sum_xy = (
        _window_sums(terms, low, high) for terms in (finite.astype(np.float64), x, y, x * x, x * y)
    )
    denominator = np.maximum(count, 1.0)
    mean_x, mean_y = sum_x / denominator, sum_y / denominator
    spread = sum_xx / denominator - mean_x**2
    slope = np.where(spread > 0.1, (sum_xy / denominator - mean_x * mean_y) / np.maximum(spread, 0.1), 0.0)
    return np.where(count > 0, mean_y + slope * (index - mean_x), np.nan)


def _window_sums(
    terms: Float[np.ndarray, " n"], low: Int[np.ndarray, " n"], high: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    total = np.concatenate([[0.0], np.cumsum(terms)])
    return total[high] - total[low]


def reward_panel(axes: Axes, run: RunRecord) -> None:
    """Mean reward, and the pass rate where it says something else."""
    title_of(axes, "Reward", run, "reward/mean")
    drawn = curve(axes, run, "reward/mean", REWARD, label="mean reward")
    reward, passed = run.series("reward/mean")[1], run.series("reward/pass_rate")[1]
    if np.isfinite(passed).any() and not (
        len(passed) == len(reward) and np.allclose(passed, reward, equal_nan=True)
    ):
        curve(axes, run, "reward/pass_rate", QUIET, label="pass rate", style="--", raw=False)
        axes.legend(loc="best")
    finish(axes, drawn, ylabel="mean over responses")


def entropy_panel(axes: Axes, run: RunRecord) -> None:
    """Token mean of the policy's entropy, from zero up, and the sequence mean."""
    title_of(axes, "Policy entropy", run, "policy/entropy")
    drawn = curve(axes, run, "policy/entropy", ENTROPY, label="mean over tokens")
    if curve(
        axes, run, "policy/entropy_sequence_mean", QUIET, label="mean over responses", style="--", raw=False
    ):
        axes.legend(loc="best")
    finish(axes, drawn, ylabel="nats per token", from_zero=True)


def length_panel(axes: Axes, run: RunRecord) -> None:
    """Mean response length within the band from the shortest to the longest response."""
    title_of(axes, "Response length", run, "length/mean")
    _band(axes, run, "length/min", "length/max", LENGTH, alpha=0.14, label="shortest to longest")
    drawn = curve(axes, run, "length/mean", LENGTH, label="mean")
    if drawn:
        axes.legend(loc="best")
    finish(axes, drawn, ylabel="tokens", from_zero=True)


def covariance_panel(axes: Axes, run: RunRecord) -> None:
    """Bands between the quantiles of the token covariance on a scale that is linear near zero, log beyond."""
    title_of(axes, "Token covariance", run, "covariance/mean")
    for low, high, alpha in zip(
        COVARIANCE_LEVELS, COVARIANCE_LEVELS[1:], (0.44, 0.3, 0.19, 0.1), strict=False
    ):
        _band(axes, run, f"covariance/{low}", f"covariance/{high}", COVARIANCE, alpha=alpha, label=high)
    drawn = curve(axes, run, "covariance/mean", COVARIANCE, label="mean", raw=False)
    if drawn:
        # Linear up to the usual 0.9 quantile: below it lies the bulk of the tokens, above it the rare ones.
        bulk = np.abs(run.series("covariance/q90")[1])
        bulk = bulk[np.isfinite(bulk)]
        axes.set_yscale("symlog", linthresh=max(float(np.median(bulk)) if bulk.size else 0.0, 1e-4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    finish(axes, drawn, ylabel="nats (linear near 0, then log)")
    if drawn:
        axes.set_ylim(bottom=min(axes.get_ylim()[0], 0.0))
        names = {
            "mean": "mean",
            "q50": "median",
            "q90": "90 %",
            "q99": "99 %",
            "q999": "99.9 %",
            "max": "max",
        }
        _label_ends(axes, run, {f"covariance/{key}": name for key, name in names.items()}, COVARIANCE)


def groups_strip(axes: Axes, run: RunRecord) -> None:
    """Share of groups that are all right, mixed, all wrong: only the mixed ones teach."""
    steps, right = run.series("reward/groups_all_right")
    wrong = run.series("reward/groups_all_wrong")[1]
    drawn = len(steps) > 0 and len(wrong) == len(right)
    if drawn:
        window = smoothing_window(len(steps))
        right, wrong = (np.clip(smooth(share, window), 0, 1) for share in (right, wrong))
        shares = [right, 1.0 - right - wrong, wrong]
        colors = [REWARD + "b0", "#dfe5eb", "#d9a79a"]
        axes.stackplot(steps, *shares, colors=colors, linewidth=0)
        names = ["all right", "mixed", "all wrong"]
        patches = [
            Patch(facecolor=color, linewidth=0, label=name) for color, name in zip(colors, names, strict=True)
        ]
        axes.legend(handles=patches[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.1), handlelength=1.0)
        axes.set_ylim(0, 1)
    finish(axes, drawn, ylabel="share of groups")


def truncation_strip(axes: Axes, run: RunRecord) -> None:
    """Share of responses cut at the limit."""
    drawn = curve(axes, run, "length/truncated_fraction", LENGTH, label="truncated")
    finish(axes, drawn, ylabel="truncated share", from_zero=True)


def approx_kl_strip(axes: Axes, run: RunRecord) -> None:
    """How far each step moved the policy."""
    drawn = curve(axes, run, "policy/approx_kl_k3", ENTROPY, label="approximate KL")
    finish(axes, drawn, ylabel="KL of a step (nats)", from_zero=True)


def selection_strip(axes: Axes, run: RunRecord) -> None:
    """Selected tokens by the sign of their advantage: positive upwards, negative downwards."""
    steps, positive = run.series("selection/selected_positive_advantage")
    negative = run.series("selection/selected_negative_advantage")[1]
    drawn = len(steps) > 0 and len(positive) == len(negative)
    if drawn:
        axes.fill_between(
            steps, 0, positive, color=REWARD, alpha=0.7, lw=0, step="mid", label="advantage > 0"
        )
        axes.fill_between(
            steps, 0, -negative, color=ENTROPY, alpha=0.7, lw=0, step="mid", label="advantage < 0"
        )
        axes.axhline(0, color=INK, lw=0.8)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.1), handlelength=1.0)
    finish(axes, drawn, ylabel="selected tokens")


def comparison_panel(
    axes: Axes, runs: Sequence[RunRecord], metric: str, title: str, ylabel: str, *, from_zero: bool
) -> None:
    """One metric of several runs, a colour a run; the legend is the figure's."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=10)
    drawn = False
    for number, run in enumerate(runs):
        color, style = run_style(number)
        drawn |= curve(axes, run, metric, color, label=run.name, style=style, faintness=0.16)
    finish(axes, drawn, ylabel=ylabel, from_zero=from_zero)


def curve(
    axes: Axes,
    run: RunRecord,
    metric: str,
    color: str,
    *,
    label: str,
    style: str = "-",
    raw: bool = True,
    faintness: float = 0.28,
) -> bool:
    """Draws a metric, faint as measured and bold when smoothed; tells whether there was anything to draw."""
    steps, values = run.series(metric)
    if not np.isfinite(values).any():
        return False
    window = smoothing_window(len(values))
    if window > 1 and raw:
        axes.plot(steps, values, color=color, alpha=faintness, lw=0.9, ls="-")
    marker = "o" if len(values) < 20 else None
    axes.plot(steps, smooth(values, window), color=color, lw=2.0, ls=style, marker=marker, ms=4, label=label)
    return True


def _band(axes: Axes, run: RunRecord, low: str, high: str, color: str, *, alpha: float, label: str) -> None:
    steps, bottom = run.series(low)
    steps_high, top = run.series(high)
    if len(steps) == 0 or not np.array_equal(steps, steps_high):
        return
    window = smoothing_window(len(steps))
    bottom, top = smooth(bottom, window), smooth(top, window)
    axes.fill_between(steps, bottom, top, color=color, alpha=alpha, lw=0, label=label)
    axes.plot(steps, top, color=color, alpha=0.45, lw=0.8)


def title_of(axes: Axes, title: str, run: RunRecord, metric: str) -> None:
    """The panel's name at the left; at the right where its metric began and ended, smoothed."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=10)
    values = run.series(metric)[1]
    smoothed = smooth(values, smoothing_window(len(values)))
    smoothed = smoothed[np.isfinite(smoothed)]
    if len(smoothed) > 1:
        text = f"mean {_short(smoothed[0])} \u2192 {_short(smoothed[-1])}"
        axes.set_title(text, loc="right", fontsize=9.5, color=QUIET, pad=10)


def finish(axes: Axes, drawn: bool, *, ylabel: str, from_zero: bool = False) -> None:
    axes.set_ylabel(ylabel, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, steps=[1, 2, 5, 10]))
    axes.margins(x=0.01)
    if not drawn:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", color=QUIET)
        axes.set_yticks([])
    elif from_zero:
        top = axes.get_ylim()[1]
        axes.set_ylim(0, 1.04 * top if top > 0 else 1)


def _label_ends(axes: Axes, run: RunRecord, names: dict[str, str], color: str) -> None:
    """Writes beside each curve's end what it is; of labels that would overlap, the earlier one stays."""
    axes.get_ylim()  # settles the limits, which the transform below reads
    to_fraction = axes.transData + axes.transAxes.inverted()
    taken: list[float] = []
    for metric, name in names.items():
        steps, values = run.series(metric)
        smoothed = smooth(values, smoothing_window(len(values)))
        if not np.isfinite(smoothed[-1:]).any():
            continue
        height = float(to_fraction.transform((steps[-1], smoothed[-1]))[1])
        if all(abs(height - other) > 0.036 for other in taken):
            taken.append(height)
            beside = {"transform": axes.get_yaxis_transform(), "ha": "left", "va": "center"}
            axes.text(1.005, smoothed[-1], name, fontsize=8.5, color=color, **beside)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
