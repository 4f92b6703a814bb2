"""How runs end before their time: a process dies, or SIGTERM asks for it; and how they go on."""

import os
import signal
import time
from contextlib import nullcontext

import pytest

from entropy_rl.observability.run_record import read_rows
from entropy_rl.parallelism import EXIT_PREEMPTED, Preempted
from entropy_rl.train import train
from tests.processes.job import EvenLength, EvenTask, job
from tests.processes.starting import await_rows, started, terminate
from tests.test_train import without_times

BOTH = dict(num_processes=2, num_devices=4)


class Interrupted(EvenLength):
    """Sends this process SIGTERM as it grades for the given time."""

    def __init__(self, at: int):
        self._left = at

    def grade(self, prompts, responses):
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().grade(prompts, responses)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of a run that never stopped."""
    config = job(tmp_path_factory.mktemp("whole"), "run")
    train(config)
    return without_times(read_rows(config.runs_folder / "run" / "metrics.jsonl"))


@pytest.mark.parametrize(("grading", "recorded"), [(2, [1, 2]), (5, [1, 2, 3, 4])])
def test_a_run_asked_to_stop_is_saved_and_goes_on_as_if_it_had_never_stopped(
    whole, tmp_path, monkeypatch, grading, recorded
):
    """The fifth grading is of the last step, which is made but not recorded: its evaluation is cut off."""
    config = job(tmp_path, "run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(EvenTask, "open_grader", lambda task: nullcontext(Interrupted(grading)))
        with pytest.raises(Preempted, match=f"saved after step {grading}; .*--resume"):
            train(config)
    assert signal.getsignal(signal.SIGTERM) == before
    assert [row["step"] for row in read_rows(metrics)] == recorded
    train(config, resume=True)
    assert without_times(read_rows(metrics)) == whole


@pytest.mark.slow
def test_two_processes_of_which_one_is_asked_to_stop_both_stop_and_go_on(tmp_path):
    with started(tmp_path, "whole", "eight", **BOTH) as workers:
        assert [worker.wait() for worker in workers] == [0, 0]
    metrics = tmp_path / "stopped" / "metrics.jsonl"
    with started(tmp_path, "stopped", "eight", **BOTH) as workers:
        await_rows(metrics, 2, workers)
        terminate(workers[1])
        assert [worker.wait() for worker in workers] == [EXIT_PREEMPTED] * 2, workers[0].text
        assert all("start it again with --resume" in worker.text for worker in workers)
    assert 2 <= len(read_rows(metrics)) < 5
    with started(tmp_path, "stopped", "eight", "--resume", **BOTH) as workers:
        assert [worker.wait() for worker in workers] == [0, 0], workers[0].text
    expected = without_times(read_rows(tmp_path / "whole" / "metrics.jsonl"))
    assert without_times(read_rows(metrics)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_is_killed_the_other_ends_and_says_so(tmp_path, victim):
    with started(tmp_path, "killed", "eight", "--steps", "10000", **BOTH) as workers:
        await_rows(tmp_path / "killed" / "metrics.jsonl", 1, workers)
        workers[victim].process.kill()
        start = time.monotonic()
        assert workers[1 - victim].wait(60) not in (0, EXIT_PREEMPTED)
        assert time.monotonic() - start < 60
        deadline = time.monotonic() + 5  # the last words come from a process of their own
        while "--resume" not in workers[1 - victim].text and time.monotonic() < deadline:
            time.sleep(0.01)
        text = workers[1 - victim].text
        assert f"process {1 - victim} of 2 has ended before the run did" in text and "--resume" in text, text
