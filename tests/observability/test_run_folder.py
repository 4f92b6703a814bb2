"""A run's folder: what it holds, that it survives a kill, and that resuming drops exactly what is later."""

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from entropy_rl.observability.run_folder import RunFolder, run_exists, validate_name
from entropy_rl.observability.run_record import RunRecord, read_rows

REPOSITORY = Path(__file__).resolve().parents[2]


def metrics_at(step: int) -> dict:
    return {"policy/entropy": 1.0 / step, "reward/mean": step / 7, "length/max": 10 + step}


def write_steps(run: RunFolder, steps: range) -> None:
    for step in steps:
        run.record(step, metrics_at(step))


def read_events(folder: Path) -> list[Event]:
    """The events of all files in the order of their names; each record: length, crc, bytes, crc."""
    events = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            events.append(Event.FromString(content[at + 12 : at + 12 + length]))
            at += length + 16
    return events


def test_a_step_is_a_row_a_history_entry_and_a_tensorboard_event(tmp_path):
    with RunFolder.create(tmp_path, "first", {"seed": 3}) as run:
        run.record(1, {"policy/entropy": 0.5, "reward/mean": 0.25})
        assert read_rows(run.path / "metrics.jsonl") == [
            {"step": 1, "policy/entropy": 0.5, "reward/mean": 0.25}
        ]
        assert json.loads((run.path / "entropy_history_first.json").read_bytes()) == [
            {"step": 1, "entropy": 0.5}
        ]
        event = read_events(run.path / "tensorboard")[-1]
    assert event.step == 1
    assert {value.tag: value.simple_value for value in event.summary.value} == {
        "policy/entropy": 0.5,
        "reward/mean": 0.25,
    }
    assert json.loads((tmp_path / "first/config.json").read_text()) == {"seed": 3}


def test_the_history_is_an_empty_array_before_the_first_step(tmp_path):
    with RunFolder.create(tmp_path, "empty", {}) as run:
        assert json.loads(run.history_path.read_text()) == []


def test_numbers_that_json_lacks_become_null(tmp_path):
    def no_constant(token):
        raise AssertionError(f"{token} is no JSON")

    values = {"policy/entropy": math.nan, "a": -math.inf, "b": np.float32("inf"), "c": None}
    with RunFolder.create(tmp_path, "nan", {"limit": math.inf}) as run:
        run.record(1, values)
        run.finish({"oddity": math.nan})
    for path in (tmp_path / "nan").glob("*.json*"):
        for line in [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines():
            json.loads(line, parse_constant=no_constant)
    assert read_rows(tmp_path / "nan/metrics.jsonl") == [{"step": 1} | dict.fromkeys(values)]
    assert json.loads(run.history_path.read_bytes()) == [{"step": 1, "entropy": None}]


def test_scalars_of_numpy_and_arrays_of_no_dimension_are_numbers(tmp_path):
    with RunFolder.create(tmp_path, "numpy", {}) as run:
        run.record(1, {"a": np.int32(7), "b": np.float32(0.5), "c": np.array(2.5), "d": np.bool_(True)})
    assert read_rows(tmp_path / "numpy/metrics.jsonl") == [{"step": 1, "a": 7, "b": 0.5, "c": 2.5, "d": 1}]


@pytest.mark.parametrize("value", ["0.5", np.zeros(3), 1j, [1.0]], ids=["text", "vector", "complex", "list"])
def test_a_metric_that_is_no_single_number_is_an_error_naming_it(tmp_path, value):
    with RunFolder.create(tmp_path, "bad", {}) as run:
        with pytest.raises(ValueError, match="reward/mean"):
            run.record(1, {"reward/mean": value})
        run.record(1, {"reward/mean": 0.5})
    assert len(read_rows(tmp_path / "bad/metrics.jsonl")) == 1


def test_steps_must_increase(tmp_path):
    with RunFolder.create(tmp_path, "order", {}) as run:
        write_steps(run, range(1, 4))
        with pytest.raises(ValueError, match="steps must increase, got 3 after 3"):
            run.record(3, metrics_at(3))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "../x", "-x", ".x", "a b", "a\n", "x" * 101, "$x"]
)
def test_names_that_are_no_plain_file_names_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="a run's name must be"):
        RunFolder.create(tmp_path, name, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "kl_cov-seed1", "7b.v2", "x" * 100])
def test_plain_file_names_are_accepted(name):
    assert validate_name(name) == name


def test_an_existing_run_is_not_touched_unless_asked(tmp_path):
    with RunFolder.create(tmp_path, "kept", {"seed": 1}) as run:
        write_steps(run, range(1, 3))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="choose another name, resume that run, or overwrite it"):
        RunFolder.create(tmp_path, "kept", {"seed": 2})
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_overwriting_removes_what_the_run_left_and_nothing_else(tmp_path):
    with RunFolder.create(tmp_path, "again", {"seed": 1}) as run:
        write_steps(run, range(1, 4))
        (run.path / "checkpoints/3").mkdir(parents=True)
        (run.path / "notes.txt").write_text("mine")
        run.finish()
    with RunFolder.create(tmp_path, "again", {"seed": 2}, overwrite=True) as run:
        run.record(1, metrics_at(1))
    assert [row["step"] for row in read_rows(run.path / "metrics.jsonl")] == [1]
    assert json.loads(run.history_path.read_bytes()) == [{"step": 1, "entropy": 1.0}]
    assert not (run.path / "summary.json").exists()
    assert not (run.path / "checkpoints/3").exists()
    assert (run.path / "notes.txt").read_text() == "mine"
    assert {event.step for event in read_events(run.path / "tensorboard")} == {0, 1}


