"""The judge of programs in a pool of judging processes."""

import json
import threading
import uuid

import pytest

from entropy_rl.rewards.code import CODE_JUDGE
from entropy_rl.rewards.pool import JudgeItem, JudgeLimits, JudgePool
from tests.rewards.sandboxes import all_gone, comes_true, named_processes

ANSWER = json.dumps({"inputs": ["2 3"], "outputs": ["5"]})
RIGHT = "```python\nprint(sum(map(int, input().split())))\n```"

pytestmark = pytest.mark.usefixtures("sandbox")


def sleeper(name: str) -> str:
    program = f"import os, time\nopen('/proc/self/comm', 'w').write('{name}')\nos.fork()\ntime.sleep(60)"
    return f"```python\n{program}\n```"


def test_sandboxes_can_be_made_under_the_limits_of_a_judging_process():
    limits = JudgeLimits(time_limit_seconds=20.0, memory_limit_mib=512)
    items = [JudgeItem(response=RIGHT, answer=ANSWER), JudgeItem(response="none", answer=ANSWER)] * 3
    with JudgePool(num_workers=2, limits=limits, judge=CODE_JUDGE) as pool:
        judgements = pool.judge_all(items)
    assert [j.score for j in judgements] == [1.0, 0.0] * 3
    assert [j.method for j in judgements] == ["passed 1/1", "no code block"] * 3


def test_a_judging_process_killed_at_its_limit_takes_the_sandbox_along():
    name = uuid.uuid4().hex[:13]
    limits = JudgeLimits(time_limit_seconds=2.0, memory_limit_mib=512)
    settings = {"sandbox": {"wall_seconds": 60.0}, "time_limit_seconds": 60.0}
    with JudgePool(num_workers=1, limits=limits, judge=CODE_JUDGE, settings=settings) as pool:
        killed = threading.Thread(
            target=pool.judge_all, args=[[JudgeItem(response=sleeper(name), answer=ANSWER)]]
        )
        killed.start()
        assert comes_true(lambda: len(named_processes(name)) == 2, limit_seconds=10)
        killed.join()
        assert all_gone(name, limit_seconds=3)
        assert pool.judge_all([JudgeItem(response=RIGHT, answer=ANSWER)])[0].score == 1


def test_settings_that_are_wrong_stop_the_pool_before_it_starts():
    settings = {"sandbox": {"num_processes": 0}}
    with pytest.raises(ValueError, match="num_processes must be a whole number of at least 4; got 0"):
        JudgePool(num_workers=1, limits=JudgeLimits(), judge=CODE_JUDGE, settings=settings).__enter__()
