"""Runs one program's tests, each in sandboxes of its own, and compares outside of them."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

from entropy_rl.rewards.code import remote_calls
from entropy_rl.rewards.code.compare import same_output, same_value
from entropy_rl.rewards.code.unit_tests import AssertTest, CallTest, StdinTest, UnitTest
from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.sandbox.mechanism import Mechanism
from entropy_rl.rewards.sandbox.run import Outcome, run, run_connected

PASSED = "passed"
_WRONG, _FAILED, _OUT_OF_TIME = "wrong answer", "error", "time limit"

_REMOTE_CALLS = Path(remote_calls.__file__).read_text()
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

    def verdict(self, test: UnitTest) -> str:
        """PASSED, or in two words why not."""
        seconds_left = self.deadline - time.monotonic()
        if seconds_left <= 0:
            return _OUT_OF_TIME
        limits = replace(self.limits, wall_seconds=min(self.limits.wall_seconds, seconds_left))
        match test:
            case StdinTest():
                return self._run_stdin_test(test, limits)
            case CallTest():
                return self._run_call_test(test, limits)
            case AssertTest():
                return self._run_assert_test(test, limits)

    def _run_stdin_test(self, test: StdinTest, limits: SandboxLimits) -> str:
        outcome = run(self.program, stdin=test.stdin, limits=limits, mechanism=self.mechanism)
        if not outcome.succeeded:
            return _reason(outcome)
        given = outcome.stdout.decode(errors="replace")
        return PASSED if same_output(test.stdout, given, self.float_tolerance) else _WRONG

    def _run_call_test(self, test: CallTest, limits: SandboxLimits) -> str:
        arguments = [remote_calls.encode(value) for value in test.arguments]
        call = json.dumps({"name": test.function, "args": arguments, "kwargs": {}})
        outcome = run(self._server, stdin=call + "\n", limits=limits, mechanism=self.mechanism)
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

    def _run_assert_test(self, test: AssertTest, limits: SandboxLimits) -> str:
        arguments = f"{test.setup!r}, {test.text!r}, {test.entry_point!r}"
        told_limits = replace(limits, wall_seconds=limits.wall_seconds + _SECONDS_TO_TELL)
        program, tests = run_connected(
            (self._server, f"{_REMOTE_CALLS}\n\ncheck({arguments})\n"),
            limits=(limits, told_limits),
            mechanism=self.mechanism,
        )
        if tests.succeeded:
            return PASSED
        return _WRONG if program.succeeded and tests.ended_by == "itself" else _reason(program)

    @property
    def _server(self) -> str:
        return f"{_REMOTE_CALLS}\n\nserve_calls({self.program!r})\n"


def _reason(outcome: Outcome) -> str:
    """Why a program that did not succeed did not."""
    return _FAILED if outcome.ended_by == "itself" else f"{outcome.ended_by} limit"
