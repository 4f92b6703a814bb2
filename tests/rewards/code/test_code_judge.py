"""Programs judged by their tests: right, wrong, and those that try to be taken for right."""

import json
from contextlib import ExitStack
from functools import lru_cache
from uuid import uuid4

import pytest

from entropy_rl.rewards.code import CODE_JUDGE
from entropy_rl.rewards.code.judge import judge, last_python_block
from entropy_rl.rewards.pool import JudgeItem, JudgeLimits, JudgePool
from entropy_rl.rewards.sandbox.available import find_mechanism
from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.sandbox.run import Runs
from entropy_rl.rewards.scores import Score
from tests.rewards.sandboxes import all_gone

ADD = "a, b = map(int, input().split())\nprint(a + b)"
ADD_FUNCTION = "def add(a, b):\n    return a + b"
BY_STDIN = {"inputs": ["2 3\n", "5 7\n", "11 13\n"], "outputs": ["5\n", "12\n", "24\n"]}
BY_CALL = {"fn_name": "add", "inputs": [[2, 3], [5, 7], [11, 13]], "outputs": [5, 12, 24]}
BY_ASSERTS = {"asserts": ["assert add(2, 3) == 5", "assert add(5, 7) == 12", "assert add(11, 13) == 24"]}
BY_PROGRAM = {
    "entry_point": "add",
    "test": "def check(candidate):\n    for n in range(5):\n        assert candidate(n, 7) == n + 7",
}
ALL_FORMS = [BY_STDIN, BY_CALL, BY_ASSERTS, BY_PROGRAM]
POOLS = ExitStack()

pytestmark = pytest.mark.usefixtures("sandbox")


@lru_cache
def pool_for(settings: str) -> JudgePool:
    """Judging is done where hostile programs are bounded even should their sandbox fail."""
    limits = JudgeLimits(time_limit_seconds=40.0)
    pool = JudgePool(num_workers=1, limits=limits, judge=CODE_JUDGE, settings=json.loads(settings))
    return POOLS.enter_context(pool)


@pytest.fixture(scope="module", autouse=True)
def _pools():
    with POOLS:
        yield


def judged(program: str, tests: dict, **settings) -> Score:
    item = JudgeItem(response=f"Here it is:\n```python\n{program}\n```\nDone.", answer=json.dumps(tests))
    (judgement,) = pool_for(json.dumps(settings)).judge_all([item])
    assert not judgement.error, judgement
    return Score(score=judgement.score, method=judgement.method, extracted=judgement.extracted)


def solution_for(tests: dict) -> str:
    return ADD if tests is BY_STDIN else ADD_FUNCTION


@pytest.mark.parametrize("tests", ALL_FORMS, ids=["stdin", "call", "asserts", "program"])
def test_a_right_program_passes_all_tests(tests):
    num_tests = 1 if tests is BY_PROGRAM else 3
    score = judged(solution_for(tests), tests)
    assert score.score == 1 and score.method == f"passed {num_tests}/{num_tests}"
    assert score.extracted == solution_for(tests) + "\n"


@pytest.mark.parametrize("tests", ALL_FORMS, ids=["stdin", "call", "asserts", "program"])
def test_a_wrong_program_scores_nothing_for_the_tests_it_passes(tests):
    wrong = "print(5)" if tests is BY_STDIN else "def add(a, b):\n    return 5"
    assert judged(wrong, tests) == Score(score=0.0, method="wrong answer", extracted=wrong + "\n")


@pytest.mark.parametrize("tests", [BY_STDIN, BY_CALL, BY_ASSERTS], ids=["stdin", "call", "asserts"])
def test_the_share_that_passed_is_the_score_by_choice(tests):
    wrong = "print(5)" if tests is BY_STDIN else "def add(a, b):\n    return 5"
    score = judged(wrong, tests, share=True)
    assert score.score == pytest.approx(1 / 3) and score.method == "passed 1/3"
    assert judged(wrong, tests, share=True, num_tests=1).score == 1


