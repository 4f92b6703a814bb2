"""The judging pool: limits kill, the dead are replaced, and only the guilty item pays."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entropy_rl.rewards.pool import JudgeItem, JudgeLimits, JudgePool

LIMITS = JudgeLimits(time_limit_seconds=0.5, memory_limit_mib=1024)


@pytest.fixture(autouse=True)
def probes_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def probe_pool(probes_can_be_imported):
    with JudgePool(num_workers=2, limits=LIMITS, judge="probe_judges:obey") as pool:
        yield pool


def ask(pool, *responses):
    return pool.judge_all([JudgeItem(response=response, answer="7") for response in responses])


def is_alive(process_id: float) -> bool:
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return False
    return True


def is_running(process_id: int) -> bool:
    """Whether it is there and not only waits to be collected."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except FileNotFoundError:
        return False


def test_judgements_come_in_the_order_of_the_items():
    items = [JudgeItem(response=rf"\boxed{{{i % 3}}}", answer="1") for i in range(50)]
    with JudgePool(num_workers=2, limits=JudgeLimits()) as pool:
        judgements = pool.judge_all(items)
    assert [judgement.score for judgement in judgements] == [float(i % 3 == 1) for i in range(50)]
    assert all(judgement.error == "" and judgement.seconds > 0 for judgement in judgements)


@pytest.mark.parametrize("command", ["hang", "hold the interpreter"])
def test_an_item_over_its_limit_is_killed_scores_zero_and_the_others_are_judged(probe_pool, command):
    start_seconds = time.perf_counter()
    before, late, after = ask(probe_pool, "fine", command, "fine")
    assert (late.score, late.timed_out, late.error) == (0.0, True, "killed after 0.5 seconds")
    assert before.score == after.score == 0.5
    assert time.perf_counter() - start_seconds < 5
    assert [judgement.score for judgement in ask(probe_pool, "a", "b", "c", "d")] == [0.5] * 4


def test_a_killed_process_is_gone():
    with JudgePool(num_workers=1, limits=LIMITS, judge="probe_judges:obey") as pool:
        first, _, second = (judgement.score for judgement in ask(pool, "process", "hang", "process"))
        assert first != second and not is_alive(first) and is_alive(second)
    assert not is_alive(second)


