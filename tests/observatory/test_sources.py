"""Runs and histories are found, named apart, labelled; what is none is refused."""

import json

import numpy as np
import pytest

from entropy_rl.observatory.sources import find_runs, labelled, read_history
from tests.observatory.law_runs import write_rows


def write_history(folder, name: str, points) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"entropy_history_{name}.json").write_text(json.dumps(points))
    return folder / f"entropy_history_{name}.json"


ROW = {"step": 1, "policy/entropy": 0.5}


def test_runs_and_histories_are_found_at_any_depth_in_the_order_of_their_paths(tmp_path):
    write_rows(tmp_path / "b/deep/two", [ROW])
    write_rows(tmp_path / "a", [ROW])
    write_history(tmp_path / "c/models", "three", [{"step": 1, "entropy": 0.25}])
    (tmp_path / "c/notes.json").write_text("{}")
    assert [run.name for run in find_runs([tmp_path])] == ["a", "two", "three"]
    assert [run.name for run in find_runs([tmp_path / "c", tmp_path / "b", tmp_path / "b"])] == [
        "three",
        "two",
    ]


def test_the_folder_of_a_run_is_that_run_and_not_searched(tmp_path):
    run = write_rows(tmp_path / "run", [ROW])
    write_rows(run / "warm_start", [ROW])
    assert [found.path for found in find_runs([run])] == [run]


def test_a_run_that_is_found_is_found_once_though_it_keeps_its_history(tmp_path):
    run = write_rows(tmp_path / "runs/one", [ROW])
    write_history(run, "one", [{"step": 1, "entropy": 0.5}])
    write_rows(run / "warm_start", [ROW])
    assert [found.path for found in find_runs([tmp_path])] == [run]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("x/seed_0/grpo", "x/seed_1/grpo", "y/seed_1/grpo", "x/seed_0/kl_cov"):
        write_rows(tmp_path / folder, [ROW])
    names = [run.name for run in find_runs([tmp_path])]
    assert names == ["seed_0/grpo", "kl_cov", "x/seed_1/grpo", "y/seed_1/grpo"]


def test_a_history_is_a_run_that_recorded_its_entropy(tmp_path):
    points = [{"step": 3, "entropy": 0.25}, {"step": 1, "entropy": 0.5}, {"step": 2, "entropy": None}]
    points += [{"step": 4, "entropy": float("nan")}, {"step": 3, "entropy": 0.125}]  # as after a resume
    run = read_history(write_history(tmp_path, "llama_8b", points))
    steps, entropies = run.series("policy/entropy")
    assert run.name == "llama_8b" and list(steps) == [1, 2, 3, 4]
    np.testing.assert_array_equal(entropies, [0.5, np.nan, 0.125, np.nan])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "must be JSON"),
        ('{"step": 1}', "must be an array"),
        ('[{"step": 1, "entropy": "low"}]', "must be an array"),
        ("[3]", "must be an array"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path, text, message):
    path = tmp_path / "entropy_history_x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_history(path)


def test_a_folder_that_holds_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at or below .*, got neither; give a folder"):
        find_runs([tmp_path])
    with pytest.raises(ValueError, match="got nothing there"):
        find_runs([tmp_path / "missing"])


def test_labels_must_be_one_a_run_and_differ(tmp_path):
    for name in ("a", "b", "c"):
        write_rows(tmp_path / name, [ROW])
    runs = find_runs([tmp_path])
    assert [run.name for run in labelled(runs, ())] == ["a", "b", "c"]
    assert [run.name for run in labelled(runs, ("x", "y", "z"))] == ["x", "y", "z"]
    with pytest.raises(ValueError, match=r"one label for each of 3 runs \(a, b, c\), got 2; give 3 in this"):
        labelled(runs, ("x", "y"))
    with pytest.raises(ValueError, match="labels must differ, got x, y, x"):
        labelled(runs, ("x", "y", "x"))
