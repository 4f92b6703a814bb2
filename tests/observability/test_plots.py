"""Plots: every picture of every kind of run is drawn, and smoothing neither lags nor invents."""

import math

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from entropy_rl.observability import plot_panels
from entropy_rl.observability.metric_names import METRICS
from entropy_rl.observability.plots import ASPECTS, COMPARED, draw_comparison, draw_run
from entropy_rl.observability.run_folder import RunFolder
from entropy_rl.observability.run_record import RunRecord

PICTURES = ["covariance.png", "entropy.png", "length.png", "overview.png", "reward.png"]


def write_run(root, name: str, num_steps: int, *, without: tuple[str, ...] = (), seed: int = 0):
    random = np.random.default_rng(seed)
    with RunFolder.create(root, name, {}) as run:
        for step in range(1, num_steps + 1):
            row = {metric: float(random.uniform(0.1, 0.4)) for metric in METRICS if metric != "step"}
            row |= {"length/min": 3, "length/mean": 11.0, "length/max": 29}
            row |= {f"covariance/{q}": 0.01 * 7**n for n, q in enumerate(plot_panels.COVARIANCE_LEVELS)}
            row["covariance/mean"] = 0.03  # its label must not cover a quantile's
            run.record(step, {metric: row[metric] for metric in row if not metric.startswith(without or "?")})
    return run.path


def is_drawn(path) -> bool:
    """Whether it is a picture of some size in which at least one in 200 dots is not white."""
    picture = imread(path)
    return min(picture.shape[:2]) > 300 and (picture[..., :3].min(axis=-1) < 0.9).mean() > 0.005


def texts_of(panel, run: RunRecord) -> list[str]:
    axes = Figure().subplots()
    panel(axes, run)
    return [text.get_text() for text in axes.texts]


def test_a_run_is_drawn_into_its_plots_folder(tmp_path):
    path = write_run(tmp_path, "drawn", 47)
    assert sorted(picture.name for picture in draw_run(path)) == PICTURES
    assert sorted(picture.name for picture in (path / "plots").iterdir()) == PICTURES
    assert all(is_drawn(path / "plots" / name) for name in PICTURES)


@pytest.mark.parametrize("num_steps", [0, 1, 3], ids=["no_steps", "one_step", "three_steps"])
def test_runs_of_few_steps_are_drawn(tmp_path, num_steps):
    assert len(draw_run(write_run(tmp_path, "short", num_steps), tmp_path / "elsewhere")) == len(PICTURES)
    assert sorted(picture.name for picture in (tmp_path / "elsewhere").iterdir()) == PICTURES


def test_a_panel_says_when_its_metric_is_not_recorded(tmp_path):
    with RunFolder.create(tmp_path, "bare", {}) as folder:
        folder.record(1, {"policy/entropy": math.nan, "reward/mean": 0.5})
    run = RunRecord.load(folder.path)
    panels = [panel for pair in ASPECTS.values() for panel in pair]
    silent = [panel for panel in panels if texts_of(panel, run) != ["not recorded"]]
    assert silent == [plot_panels.reward_panel]


def test_a_panel_draws_every_measured_point_faint_below_the_smoothed_line(tmp_path):
    run = RunRecord.load(write_run(tmp_path, "points", 47))
    axes = Figure().subplots()
    plot_panels.entropy_panel(axes, run)
    raw, smoothed, sequence_mean = axes.lines
    np.testing.assert_array_equal(raw.get_ydata(), run.series("policy/entropy")[1])
    assert raw.get_alpha() < 0.5 and raw.get_linewidth() < smoothed.get_linewidth()
    window = plot_panels.smoothing_window(47)
    np.testing.assert_array_equal(smoothed.get_ydata(), plot_panels.smooth(raw.get_ydata(), window))
    assert sequence_mean.get_linestyle() == "--"


def test_the_covariance_panel_names_its_quantiles_at_their_heights(tmp_path):
    run = RunRecord.load(write_run(tmp_path, "quantiles", 5))
    axes = Figure().subplots()
    plot_panels.covariance_panel(axes, run)
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    for name, height in [("90 %", 0.07), ("99 %", 0.49), ("99.9 %", 3.43), ("max", 24.01)]:
        assert heights[name] == pytest.approx(height)


def test_runs_are_compared_in_one_picture(tmp_path):
    paths = [write_run(tmp_path, f"run{n}", 30 + n, seed=n) for n in range(8)]
    picture = draw_comparison(
        paths, tmp_path / "new/comparison.png", labels=[f"${n} a_b^{{" for n in range(8)]
    )
    assert picture == tmp_path / "new/comparison.png" and is_drawn(picture)
    assert all(metric in METRICS for metric, *_ in COMPARED)


def test_a_comparison_needs_runs_and_a_label_for_each(tmp_path):
    with pytest.raises(ValueError, match="got 0 runs, 0 labels"):
        draw_comparison([], tmp_path / "x.png")
    with pytest.raises(ValueError, match="got 1 runs, 2 labels"):
        draw_comparison([write_run(tmp_path, "one", 2)], tmp_path / "x.png", labels=["a", "b"])


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    draw_run(write_run(tmp_path, "settings", 2))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("num_points", "window"), [(0, 1), (19, 1), (20, 3), (100, 5), (200, 11), (1000, 51)]
)
def test_the_window_is_odd_and_a_twentieth_of_the_curve(num_points, window):
    assert plot_panels.smoothing_window(num_points) == window


def test_smoothing_over_one_point_changes_nothing():
    values = np.array([3.0, np.nan, -1.0, 7.5])
    np.testing.assert_array_equal(plot_panels.smooth(values, 1), values)


def test_smoothing_leaves_a_straight_line_straight_to_its_ends_even_with_gaps():
    line = 0.3 * np.arange(41.0) - 2.0
    np.testing.assert_allclose(plot_panels.smooth(line, 11), line, atol=1e-10)
    with_gaps = np.where(np.isin(np.arange(41), [0, 7, 8, 40]), np.nan, line)
    np.testing.assert_allclose(plot_panels.smooth(with_gaps, 11), line, atol=1e-10)


def test_smoothing_is_the_mean_of_the_window_within_the_curve():
    values = np.random.default_rng(0).normal(size=53)
    expected = [values[n - 3 : n + 4].mean() for n in range(3, 50)]
    np.testing.assert_allclose(plot_panels.smooth(values, 7)[3:50], expected, atol=1e-10)


def test_smoothing_does_not_bridge_a_gap_wider_than_the_window():
    values = np.ones(31)
    values[10:20] = np.nan
    smoothed = plot_panels.smooth(values, 5)
    assert np.isnan(smoothed[12:18]).all() and np.isfinite(smoothed[[11, 18]]).all()
