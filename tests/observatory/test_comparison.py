"""Runs beside each other: the table says where each began and ended."""

import json

import pytest

from entropy_rl.observability.metric_names import metric_of
from entropy_rl.observatory.comparison import COLUMNS, with_start, write_comparison
from entropy_rl.observatory.sources import find_runs, labelled
from tests.observatory.law_runs import write_rows


@pytest.fixture
def runs(tmp_path):
    first = [
        {"policy/entropy": 0.5, "seconds/step": 1800.0},
        {"policy/entropy": 0.25, "seconds/step": 1800.0, "heldout/accuracy": 0.75},
        {"policy/entropy": 0.125, "seconds/step": 3600.0, "heldout/accuracy": 0.5},
    ]
    for name, rows in (("one", first), ("two", [{"policy/entropy": 0.5}])):
        write_rows(tmp_path / "runs" / name, [{"step": n} | row for n, row in enumerate(rows, start=1)])
    return tmp_path / "runs"


def test_a_table_says_where_each_run_began_ended_and_was_best(runs, tmp_path):
    table = write_comparison(labelled(find_runs([runs]), ("A", "B")), tmp_path / "new").splitlines()
    assert table[2] == "| A | 3 | 2.00 | 0.5 -> 0.125 | - | 0.75 at 2 -> 0.5 (best 0.75 at 2) | - | - |"
    assert table[3] == "| B | 1 | 0.00 | 0.5 -> 0.5 | - | - | - | - |"
    assert (tmp_path / "new/comparison.md").read_text().splitlines() == table
    numbers = json.loads((tmp_path / "new/comparison.json").read_text())
    assert numbers["A"]["steps"] == 3 and numbers["A"]["heldout/accuracy"]["last"] == 0.5


def test_held_out_figures_begin_with_the_policy_all_started_from_and_say_where_they_end(runs, tmp_path):
    start = tmp_path / "start.json"
    start.write_text(json.dumps({"accuracy": 0.125, "pass@4": 0.25}))
    with (runs / "one/metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "policy/entropy": 0.0625}) + "\n")
    begun = tmp_path / "begun"
    table = write_comparison(with_start(find_runs([runs]), start), begun).splitlines()
    assert "| one | 4 | 2.00 | 0.5 -> 0.0625 | - | 0.125 -> 0.5 at 3 (best 0.75 at 2) |" in table[2]
    assert "| two | 1 | 0.00 | 0.5 -> 0.5 | - | 0.125 -> 0.125 at 0 |" in table[3]
    assert json.loads((begun / "comparison.json").read_text())["two"]["heldout/accuracy"]["first"] == 0.125


def test_what_is_compared_is_in_the_legend_of_metrics():
    assert all(metric_of(name) for name in COLUMNS)
