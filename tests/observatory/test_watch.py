"""Watching a run: its file grows, is torn, is rewritten; the view fits the terminal; it ends with the run."""

import io
import json
import os
import time

import pytest
from rich.console import Console

from entropy_rl.cli import main
from entropy_rl.observability.run_record import METRICS_FILE, SUMMARY_FILE, RunRecord
from entropy_rl.observatory.diagnosis import diagnose
from entropy_rl.observatory.follower import MetricsFollower
from entropy_rl.observatory.watch_view import LINES, seconds_per_step, view
from entropy_rl.observatory.watching import Watch
from tests.observatory.page_runs import collapsing_rows, write_run


def line(step: int) -> bytes:
    return json.dumps({"step": step, "policy/entropy": 1 / step}).encode() + b"\n"


def steps(follower: MetricsFollower) -> list[int]:
    return [row["step"] for row in follower.rows()]


def console(width: int, *, terminal: bool = False) -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, width=width, force_terminal=terminal, _environ={}, highlight=False), output


def shown(run: RunRecord, width: int = 120, **options) -> str:
    written, output = console(width)
    options = dict(ended=False, seconds_since_row=0.0) | options
    written.print(view(run, width=width, **options))
    return output.getvalue()


def test_rows_are_followed_as_the_file_grows_and_a_torn_line_waits(tmp_path):
    path = tmp_path / METRICS_FILE
    follower = MetricsFollower(path)
    assert follower.rows() == ()  # there is no file yet
    path.write_bytes(line(1) + line(2)[:9])
    assert steps(follower) == [1]
    with path.open("ab") as file:
        file.write(line(2)[9:] + line(3) + b"\0\0")
    assert steps(follower) == [1, 2, 3] == steps(follower)


def test_a_file_that_was_replaced_or_cut_short_is_read_anew(tmp_path):
    path = tmp_path / METRICS_FILE
    follower = MetricsFollower(path)
    path.write_bytes(b"".join(map(line, range(1, 6))))
    assert steps(follower) == [1, 2, 3, 4, 5]
    # Resuming after step 2 replaces the file; by the next look it is longer than it was.
    (tmp_path / "new").write_bytes(b"".join(map(line, [1, 2, 30, 40, 50, 60, 70])))
    os.replace(tmp_path / "new", path)
    assert steps(follower) == [1, 2, 30, 40, 50, 60, 70]
    os.truncate(path, len(line(1)))
    assert steps(follower) == [1]
    path.unlink()
    assert steps(follower) == []


def test_a_broken_line_that_is_whole_is_named(tmp_path):
    path = tmp_path / METRICS_FILE
    path.write_bytes(line(1) + b'{"step": \n' + line(3))
    with pytest.raises(ValueError, match=r"metrics\.jsonl.*got b'\{\"step\": '.*repair"):
        MetricsFollower(path).rows()


def test_the_view_tells_how_far_the_run_is_and_when_it_will_end(tmp_path):
    run = RunRecord.load(write_run(tmp_path / "a_run", collapsing_rows(10)))
    # 30 steps of 1.25 s are left.
    assert shown(run).startswith("a_run  step 10/40  1.25 s/step, 0:00:38 left\n")
    assert "a_run  step 10/40  0:00:12 of steps, ended\n" in shown(run, ended=True)


def test_the_first_steps_do_not_count_for_the_rate(tmp_path):
    rows = collapsing_rows(30)
    rows[0]["seconds/step"] = 500.0
    assert seconds_per_step(RunRecord.load(write_run(tmp_path / "run", rows))) == 1.25


def test_every_number_has_its_first_and_present_value_its_course_and_its_companions(tmp_path):
    text = shown(RunRecord.load(write_run(tmp_path / "run", collapsing_rows(10))))
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert {shown_line.title for shown_line in LINES} <= set(lines)
    # exp(-0.3) at the first step, exp(-3) at the last; its median is 0.6 of it.
    assert lines["entropy"].split()[1:3] == ["0.741", "0.0498"]
    assert "\u2588" in lines["entropy"] and "median 0.0299" in lines["entropy"]
    assert "pass@8" in lines["held out"]


def test_what_was_measured_steps_ago_says_when(tmp_path):
    run = RunRecord.load(write_run(tmp_path / "run", collapsing_rows(7)))
    assert (
        next(row for row in shown(run).splitlines() if row.startswith("held out")).rstrip().endswith("step 5")
    )


