"""Runs one program's tests, each in fresh processes in sandboxes, and compares outside of them."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from entropy_rl.rewards.code import remote_calls
from entropy_rl.rewards.code.compare import same_output, same_value
from entropy_rl.rewards.code.unit_tests import AssertTest, CallTest, StdinTest, UnitTest
from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.sandbox.mechanism import Mechanism
from entropy_rl.rewards.sandbox.run import Outcome, Runs, run_connected

PASSED = "passed"
_WRONG, _FAILED, _NOT_CARRIED = "wrong answer", "error", "not plain data"
_OUT_OF_TIME, _ALL_OUT_OF_TIME = "time limit", "time limit of all tests"

_REMOTE_CALLS = Path(remote_calls.__file__).read_text()
_LEAST_SECONDS = 0.01
"""With less time left, no test is begun."""
_SECONDS_TO_TELL = 2.0
"""What tests may take longer than the program that they test, to say that it took too long."""


@dataclass(frozen=True, kw_only=True)
class ProgramTester:
    """A program and how it is run."""

    program: str
    limits: SandboxLimits
    mechanism: Mechanism
    float_tolerance: float
    deadline: float
    """On the monotonic clock: when the time for all tests is up."""

    def verdicts(self, tests: Sequence[UnitTest]) -> Iterator[str]:
        """PASSED, or in a few words why not, for each of some tests of one kind, run as it is asked for."""
        source = self._server if isinstance(tests[0], CallTest) else self.program
        with Runs(source, limits=self.limits, mechanism=self.mechanism) as runs:
            for test in tests:
                yield self._verdict(test, runs)

    def _verdict(self, test: UnitTest, runs: Runs) -> str:
        seconds_left = self.deadline - time.monotonic()
        if seconds_left < _LEAST_SECONDS:
            return _ALL_OUT_OF_TIME
        wall_seconds = min(self.limits.wall_seconds, seconds_left)
        match test:
            case StdinTest():
                verdict = self._run_stdin_test(test, runs, wall_seconds)
            case CallTest():
                verdict = self._run_call_test(test, runs, wall_seconds)
            case AssertTest():
                verdict = self._run_assert_test(test, wall_seconds)
        was_cut = verdict == _OUT_OF_TIME and wall_seconds < self.limits.wall_seconds
        return _ALL_OUT_OF_TIME if was_cut else verdict

    def _run_stdin_test(self, test: StdinTest, runs: Runs, wall_seconds: float) -> str:
        outcome = runs.run(test.stdin, wall_seconds)
        if not outcome.succeeded:
            return _reason(outcome)
        given = outcome.stdout.decode(errors="replace")
        return PASSED if same_output(test.stdout, given, self.float_tolerance) else _WRONG

    def _run_call_test(self, test: CallTest, runs: Runs, wall_seconds: float) -> str:
        arguments = [remote_calls.encode(value) for value in test.arguments]
        call = json.dumps({"name": test.function, "args": arguments, "kwargs": {}})
        outcome = runs.run(call + "\n", wall_seconds)
        if not outcome.succeeded:
            return _reason(outcome)
        try:
            reply = json.loads(outcome.stdout.partition(b"\n")[0])
            value = remote_calls.decode(reply["value"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return _FAILED
        expected = test.value
        is_same = same_value(expected, value, self.float_tolerance)
        if not is_same and isinstance(expected, list) and len(expected) == 1:
            is_same = same_value(expected[0], value, self.float_tolerance)
        return PASSED if is_same else _WRONG

    def _run_assert_test(self, test: AssertTest, wall_seconds: float) -> str:
        limits = replace(self.limits, wall_seconds=wall_seconds)
        arguments = f"{test.setup!r}, {test.text!r}, {test.entry_point!r}"
        told_limits = replace(limits, wall_seconds=wall_seconds + _SECONDS_TO_TELL)
        program, tests = run_connected(
            (self._server, f"{_REMOTE_CALLS}\n\ncheck({arguments})\n"),
            limits=(limits, told_limits),
            mechanism=self.mechanism,
        )
        if tests.succeeded:
            return PASSED
        if tests.ended_by == "itself" and tests.exit_code == remote_calls.EXIT_NOT_CARRIED:
            return _NOT_CARRIED
        return _WRONG if program.succeeded and tests.ended_by == "itself" else _reason(program)

    @property
    def _server(self) -> str:
        return f"{_REMOTE_CALLS}\n\nserve_calls({self.program!r})\n"


def _reason(outcome: Outcome) -> str:
    """Why a program that did not succeed did not."""
    return _FAILED if outcome.ended_by == "itself" else f"{outcome.ended_by} limit"