def test_a_folder_that_holds_no_run_may_be_used(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new/launch.log").write_text("started")
    assert not run_exists(tmp_path, "new")
    with RunFolder.create(tmp_path, "new", {}):
        assert run_exists(tmp_path, "new")


def test_resuming_nothing_and_resuming_while_overwriting_are_errors(tmp_path):
    with pytest.raises(ValueError, match="a run to resume must exist"):
        RunFolder.create(tmp_path, "absent", {}, resume_step=3)
    assert not (tmp_path / "absent").exists()
    with pytest.raises(ValueError, match="either resumed or overwritten"):
        RunFolder.create(tmp_path, "absent", {}, resume_step=3, overwrite=True)


def test_a_resumed_run_leaves_the_same_rows_as_one_that_never_stopped(tmp_path):
    with RunFolder.create(tmp_path, "whole", {}) as whole:
        write_steps(whole, range(1, 12))
    with RunFolder.create(tmp_path, "broken", {}) as run:
        write_steps(run, range(1, 8))
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 8, "policy/entr')  # what a kill in the midst of a write leaves
    with RunFolder.create(tmp_path, "broken", {}, resume_step=5) as run:
        assert run.last_step == 5
        write_steps(run, range(6, 12))
    for left, right in [
        ("metrics.jsonl",) * 2,
        ("entropy_history_whole.json", "entropy_history_broken.json"),
    ]:
        assert (whole.path / left).read_bytes() == (run.path / right).read_bytes()


def test_resuming_tells_tensorboard_to_forget_the_later_steps(tmp_path):
    with RunFolder.create(tmp_path, "tb", {}) as run:
        write_steps(run, range(1, 8))
    with RunFolder.create(tmp_path, "tb", {}, resume_step=5) as run:
        write_steps(run, range(6, 8))
    events = read_events(run.path / "tensorboard")
    starts = [at for at, event in enumerate(events) if event.HasField("session_log")]
    assert [events[at].step for at in starts] == [6]
    assert events[starts[0]].session_log.status == 1  # SessionLog.START
    assert [event.step for event in events[: starts[0]] if event.HasField("summary")] == [1, 2, 3, 4, 5, 6, 7]
    assert [event.step for event in events[starts[0] :] if event.HasField("summary")] == [6, 7]


def test_a_run_that_comes_from_another_machine_brings_its_rows(tmp_path):
    with RunFolder.create(tmp_path / "first", "run", {}) as run:
        write_steps(run, range(1, 6))
        rows = read_rows(run.path / "metrics.jsonl")
    with RunFolder.create(tmp_path / "second", "run", {}, resume_step=5, resume_rows=rows) as again:
        pass
    for name in ("metrics.jsonl", "entropy_history_run.json"):
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes()
    events = [read_events(one.path / "tensorboard") for one in (run, again)]
    told = [[(e.step, e.summary) for e in some if e.HasField("summary")] for some in events]
    assert told[0] == told[1] and len(told[0]) == 5


def test_a_finished_run_that_is_resumed_is_not_finished_any_more(tmp_path):
    with RunFolder.create(tmp_path, "longer", {"steps": 2}) as run:
        write_steps(run, range(1, 3))
        run.finish()
    with RunFolder.create(tmp_path, "longer", {"steps": 9}, resume_step=2) as run:
        assert not (run.path / "summary.json").exists()
    assert json.loads((run.path / "config.json").read_text()) == {"steps": 9}
    assert json.loads((run.path / "config_until_step_2.json").read_text()) == {"steps": 2}


def test_a_history_that_was_lost_is_made_again_from_the_rows(tmp_path):
    with RunFolder.create(tmp_path, "lost", {}) as run:
        write_steps(run, range(1, 4))
    expected = run.history_path.read_bytes()
    run.history_path.unlink()
    with RunFolder.create(tmp_path, "lost", {}, resume_step=3) as run:
        assert run.history_path.read_bytes() == expected


def test_rows_that_are_missing_on_resume_are_warned_of(tmp_path):
    with RunFolder.create(tmp_path, "gap", {}) as run:
        write_steps(run, range(1, 4))
    with pytest.warns(UserWarning, match="last row is of step 3, but the run resumes after step 5"):
        RunFolder.create(tmp_path, "gap", {}, resume_step=5).close()


def test_a_broken_line_before_the_last_one_is_an_error_with_its_place(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "a"\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl:2: a line must be a JSON object"):
        read_rows(path)


@pytest.mark.parametrize("tail", [b"", b"\n", b'{"step": 3', b'{"step": 3, "a": \xff\n', b"\0\0\0\n", b"3\n"])
def test_a_torn_last_line_is_left_out(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + tail)
    assert [row["step"] for row in read_rows(path)] == [1, 2]


def test_the_summary_tells_first_last_and_best(tmp_path):
    with RunFolder.create(tmp_path, "sum", {}) as run:
        for step, (reward, seconds) in enumerate(
            [(0.2, 3.0), (math.nan, 1.0), (0.6, 2.0), (0.5, 2.0)], start=1
        ):
            run.record(step, {"reward/mean": reward, "seconds/step": seconds, "policy/entropy": 1 / step})
        summary = run.finish({"wall_seconds": 8.5})
    assert json.loads((run.path / "summary.json").read_text()) == summary
    assert (summary["num_steps"], summary["last_step"], summary["wall_seconds"]) == (4, 4, 8.5)
    reward = {"first": 0.2, "last": 0.5, "lowest": 0.2, "highest": 0.6, "best": 0.6, "best_step": 3}
    assert summary["metrics"]["reward/mean"] == reward
    assert (summary["metrics"]["seconds/step"]["best"], summary["metrics"]["seconds/step"]["best_step"]) == (
        1.0,
        2,
    )
    assert summary["metrics"]["policy/entropy"]["best"] is None


def test_a_dataclass_in_the_configuration_keeps_the_name_of_its_class(tmp_path):
    @dataclass(frozen=True)
    class KLCov:
        fraction: float = 2e-3

    with RunFolder.create(tmp_path, "kind", {"objective": KLCov(), "paths": (Path("a"),)}) as run:
        written = json.loads((run.path / "config.json").read_text())
    assert written == {"objective": {"kind": "KLCov", "fraction": 2e-3}, "paths": ["a"]}


def test_a_record_reads_a_live_run(tmp_path):
    with RunFolder.create(tmp_path, "live", {"seed": 5}) as run:
        run.record(1, {"a": 1.5})
        run.record(3, {"a": math.nan, "b": 2})
        record = RunRecord.load(run.path)
    assert (record.name, record.config) == ("live", {"seed": 5})
    steps, values = record.series("a")
    np.testing.assert_array_equal(steps, [1, 3])
    np.testing.assert_array_equal(values, [1.5, np.nan])
    assert [list(array) for array in record.series("b")] == [[3], [2.0]]
    assert record.series("absent")[0].size == 0
    with pytest.raises(ValueError, match="a run's folder must hold metrics.jsonl"):
        RunRecord.load(tmp_path)


ENDLESS_WRITER = """
import itertools, sys
sys.modules["torch"] = None  # tensorboardX would load it where it is installed, and take a second
from entropy_rl.observability.run_folder import RunFolder
root, resume_step = sys.argv[1], int(sys.argv[2])
with RunFolder.create(root, "victim", {}, resume_step=resume_step or None) as run:
    assert "jax" not in sys.modules
    for step in itertools.count(resume_step + 1):
        run.record(step, {"policy/entropy": 1.0 / step, "reward/mean": step / 7, "length/max": 10 + step})
"""


@pytest.mark.parametrize("num_lives", [3])
def test_the_files_parse_at_every_moment_of_runs_that_are_killed_and_resumed(tmp_path, num_lives):
    path = tmp_path / "victim/entropy_history_victim.json"
    resume_step = 0
    for life in range(num_lives):
        command = [sys.executable, "-c", ENDLESS_WRITER, str(tmp_path), str(resume_step)]
        child = subprocess.Popen(command, cwd=REPOSITORY)
        try:
            last_seen = watch(path, child, target=resume_step + 60 + 17 * life)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        assert child.returncode == -signal.SIGKILL
        check_consistent(tmp_path / "victim", at_least=last_seen)
        resume_step = last_seen - 13  # as if the last checkpoint were some steps old
    with RunFolder.create(tmp_path, "victim", {}, resume_step=resume_step) as run:
        assert [row["step"] for row in read_rows(run.path / "metrics.jsonl")] == list(
            range(1, resume_step + 1)
        )
        assert not list(run.path.glob(".*.tmp"))


def watch(path: Path, child: subprocess.Popen, *, target: int) -> int:
    """Reads the history without pause until it holds `target` steps; every read must be a whole array."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert child.poll() is None, "the writer ended by itself"
        if path.exists():
            entries = json.loads(path.read_text())
            assert [entry["step"] for entry in entries] == list(range(1, len(entries) + 1))
            if len(entries) >= target:
                return len(entries)
    raise AssertionError(f"the writer did not reach step {target} within a minute")


def check_consistent(folder: Path, *, at_least: int) -> None:
    """After a kill the history is a prefix of the rows that is at most one step short."""
    rows = read_rows(folder / "metrics.jsonl")
    history = json.loads((folder / "entropy_history_victim.json").read_bytes())
    assert len(history) >= at_least
    assert len(rows) - len(history) in (0, 1)
    assert history == [
        {"step": row["step"], "entropy": row["policy/entropy"]} for row in rows[: len(history)]
    ]
