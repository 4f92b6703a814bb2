"""Pictures of one run, of many, of histories, of runs that hold little; the command that draws them."""

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from entropy_rl.cli import main
from entropy_rl.observability.metric_names import metric_of
from entropy_rl.observability.plot_panels import COVARIANCE_LEVELS
from entropy_rl.observability.plots import legend_of_runs
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory import pictures
from entropy_rl.observatory.theory import TheoryCheck
from entropy_rl.observatory.theory_pictures import (
    draw_theory,
    theory_against_each_other,
    theory_over_steps,
)
from tests.observatory.law_runs import write_rows

OF_ONE = ["covariance", "entropy", "law", "length", "overview", "residuals", "reward", "statistics", "theory"]
OF_SEVERAL = ["covariance", "curves", "entropy", "law", "length", "statistics", "theory"]


def rows(num_steps: int, seed: int) -> list[dict]:
    """What a run records, as far as pictures show it."""
    random = np.random.default_rng(seed)
    made = []
    for step in range(1, num_steps + 1):
        entropy = 0.1 + 0.5 * np.exp(-step / 10) + 0.01 * random.random()
        row = {"policy/entropy": entropy, "reward/mean": 0.9 - 0.3 * np.exp(entropy), "length/mean": 11.0}
        row |= {"length/min": 3, "length/max": 29, "length/truncated_fraction": 0.01 * random.random()}
        row |= {f"covariance/{level}": 0.01 * 7**n for n, level in enumerate(COVARIANCE_LEVELS)}
        row |= {"covariance/mean": 0.03, "heldout/accuracy": 0.5 - 0.2 * entropy}
        if step % 5 == 0:
            change = -0.01 * random.random()
            row |= {"theory/entropy_change": change, "theory/lemma1": 0.9 * change}
            row |= {"theory/theorem1_covariance": -2 * change, "theory/theorem2_covariance": change**2}
        made.append({"step": step} | row)
    return made


def is_drawn(path) -> bool:
    """Whether it is a picture of some size in which at least one in 200 dots is not white."""
    picture = imread(path)
    return min(picture.shape[:2]) > 200 and (picture[..., :3].min(axis=-1) < 0.9).mean() > 0.005


def names_in(folder) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.png"))


def plot(*args: object) -> None:
    main(["plot", *map(str, args)])


def test_a_run_still_being_written_is_drawn_into_its_own_folder(tmp_path, capsys):
    run = write_rows(tmp_path / "one", rows(23, seed=0))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 24, "policy/entr')
    plot(run)
    assert names_in(run / "plots") == OF_ONE and all(is_drawn(path) for path in (run / "plots").iterdir())
    assert "overview.png" in capsys.readouterr().out


def test_runs_found_below_a_folder_are_drawn_over_each_other_with_a_table(tmp_path, capsys):
    for number, name in enumerate(["b", "a"]):
        write_rows(tmp_path / "runs" / name, rows(23 + number, seed=number))
    settings = dict(matplotlib.rcParams)
    plot(tmp_path / "runs", "--labels", "first", "second", "--output", tmp_path / "out")
    assert dict(matplotlib.rcParams) == settings  # drawing leaves those of matplotlib alone
    assert names_in(tmp_path / "out") == OF_SEVERAL
    assert all(is_drawn(tmp_path / "out" / f"{name}.png") for name in OF_SEVERAL)
    printed = capsys.readouterr().out
    assert "| first | 24 |" in printed and "| second | 23 |" in printed  # of a and of b
    assert list(json.loads((tmp_path / "out/comparison.json").read_text())) == ["first", "second"]


def test_histories_and_a_run_without_steps_get_their_entropy_and_its_statistics(tmp_path, capsys):
    for name, scale in [("deep", 1.0), ("wide", 0.5)]:
        history = [{"step": step, "entropy": scale / step} for step in range(1, 6)]
        (tmp_path / f"entropy_history_{name}.json").write_text(json.dumps(history))
    write_rows(tmp_path / "fresh", [])
    plot(tmp_path, "--output", tmp_path / "out")
    assert names_in(tmp_path / "out") == [name for name in OF_SEVERAL if name != "theory"]
    assert all(is_drawn(path) for path in (tmp_path / "out").glob("*.png"))
    printed = capsys.readouterr().out
    assert "| deep | 5 | 0.00 | 1 -> 0.2 | - | - | - | - |" in printed
    assert "| fresh | 0 | 0.00 | - | - | - | - | - |" in printed