@pytest.mark.parametrize("width", [24, 40, 59, 60, 99, 100, 200])
def test_the_view_fits_its_terminal(tmp_path, width):
    run = RunRecord.load(write_run(tmp_path / "a_run_of_a_name_that_is_long", collapsing_rows(10)))
    text = shown(run, width=width, verdicts=diagnose(run), seconds_since_row=1e4)
    assert max(map(len, text.splitlines())) <= width
    assert "entropy" in text and "\x1b" not in text
    assert ("\u2588" in text) == (width >= 60) and ("median" in text) == (width >= 100)


def test_without_block_characters_there_is_no_course(tmp_path):
    run = RunRecord.load(write_run(tmp_path / "run", collapsing_rows(10)))
    assert "\u2588" not in shown(run, drawable=False)


def test_a_run_that_stands_still_is_told_of(tmp_path):
    run = RunRecord.load(write_run(tmp_path / "run", collapsing_rows(5)))
    assert "no step has ended for 0:01:01" in shown(run, seconds_since_row=61.0)
    assert "no step has ended" not in shown(run, seconds_since_row=59.0)
    assert "no step has ended" not in shown(run, seconds_since_row=1e4, ended=True)


def test_verdicts_that_are_not_content_are_shown_the_worst_first(tmp_path):
    run = RunRecord.load(write_run(tmp_path / "run", collapsing_rows(60)))
    text = shown(run, verdicts=diagnose(run))
    told = [row.split()[0] for row in text.splitlines() if row.startswith(("fail ", "warn "))]
    assert told and told == sorted(told)
    assert "entropy level:" in text


def test_a_young_run_says_that_it_compiles(tmp_path):
    folder = write_run(tmp_path / "run", [])
    written, output = console(80)
    Watch(folder, written).once()
    assert "no step has ended yet" in output.getvalue()


def test_a_folder_that_holds_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="config.json or metrics.jsonl"):
        Watch(tmp_path, console(80)[0])


def test_the_command_shows_a_run_once_and_refuses_what_is_none(tmp_path, capsys):
    folder = write_run(tmp_path / "a_run", collapsing_rows(10))
    main(["watch", str(folder), "--once"])
    seen = capsys.readouterr().out
    assert seen.startswith("a_run  step 10/40") and "\x1b" not in seen
    for wrong in ([str(tmp_path / "none"), "--once"], [str(folder), "--seconds", "0"]):
        with pytest.raises(SystemExit):
            main(["watch", *wrong])
    assert "--seconds must be positive" in capsys.readouterr().err


def followed(folder, *, terminal: bool) -> tuple[str, list[float]]:
    """What following shows of a run that makes two more steps and ends; how long was waited for each look."""
    rows, waited = collapsing_rows(5), []
    write_run(folder, rows[:3])
    written, output = console(110, terminal=terminal)

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        with (folder / METRICS_FILE).open("a") as file:
            file.write(json.dumps(rows[2 + len(waited)]) + "\n")
        if len(waited) == 2:
            (folder / SUMMARY_FILE).write_text("{}")

    Watch(folder, written).follow(0.5, sleep=sleep)
    return output.getvalue(), waited


def test_following_on_a_terminal_shows_every_step_in_place_and_ends_with_the_run(tmp_path):
    text, waited = followed(tmp_path / "run", terminal=True)
    assert waited == [0.5, 0.5] and "\x1b[" in text
    for step in (3, 4, 5):
        assert f"step {step}/40" in text
    assert text.rindex("ended") > text.rindex("step 5/40")


def test_following_into_a_pipe_prints_plain_views_now_and_then(tmp_path):
    text, waited = followed(tmp_path / "run", terminal=False)
    assert waited == [10.0, 10.0] and "\x1b" not in text
    assert [row.split()[2] for row in text.splitlines() if row.startswith("run ")] == ["3/40", "4/40", "5/40"]


def test_the_age_of_the_last_row_is_that_of_the_file(tmp_path):
    folder = write_run(tmp_path / "run", collapsing_rows(5))
    os.utime(folder / METRICS_FILE, (time.time() - 3600,) * 2)
    written, output = console(80)
    Watch(folder, written).once()
    assert "no step has ended for 1:00:00" in output.getvalue()
