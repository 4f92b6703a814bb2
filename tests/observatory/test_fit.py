"""The command fit: what it prints and writes, of sound runs and of doubtful ones."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from entropy_rl.cli import main
from entropy_rl.observability.json_files import write_json
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.law import Course, Law
from entropy_rl.observatory.law_report import law_summary
from tests.observatory.law_runs import A, B, course, write_rows, write_run


def fit(*args: object) -> None:
    main(["fit", *map(str, args)])


def test_a_fit_prints_and_writes_the_law_and_its_prediction(tmp_path, capsys):
    run = write_run(tmp_path / "lawful", course(61, deviation=0.004))
    fit(run, "--first", 20)
    printed = capsys.readouterr().out
    assert (
        "R is reward/mean: 61 points, steps 1 to 61" in printed and "warning" not in printed.split("first")[0]
    )
    assert "predicts steps 21 to 61 from their entropies, 41 points: RMSE 0.00" in printed
    summary = json.loads((run / "law/law.json").read_text())
    law, prediction = summary["law"], summary["prediction"]
    for name, truth in [("a", A), ("b", B), ("ceiling", B - A)]:
        assert law[name]["low"] <= law[name]["value"] <= law[name]["high"]
        assert law[name]["value"] == pytest.approx(truth, abs=0.03)
    assert (law["measure"], law["num_points"], law["doubts"]) == ("reward/mean", 61, [])
    assert prediction["law"]["last_step"] == 20 and prediction["steps"] == list(range(21, 62))
    errors = np.subtract(prediction["predicted"], prediction["measured"])
    assert prediction["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert prediction["last_error"] == pytest.approx(errors[-1])
    pictures = [imread(run / "law" / f"{name}.png") for name in ("law", "residuals", "prediction")]
    assert all((picture[..., :3].min(axis=-1) < 0.9).mean() > 0.01 for picture in pictures)


def test_a_fit_without_first_steps_predicts_nothing(tmp_path):
    run = write_run(tmp_path / "lawful", course(31))
    fit(run, "--output", tmp_path / "a/b")
    assert json.loads((tmp_path / "a/b/law.json").read_text())["prediction"] is None
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == [
        "law.json",
        "law.png",
        "residuals.png",
    ]
    assert not (run / "law").exists()


def test_a_doubtful_fit_warns(tmp_path, capsys):
    rows = [{"step": n, "policy/entropy": 0.3 + 0.1 * n, "reward/mean": 0.1 * n} for n in range(8)]
    fit(write_rows(tmp_path / "rising", rows))
    printed = capsys.readouterr().out
    assert "warning: the interval of a, " in printed and "warning: 8 points are few" in printed
    doubts = json.loads((tmp_path / "rising/law/law.json").read_text())["law"]["doubts"]
    assert len(doubts) == printed.count("warning: ") >= 2


def test_a_run_whose_success_never_differs_leaves_readable_json(tmp_path):
    rows = [{"step": n, "policy/entropy": 0.3 + 0.1 * n, "reward/mean": 0.25} for n in range(9)]
    flat = Course.of(RunRecord.load(write_rows(tmp_path / "flat", rows)))
    write_json(tmp_path / "law.json", law_summary(Law.of(flat, num_resamples=20)))
    assert json.loads((tmp_path / "law.json").read_text())["explained"] is None


def test_another_measure_can_be_named(tmp_path):
    rows = [
        {
            "step": n,
            "policy/entropy": 1 / n,
            "reward/mean": 0.1,
            "reward/pass_rate": 0.9 - 0.1 * np.exp(1 / n),
        }
        for n in range(1, 24)
    ]
    run = write_rows(tmp_path / "named", rows)
    fit(run, "--measure", "reward/pass_rate")
    law = json.loads((run / "law/law.json").read_text())["law"]
    assert law["measure"] == "reward/pass_rate" and law["a"]["value"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("num_points", "args", "message"),
    [
        (5, [], "at least 8 steps with both policy/entropy and reward/mean, got 5"),
        (23, ["--first", "3"], "up to step 3 and one after it, got 3 and 20"),
        (
            23,
            ["--measure", "reward/unknown"],
            "both policy/entropy and reward/unknown, got none of the 23 rows",
        ),
    ],
)
def test_what_cannot_be_fitted_is_an_error_that_says_why(tmp_path, capsys, num_points, args, message):
    run = write_run(tmp_path / "run", course(num_points))
    with pytest.raises(SystemExit, match="2"):
        fit(run, *args)
    assert message in capsys.readouterr().err