CHEATS = {
    "leaves early": "import sys\nsys.exit(0)",
    "leaves at once": "import os\nos._exit(0)",
    "says that all passed": "print('all passed')\nprint('passed 3/3')\nprint('{\"value\": 5}')",
    "replaces what compares": (
        "import builtins, json\n"
        "class Same(int):\n"
        "    __eq__ = __ne__ = __lt__ = __gt__ = lambda self, other: True\n"
        "    __hash__ = int.__hash__\n"
        "def add(a, b):\n    return Same(1)\n"
        "builtins.AssertionError = ValueError\n"
        "builtins.isinstance = lambda *_: True"
    ),
    "writes the reply itself": (
        "import os\n"
        "for descriptor in range(3, 20):\n"
        "    for text in (b'{\"value\": 1}\\n', b'[true, true, true]\\n', b'passed 3/3\\n'):\n"
        "        try:\n            os.write(descriptor, text)\n"
        "        except OSError:\n            pass\n"
        "def add(a, b):\n    os._exit(0)"
    ),
    "searches for what is expected": (
        "import gc, glob, sys\n"
        "def add(a, b):\n"
        "    text = ''\n"
        "    for path in glob.glob('/*') + glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/tmp/*'):\n"
        "        try:\n            text += open(path).read()\n"
        "        except OSError:\n            pass\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        text += repr(frame.f_locals) + repr(frame.f_globals)\n"
        "        frame = frame.f_back\n"
        "    text += repr(gc.get_objects())\n"
        "    assert 'assert add' not in text and 'candidate' not in text\n"
        "    raise SystemExit(0)"
    ),
    "passes off an error as success": "def add(a, b):\n    raise SystemExit(0)",
    "ends the loop of the tests": "def add(a, b):\n    raise StopIteration",
    "raises what is not an exception": "def add(a, b):\n    raise KeyboardInterrupt",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_program_that_cheats_scores_nothing(cheat):
    for tests in (BY_STDIN, BY_CALL, BY_ASSERTS):
        score = judged(CHEATS[cheat], tests)
        assert score.score == 0, (tests, score)


LOOPS = {
    "all of a map": {"asserts": ["assert all(map(lambda c: add(*c[0]) == c[1], [((2, 3), 5)]))"]},
    "check with a map": {
        "entry_point": "add",
        "test": "def check(candidate):\n    for sum in map(candidate, [2], [3]):\n        assert sum == 5",
    },
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("error", ["StopIteration", "StopAsyncIteration", "GeneratorExit"])
def test_a_loop_of_tests_cannot_be_ended_from_within_the_program(loop, error):
    assert judged(f"def add(a, b):\n    raise {error}", LOOPS[loop]).score == 0
    assert judged(ADD_FUNCTION, LOOPS[loop]).score == 1


@pytest.mark.parametrize(
    "method, program, sandbox",
    [
        ("time limit", "while True: pass", {"cpu_seconds": 1}),
        ("time limit", "import time\ntime.sleep(60)", {"wall_seconds": 0.5}),
        ("memory limit", "x = b'x' * (100 * 2**20)\nimport time\ntime.sleep(5)", {"memory_mib": 64}),
        ("output limit", "while True: print('x' * 997)", {"output_kib": 3}),
        ("error", "print(5)\nraise ValueError", {}),
        ("error", "this is no Python", {}),
        ("error", "print(sum(map(int, sys.stdin.read().split())))", {}),
    ],
)
def test_the_method_says_what_ended_a_program(method, program, sandbox):
    # A process of its own limit's size ends in an error where Python notices first.
    accepted = ("memory limit", "error") if method == "memory limit" else (method,)
    assert judged(program, BY_STDIN, sandbox=sandbox).method in accepted


def test_the_time_for_all_tests_ends_the_judging_of_a_slow_program():
    slow = "import time\ntime.sleep(0.4)\n" + ADD
    score = judged(slow, BY_STDIN, share=True, time_limit_seconds=0.9)
    assert 0 < score.score < 1
    assert judged(slow, BY_STDIN, time_limit_seconds=0.3).method == "time limit of all tests"


def test_the_tests_of_a_program_share_a_sandbox_in_which_none_finds_a_trace_of_another():
    name = uuid4().hex[:13]
    program = f"""
import os, time
assert os.listdir("/tmp") == [] and os.stat("/tmp").st_mode & 0o777 == 0o700
assert sum(entry.isdigit() for entry in os.listdir("/proc")) == 2
open("/tmp/file", "w").write("a trace")
os.chmod("/tmp", 0o711)
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    open("/proc/self/comm", "w").write("{name}")
    os.write(writer, b"x")
    time.sleep(20)
os.read(reader, 1)
print(os.readlink("/proc/self/ns/pid"), input())
"""
    limits = SandboxLimits()
    mechanism = find_mechanism(limits)
    with Runs(program, limits=limits, mechanism=mechanism) as runs:
        outcomes = [runs.run(f"{number}\n", 5.0) for number in range(3)]
        assert [outcome.exit_code for outcome in outcomes] == [0, 0, 0], outcomes
        assert all_gone(name, limit_seconds=2), "before the sandbox is left"
    namespaces, numbers = zip(*(outcome.stdout.split() for outcome in outcomes), strict=True)
    assert numbers == (b"0", b"1", b"2")
    assert len(set(namespaces)) == (1 if mechanism.is_reusable else 3)


def test_tests_that_had_to_be_ended_leave_the_next_ones_alone():
    program = """
import os, time
match input():
    case "flood":
        while True:
            print("x" * 997)
    case "sleep":
        time.sleep(20)
    case "kill":
        os.kill(-1, 9)
print("right")
"""
    inputs = ["flood", "go on", "sleep", "go on", "kill", "go on"]
    tests = {"inputs": inputs, "outputs": ["right"] * len(inputs)}
    limits = {"output_kib": 3, "wall_seconds": 1.0}
    assert judged(program, tests, share=True, sandbox=limits).method == "passed 3/6"


@pytest.mark.parametrize(
    "answer",
    ["2", "", "{", "[]", "{}", '{"inputs": []}', '{"inputs": [], "outputs": []}', '{"asserts": [1]}'],
)
def test_an_answer_without_tests_scores_nothing(answer):
    assert judge(f"```python\n{ADD}\n```", answer) == Score(score=0.0, method="no tests")


def test_the_last_closed_python_block_is_the_program():
    assert last_python_block("no code") is None
    assert last_python_block("```\nx\n```\n```cpp\ny\n```") is None
    assert last_python_block("```python\n1\n```\n```Python\n2\n3\n```\n```text\n4\n```\n") == "2\n3\n"
    assert last_python_block("```python\n1\n```\n```python\n2, and cut off") == "1\n"
    assert judge("no code", json.dumps(BY_STDIN)).method == "no code block"


CALLS = {
    "a method of Solution": ("class Solution:\n    def add(self, a, b):\n        return a + b", BY_CALL),
    "arguments as lines, values wrapped": (
        "def f(s, n):\n    print('noise')\n    return s[::-1], {n: 2.0}",
        {"fn_name": "f", "inputs": ['"ab"\n7'], "outputs": [[["ba", {"7": 2}]]]},
    ),
    "sets of tuples": ("def f(x):\n    return {x, (x, x)}", {"asserts": ["assert f(3) == set([3, (3, 3)])"]}),
    "text before each test": (
        "def f(x):\n    return x ** 0.5",
        {"setup": "import math", "asserts": ["assert math.isclose(f(2) ** 2, 2)"]},
    ),
    "exceptions by name": (
        "def f(x):\n    raise KeyError",
        {"test": "try:\n    f(1)\n    assert False\nexcept KeyError:\n    pass"},
    ),
    "a function named like a built-in one": (
        "def sum(a, b):\n    return a - b",
        {"asserts": ["assert sum(7, 2) == 5"], "entry_point": "sum"},
    ),
    "a data class that is annotated by text": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int\ndef f(x):\n    return Point(x).x",
        {"asserts": ["assert f(3) == 3"]},
    ),
    "long numbers": ("def f():\n    return 10 ** 5000", {"asserts": ["assert f() == 10 ** 5000"]}),
    "generators": ("def f():\n    yield 1\n    yield 2", {"asserts": ["assert list(f()) == [1, 2]"]}),
}


NOT_CARRIED = {
    "a class": ("class Stack:\n    pass", "Stack()"),
    "a function for an argument": ("def f(g):\n    return g(3)", "assert f(lambda x: x) == 3"),
    "a function for a value": ("def f():\n    return f", "f()"),
    "a value that an error stands for": (
        "def f():\n    return f",
        "try:\n    f()\nexcept TypeError:\n    pass",
    ),
}


@pytest.mark.parametrize("kind", NOT_CARRIED)
def test_tests_that_need_more_than_plain_data_say_so(kind):
    program, test = NOT_CARRIED[kind]
    score = judged(program, {"asserts": [test]})
    assert score.score == 0 and score.method == "not plain data"


@pytest.mark.parametrize("kind", CALLS)
def test_calls_carry_plain_data_of_all_kinds(kind):
    score = judged(*CALLS[kind])
    assert score.score == 1, score
