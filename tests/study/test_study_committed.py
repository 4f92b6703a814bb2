"""The table in docs/entropy_study is what the curves beside it say."""

import json
from pathlib import Path

import pytest

from entropy_rl.study.curves import load_runs
from entropy_rl.study.design import load_study
from entropy_rl.study.results import choose
from entropy_rl.study.table import claim_lines, standing_lines, tuning_lines

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "docs/entropy_study"


@pytest.fixture(scope="module")
def study():
    return load_study(ROOT / "configs/studies/entropy.py")


def test_the_committed_settings_are_those_that_the_rule_chooses(study):
    tuning = json.loads((OUTPUT / "tuning.json").read_bytes())
    tuned = choose(study, load_runs(OUTPUT / "development.json"))
    assert (tuned["rule"], tuned["chosen"]) == (tuning["rule"], tuning["chosen"])
    for method, scores in tuned["scores"].items():
        for setting, score in scores.items():
            assert score == pytest.approx(tuning["scores"][method][setting], rel=1e-4), (method, setting)


def test_the_committed_table_is_what_the_committed_curves_say(study):
    table, runs = (OUTPUT / "table.md").read_text(), load_runs(OUTPUT / "final.json")
    tuning = json.loads((OUTPUT / "tuning.json").read_bytes())
    for lines in (standing_lines(study, runs), claim_lines(study, runs), tuning_lines(tuning)):
        assert "\n".join(lines) in table


def test_final_runs_were_made_in_the_chosen_settings_on_the_seeds_of_the_study(study):
    chosen = json.loads((OUTPUT / "tuning.json").read_bytes())["chosen"]
    planned = [(run.method, run.setting, run.seed) for run in study.final_runs(Path("runs"), chosen)]
    assert planned == [(run.method, run.setting, run.seed) for run in load_runs(OUTPUT / "final.json")]


def test_what_is_committed_is_small():
    assert sum(path.stat().st_size for path in OUTPUT.iterdir()) < 2**20