def test_what_a_judge_has_started_dies_with_it(tmp_path):
    with JudgePool(num_workers=1, limits=LIMITS, judge="probe_judges:obey") as pool:
        item = JudgeItem(response="start a process and hang", answer=str(tmp_path / "child"))
        assert pool.judge_all([item])[0].timed_out
        child = int((tmp_path / "child").read_text())
        deadline = time.monotonic() + 5
        while is_running(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_running(child)


def test_a_judgement_carries_its_parts_and_a_judge_its_settings():
    judge = "probe_judges:with_parts"
    for settings, score in (({}, 0.25), ({"bonus": 0.5}, 0.75)):
        with JudgePool(num_workers=1, limits=LIMITS, judge=judge, settings=settings) as pool:
            (found,) = ask(pool, "x" * 1003)
        assert (found.score, found.method, found.error) == (score, "by hand", "")
        assert found.extracted == "x" * 1000 and 0 < found.seconds < 0.5


def test_a_judge_of_the_folder_one_works_in_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_reward.py").write_text("def half(response, answer):\n    return 0.5\n")
    monkeypatch.chdir(tmp_path)
    with JudgePool(num_workers=1, limits=LIMITS, judge="my_reward:half") as pool:
        assert ask(pool, "anything")[0].score == 0.5


@pytest.mark.parametrize(
    "command, error",
    [
        ("die", "the judging process died"),
        ("raise", "RuntimeError"),
        ("eat memory", "MemoryError"),
        ("not a number", "the score is not finite"),
    ],
)
def test_a_failing_item_scores_zero_with_its_reason(probe_pool, command, error):
    failed, fine = ask(probe_pool, command, "fine")
    assert (failed.score, failed.timed_out, failed.error) == (0.0, False, error)
    assert fine.score == 0.5


def test_what_a_judge_prints_does_not_disturb_the_replies(probe_pool):
    assert [judgement.score for judgement in ask(probe_pool, "print", "print", "fine")] == [0.5] * 3


def test_a_process_whose_memory_was_full_is_replaced():
    with JudgePool(num_workers=1, limits=LIMITS, judge="probe_judges:obey") as pool:
        before, full, after = ask(pool, "process", "eat memory", "process")
        assert full.error == "MemoryError" and before.score != after.score


def test_a_process_that_takes_nothing_in_costs_no_more_than_the_limit():
    with JudgePool(num_workers=1, limits=LIMITS, judge="probe_judges:obey") as pool:
        (process,) = ask(pool, "process")
        os.kill(int(process.score), signal.SIGSTOP)
        (judged,) = ask(pool, "x" * 10**7)
        assert judged.timed_out and judged.seconds < 2
        assert ask(pool, "fine")[0].score == 0.5


def test_a_system_that_starts_no_process_costs_items_their_scores_and_nothing_else(monkeypatch):
    with JudgePool(num_workers=1, limits=LIMITS, judge="probe_judges:obey") as pool:
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", no_process)
            dead, judged = ask(pool, "die", "fine")
            assert dead.error == "the judging process died" and "no process to judge in" in judged.error
        assert ask(pool, "fine")[0].score == 0.5


def no_process(*_, **__):
    raise BlockingIOError("Resource temporarily unavailable")


def test_a_process_that_died_while_idle_costs_no_item_its_score():
    with JudgePool(num_workers=1, limits=LIMITS, judge="probe_judges:obey") as pool:
        (victim,) = ask(pool, "process")
        os.kill(int(victim.score), 9)
        time.sleep(0.1)
        assert ask(pool, "fine")[0].score == 0.5


def test_the_pool_may_be_used_from_several_threads(probe_pool):
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: ask(probe_pool, *["fine"] * 20), range(4)))
    assert all(judgement.score == 0.5 for judgements in answers for judgement in judgements)


def test_workers_import_no_heavy_library():
    with JudgePool(num_workers=1, limits=LIMITS, judge="probe_judges:heavy_modules_loaded") as pool:
        assert ask(pool, "")[0].score == 0.0


def test_hostile_mathematics_costs_at_most_its_limit_and_leaves_the_pool_alive():
    hostile = [
        r"\boxed{9^{9^{9^{9}}}}",
        r"\boxed{(1000000!)!}",
        r"\boxed{" + "9" * 10**6 + "}",
        r"\boxed{" * 10**5,
        "\\boxed{\0}",
        "\ud800 \\boxed{2}",
        r"\boxed{" + r"\frac{1}{" * 90 + "1" + "}" * 91,
        "x" * 10**6,
        "",
    ]
    with JudgePool(num_workers=2, limits=JudgeLimits(time_limit_seconds=1.0)) as pool:
        judgements = ask(pool, *hostile)
        assert all(judgement.score == 0 and judgement.seconds < 2 for judgement in judgements)
        assert ask(pool, r"\boxed{7}")[0].score == 1


UNUSABLE = ["probe_judges:broken", "probe_judges:absent", "absent_module:judge", "nothing", ":judge"]


@pytest.mark.parametrize("judge", UNUSABLE)
def test_a_judge_that_cannot_run_is_refused_on_entering(judge):
    with pytest.raises(ValueError, match=f"able to run '{judge}'"):
        JudgePool(num_workers=2, limits=LIMITS, judge=judge).__enter__()


def test_limits_and_sizes_out_of_range_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        JudgePool(num_workers=0, limits=LIMITS)
    with pytest.raises(ValueError, match="time_limit_seconds > 0"):
        JudgeLimits(time_limit_seconds=0.0)