@pytest.mark.parametrize("num_steps", [0, 1, 5])
def test_runs_too_short_for_a_law_get_its_picture_all_the_same(tmp_path, num_steps):
    run = RunRecord.load(write_rows(tmp_path / "short", rows(num_steps, seed=0)))
    (drawn,) = pictures._draw_law_of_one(run, tmp_path)
    assert drawn.name == "law.png" and is_drawn(drawn)


def test_bars_are_as_long_as_the_statistics_they_show():
    record = dict(path=Path(), config={})
    entropies = [("one", [0.5, 0.25, None]), ("two", [0.125]), ("none", [])]
    runs = [
        RunRecord(
            **record, name=name, rows=tuple({"step": n, "policy/entropy": v} for n, v in enumerate(values))
        )
        for name, values in entropies
    ]
    figure = pictures._statistics_figure(runs)
    widths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    assert widths == [[0.375, 0.125, 0], [0.5, 0.125, 0], [0.25, 0.125, 0]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.375", "0.125", "not recorded"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two", "none"]


def test_laws_are_drawn_of_the_best_measure_that_all_runs_have(tmp_path):
    full = RunRecord.load(write_rows(tmp_path / "full", rows(23, seed=0)))
    rarely = [row | {"heldout/accuracy": None} for row in rows(23, seed=1)]
    other = RunRecord.load(write_rows(tmp_path / "rarely", rarely))
    bare = RunRecord.load(write_rows(tmp_path / "bare", [{"step": 1, "policy/entropy": 0.5}]))
    assert pictures.common_measure([full]) == "heldout/accuracy"
    assert pictures.common_measure([full, other]) == "reward/mean"
    assert pictures.common_measure([full, bare]) == "reward/mean"
    assert pictures.common_measure([bare]) is None
    axes = Figure().subplots()
    assert pictures._law_of_run(axes, bare, "reward/mean", "red", "-") == ": no reward/mean"
    said = pictures._law_of_run(axes, other, "reward/mean", "red", "-")
    assert said.startswith(": R = 0.9 \u2212 0.3 exp(H)")
    law, extrapolated = axes.lines
    np.testing.assert_allclose(law.get_ydata(), 0.9 - 0.3 * np.exp(law.get_xdata()))
    assert extrapolated.get_xdata()[0] == 0 and extrapolated.get_ydata()[0] == pytest.approx(0.6)


def test_the_theory_is_drawn_as_changes_of_the_steps_that_recorded_it(tmp_path):
    run = RunRecord.load(write_rows(tmp_path / "run", rows(23, seed=0)))
    left, right = Figure().subplots(1, 2)
    theory_over_steps(left, "run", TheoryCheck.of(run))
    theory_against_each_other(right, TheoryCheck.of(run))
    _, measured, predicted = left.lines
    changes = run.series("theory/entropy_change")[1]
    assert list(measured.get_xdata()) == [5, 10, 15, 20]
    np.testing.assert_allclose(measured.get_ydata(), changes)
    np.testing.assert_allclose(predicted.get_ydata(), 0.9 * changes)
    assert right.get_title(loc="right") == "correlation 1.000, slope 1.11"
    np.testing.assert_allclose(right.collections[0].get_offsets(), np.stack([0.9 * changes, changes], 1))
    bare = RunRecord.load(write_rows(tmp_path / "bare", [{"step": 1}]))
    assert draw_theory([bare], tmp_path) == []


def test_all_that_is_drawn_is_in_the_legend_of_metrics():
    assert all(metric_of(name) for name, *_ in pictures.CURVES)


@pytest.mark.parametrize(("length", "num_columns"), [(5, 4), (30, 3), (90, 1)])
def test_legends_of_long_labels_have_fewer_columns(length, num_columns):
    figure = Figure(figsize=(11.0, 3.0))
    legend_of_runs(figure, [str(number) * length for number in range(5)])
    (legend,) = figure.legends
    assert len(legend.texts) == 5 and legend._ncols == num_columns
