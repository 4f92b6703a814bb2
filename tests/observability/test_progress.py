"""Progress: a bar on a terminal, sparse plain lines elsewhere, a table at the end."""

import io
import math
import re

from rich.console import Console

from entropy_rl.observability.progress import RAMP, TABLE_METRICS, ProgressReport, duration_text, sparkline


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def report(*, terminal: bool, num_steps: int, **options) -> tuple[ProgressReport, Clock, io.StringIO]:
    clock, output = Clock(), io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120, _environ={})
    return (
        ProgressReport("a_run", num_steps=num_steps, console=console, clock=clock, **options),
        clock,
        output,
    )


def run_steps(progress: ProgressReport, clock: Clock, steps: range, seconds: float) -> None:
    for step in steps:
        clock.now += seconds
        progress.step(step, {"reward/mean": step / 100, "policy/entropy": 1 / step})


def test_off_a_terminal_the_first_the_last_and_a_line_every_few_seconds_are_printed():
    progress, clock, output = report(terminal=False, num_steps=23, seconds_between_lines=10.0)
    with progress:
        run_steps(progress, clock, range(1, 24), seconds=2.0)
    steps = [int(line.split("/")[0].removeprefix("step ")) for line in output.getvalue().splitlines()]
    assert steps == [1, 6, 11, 16, 21, 23]
    assert output.getvalue().splitlines()[1] == (
        "step 6/23  reward 0.06  entropy 0.167  2.00 s/step  0:00:34 left"  # 17 steps of 2 s
    )


def test_the_lines_hold_no_control_characters_off_a_terminal():
    progress, clock, output = report(terminal=False, num_steps=2)
    with progress:
        run_steps(progress, clock, range(1, 3), seconds=20.0)
        progress.table([{"step": 1, "reward/mean": 0.5}])
    assert "\x1b" not in output.getvalue() and "\r" not in output.getvalue()


def test_a_slow_first_step_does_not_spoil_the_estimate():
    progress, clock, _ = report(terminal=False, num_steps=100)
    with progress:
        run_steps(progress, clock, range(1, 2), seconds=60.0)
        run_steps(progress, clock, range(2, 11), seconds=1.5)
    assert progress.seconds_per_step == 1.5
    assert progress.seconds_left == 90 * 1.5


def test_a_resumed_run_estimates_from_its_own_steps():
    progress, clock, output = report(terminal=False, num_steps=50, done_steps=40)
    with progress:
        run_steps(progress, clock, range(41, 43), seconds=3.0)
    assert progress.seconds_left == 8 * 3.0
    assert output.getvalue().startswith("step 41/50")


def test_a_terminal_gets_one_bar_with_reward_entropy_speed_and_time_left():
    progress, clock, output = report(terminal=True, num_steps=4)
    with progress:
        run_steps(progress, clock, range(1, 4), seconds=2.0)
        progress.say("[a] note")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    assert "[a] note" in text
    last = text.strip().splitlines()[-1]
    assert "a_run" in last and "3/4" in last
    assert "reward 0.03  entropy 0.333  2.00 s/step  0:00:02 left" in last


def test_numbers_that_are_missing_or_not_finite_are_a_dash():
    progress, _, output = report(terminal=False, num_steps=1)
    with progress:
        progress.step(1, {"reward/mean": math.nan})
    assert "reward -  entropy -" in output.getvalue()


def test_the_table_tells_first_last_and_best():
    progress, _, output = report(terminal=False, num_steps=3)
    rewards = [0.125, 0.75, 0.5]
    progress.table([{"step": n, "reward/mean": r, "policy/entropy": None} for n, r in enumerate(rewards, 1)])
    (row,) = [line for line in output.getvalue().splitlines() if "reward/mean" in line]
    assert row.split()[:5] == ["reward/mean", "0.125", "0.5", "0.75", "2"]
    assert "steps 1 to 3" in output.getvalue() and "policy/entropy" not in output.getvalue()


def test_the_table_shows_heldout_figures_which_only_some_steps_have():
    progress, _, output = report(terminal=False, num_steps=3)
    progress.table([{"step": 1}, {"step": 2, "heldout/pass@8": 0.25}, {"step": 3, "heldout/pass@8": 0.5}])
    (row,) = [line for line in output.getvalue().splitlines() if "heldout/pass@8" in line]
    assert row.split()[:6] == ["heldout/pass@8", "0.25", "0.5", "0.5", "3", RAMP[0] + RAMP[-1]]


def test_bar_and_table_fit_a_terminal_of_80_columns():
    clock, output = Clock(), io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, _environ={})
    row = {"step": 1234} | {name: -0.000123456 for name in TABLE_METRICS}
    with ProgressReport("a_run_of_quite_some_name", num_steps=2000, console=console, clock=clock) as progress:
        progress.step(1234, row)
        progress.table([row])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    assert all(len(line) <= 80 for line in text.replace("\r", "\n").splitlines())
    assert all(name in text for name in TABLE_METRICS)
    assert "0:00:00 left" in text


def test_the_table_of_a_run_without_steps_is_empty_and_no_error():
    progress, _, output = report(terminal=False, num_steps=3)
    progress.table([])
    assert "no steps" in output.getvalue()


def test_a_sparkline_spans_its_ramp_and_leaves_gaps():
    assert sparkline(range(8)) == RAMP
    assert sparkline([0, None, 7]) == RAMP[0] + " " + RAMP[7]
    assert sparkline([2.0, 2.0]) == RAMP[0] * 2
    assert sparkline([]) == "" and sparkline([None]) == " "
    assert len(sparkline(range(1000), width=24)) == 24


def test_durations_are_hours_minutes_seconds():
    assert [duration_text(s) for s in (7.4, 3723, 100_000)] == ["0:00:07", "1:02:03", "27:46:40"]
