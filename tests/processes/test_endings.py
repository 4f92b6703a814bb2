"""How runs end before their time: a process dies, or SIGTERM asks for it; and how they go on."""

import os
import signal
import time
from itertools import count

import jax
import pytest

import entropy_rl.training.step
import entropy_rl.workbench
from entropy_rl.observability.run_record import read_rows
from entropy_rl.parallelism import EXIT_PREEMPTED, Preempted, StopRequests, fail_together
from entropy_rl.recording import Recording
from entropy_rl.train import train
from entropy_rl.training.learner import Learner
from tests.processes.job import EvenLength, job
from tests.processes.starting import await_rows, started, terminate
from tests.test_train import rollouts_of, without_times

BOTH = dict(num_processes=2, num_devices=4)
EVERY_STEP = Recording(rollouts_every_steps=1)


def left_by(run) -> tuple[list[dict], dict[str, bytes]]:
    """Its rows without times, and the rollouts it recorded."""
    return without_times(read_rows(run / "metrics.jsonl")), rollouts_of(run)


def interrupted(function, at: int):
    """The function, which sends this process SIGTERM when it is called for the given time."""
    calls = count(1)

    def wrapped(*args, **options):
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*args, **options)

    return wrapped


@pytest.fixture(autouse=True)
def sigterm_as_before():
    """A run that was asked to stop leaves SIGTERM ignored."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of a run that never stopped, and the rollouts it recorded."""
    config = job(tmp_path_factory.mktemp("whole"), "run", recording=EVERY_STEP)
    train(config)
    return left_by(config.runs_folder / "run")


@pytest.mark.parametrize(
    ("owner", "name", "step", "saved", "recorded"),
    [
        pytest.param(EvenLength, "grade", 2, 1, [1], id="its step is left before the updates"),
        pytest.param(Learner, "update", 3, 2, [1, 2], id="and finished after the first"),
        pytest.param(
            entropy_rl.training.step, "rollout_metrics", 5, 5, [1, 2, 3, 4], id="an evaluation is cut"
        ),
    ],
)
def test_a_run_asked_to_stop_is_saved_and_goes_on_as_if_it_had_never_stopped(
    whole, tmp_path, monkeypatch, owner, name, step, saved, recorded
):
    config = job(tmp_path, "run", recording=EVERY_STEP)
    metrics = tmp_path / "run" / "metrics.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), at=step))
        with pytest.raises(Preempted, match=f"saved after step {saved}; .*--resume"):
            train(config)
    assert [row["step"] for row in read_rows(metrics)] == recorded
    train(config, resume=True)
    assert left_by(metrics.parent) == whole


def test_a_run_asked_to_stop_while_it_starts_leaves_what_resume_begins_with(whole, tmp_path, monkeypatch):
    config = job(tmp_path, "run", recording=EVERY_STEP)
    loaded = entropy_rl.workbench.starting_policy

    def interrupted(config):
        os.kill(os.getpid(), signal.SIGTERM)
        return loaded(config)

    with monkeypatch.context() as patch:
        patch.setattr("entropy_rl.workbench.starting_policy", interrupted)
        with pytest.raises(Preempted, match="before the first step .* nothing to save; .*--resume"):
            train(config)
    train(config, resume=True)
    assert left_by(tmp_path / "run") == whole


def test_sigterm_ends_no_process_that_is_stopping_already_and_means_what_it_meant_otherwise():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequests() as requests:
        requests.check()
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(Preempted), StopRequests() as requests:
        os.kill(os.getpid(), signal.SIGTERM)
        requests.check()
    os.kill(os.getpid(), signal.SIGTERM)


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


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("must be"), 2),
        (FileNotFoundError("config.json"), 2),
        (RuntimeError("updates in a row were skipped"), 2),
        (jax.errors.JaxRuntimeError("UNAVAILABLE: Connection reset"), 1),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED"), 1),
        (TypeError("a defect"), 1),
    ],
)
def test_one_of_several_ends_with_the_code_that_one_alone_has_for_errors_of_the_user(
    monkeypatch, error, code
):
    def end(code):
        raise SystemExit(code)

    monkeypatch.setattr("jax.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("entropy_rl.parallelism.processes.exit_at_once", end)
    with pytest.raises(SystemExit) as ended, fail_together():
        raise error
    assert ended.value.code == code


@pytest.mark.slow
def test_two_processes_with_an_error_of_the_user_end_with_2(tmp_path):
    with started(tmp_path, "absent", "eight", "--resume", **BOTH) as workers:
        assert [worker.wait() for worker in workers] == [2, 2], workers[0].text


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
