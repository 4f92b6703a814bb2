"""Judging a program by unit tests, in sandboxes.

Each test has a fresh process, to which those before left nothing; texts and values that are expected never
enter it, and are compared here. So a program gains nothing by leaving early, printing "passed", changing the
interpreter it runs in, or looking for the tests. What it can do is guess: a problem is as hard to cheat as
the answers of its tests are to foresee.
"""

import time
from contextlib import closing

from entropy_rl.rewards.code.tester import PASSED, ProgramTester
from entropy_rl.rewards.code.unit_tests import read_tests
from entropy_rl.rewards.sandbox.available import find_mechanism
from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.scores import Score

_FENCE = "```"
_LANGUAGES = ("python", "python3", "py")


def judge(
    response: str,
    answer: str,
    *,
    share: bool = False,
    num_tests: int | None = None,
    float_tolerance: float = 1e-6,
    time_limit_seconds: float = 30.0,
    sandbox: dict | None = None,
) -> Score:
    """1 when the last Python block of the response passes all tests of the answer (`unit_tests`), else 0.

    With `share`, every test is run and the score is the share that passed: 1 still means all. `num_tests`
    takes only the first so many; `time_limit_seconds` is for all together; `sandbox` has the fields of
    SandboxLimits, for each run. Raises SandboxRefused where no sandbox can be made.
    """
    limits = SandboxLimits(**(sandbox or {}))
    mechanism = find_mechanism(limits)
    program = last_python_block(response)
    tests = read_tests(answer)[:num_tests]
    if not tests:
        return Score(score=0.0, method="no tests")
    if program is None:
        return Score(score=0.0, method="no code block")
    tester = ProgramTester(
        program=program,
        limits=limits,
        mechanism=mechanism,
        float_tolerance=float_tolerance,
        deadline=time.monotonic() + time_limit_seconds,
    )
    num_passed, failure = 0, ""
    with closing(tester.verdicts(tests)) as verdicts:
        for verdict in verdicts:
            if verdict == PASSED:
                num_passed += 1
            elif not share:
                failure = verdict
                break
    score = num_passed / len(tests) if share else float(num_passed == len(tests))
    return Score(score=score, method=failure or f"passed {num_passed}/{len(tests)}", extracted=program)


def last_python_block(response: str) -> str | None:
    """The text of the last closed ```python block; None without one."""
    found, block = None, None
    for line in response.splitlines(keepends=True):
        mark = line.strip()
        if block is not None and mark == _FENCE:
            found, block = "".join(block), None
        elif block is not None:
            block.append(line)
        elif mark.startswith(_FENCE) and mark[len(_FENCE) :].strip().lower() in _LANGUAGES:
            block = []
    return found
