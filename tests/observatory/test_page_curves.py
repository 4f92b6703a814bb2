"""The numbers of the report's charts: which metrics, how many points, how many digits."""

import numpy as np
import pytest

from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.page.charts import plain
from entropy_rl.observatory.page.curves import (
    MAX_POINTS,
    Columns,
    brief,
    chart_data,
    expanded,
    names_of,
    short,
    thinned,
)
from entropy_rl.observatory.page.sections import SECTIONS
from tests.observatory.page_runs import write_run

CHARTS = [chart for section in SECTIONS for chart in section.charts]


@pytest.mark.parametrize(
    ("metric", "label", "found"),
    [
        ("heldout/pass@k", "pass@{}", [("heldout/pass@1", "pass@1"), ("heldout/pass@16", "pass@16")]),
        (
            "validation/NAME/mean@k",
            "{}",
            [("validation/aime.24/mean@4", "aime.24"), ("validation/amc/mean@4", "amc")],
        ),
        ("reward/mean", "reward", [("reward/mean", "reward")]),
        ("reward/m", "nothing", []),
    ],
)
def test_a_line_stands_for_all_metrics_of_its_name(metric, label, found):
    names = ["step", "heldout/pass@1", "heldout/pass@16", "heldout/greedy_accuracy", "reward/mean"]
    names += [
        "validation/aime.24/mean@4",
        "validation/amc/mean@4",
        "validation/amc/pass@4",
        "validation/mean",
    ]
    assert expanded(plain(metric, label, "blue"), names) == found


def test_metrics_in_an_order_have_colours_in_an_order(tmp_path):
    row = {"step": 1, "heldout/accuracy": 0.1, "heldout/pass@2": 0.2, "heldout/pass@8": 0.3}
    run = RunRecord.load(write_run(tmp_path / "run", [row]))
    chart = next(chart for chart in CHARTS if chart.key == "heldout")
    lines = chart_data(chart, run, names_of(run), Columns())["lines"]
    assert [(line["label"], line["colour"]) for line in lines] == [
        ("accuracy", "blue"), ("pass@2", "cov-1"), ("pass@8", "cov-2")
    ]  # fmt: skip


def test_lines_that_coincide_are_drawn_once(tmp_path):
    rows = [{"step": n, "reward/mean": n / 7, "reward/pass_rate": n / 7} for n in range(1, 6)]
    run = RunRecord.load(write_run(tmp_path / "run", rows))
    reward = next(chart for chart in CHARTS if chart.key == "reward")
    (line,) = chart_data(reward, run, names_of(run), Columns())["lines"]
    assert line["label"] == "reward = pass rate"


def test_an_objective_that_selects_nothing_has_no_chart_of_selected_tokens(tmp_path):
    chart = next(chart for chart in CHARTS if chart.key == "selected")
    for selected, lines in ((0, None), (3, 1)):
        rows = [{"step": n, "selection/selected": selected, "selection/quota": 0} for n in range(1, 6)]
        run = RunRecord.load(write_run(tmp_path / str(selected), rows))
        data = chart_data(chart, run, names_of(run), Columns())
        assert (data and len(data["lines"])) == lines


def test_a_short_curve_stays_as_it_is_and_a_long_one_keeps_its_mean_and_its_end():
    steps, values = np.arange(1, 12), np.linspace(0, 1, 11)
    assert thinned(steps, values) == (steps.tolist(), [short(value) for value in values])
    steps = np.arange(1, 5 * MAX_POINTS + 1)
    values = np.where(steps % 5 == 0, np.nan, 2.0 * steps)
    x, y = thinned(steps, values)
    assert len(x) == len(y) == MAX_POINTS and x[-1] == steps[-1]
    # A stretch holds 1, 2, 3, 4 and an unknown: twice their mean is 5, and 10 more a stretch.
    assert y[:3] == [5, 15, 25]


def test_numbers_are_short_and_what_json_lacks_is_null():
    assert [short(v) for v in (0.123456, 2.0, -0.0, 123456.0, 1e-7)] == [0.1235, 2, 0, 123500, 1e-7]
    assert short(float("nan")) is None and short(float("-inf")) is None and short(None) is None


def test_numbers_of_tokens_are_briefer_still():
    assert [brief(v) for v in (0.123456, 12.3456, 0.0000123, -1e-9, None)] == [0.123, 12.3, 0.00001, 0, None]
    assert brief(float("nan")) is None and brief(float("inf")) is None


def test_equal_columns_are_kept_once():
    columns = Columns()
    assert [columns.place_of(c) for c in ([1, 2], [3, None], [1, 2])] == [0, 1, 0]
    assert columns.columns == [[1, 2], [3, None]]
