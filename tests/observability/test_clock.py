"""Seconds by phase, on a clock that the test moves."""

import pytest

from entropy_rl.observability import clock as clock_module
from entropy_rl.observability.clock import Clock


@pytest.fixture
def time(monkeypatch):
    """What the clock reads, in a list of one, to be changed."""
    now = [50.0]
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: now[0])
    return now


def test_a_phase_entered_twice_adds_up_and_what_lies_between_counts_in_the_total_alone(time):
    clock = Clock()
    for phase, inside, after in (("rollout", 2.0, 0.5), ("update", 3.0, 0.25), ("rollout", 4.0, 0.0)):
        with clock(phase):
            time[0] += inside
        time[0] += after
    assert clock.seconds == {"rollout": 6.0, "update": 3.0}
    assert clock.total_seconds == 9.75  # 2 + 0.5 + 3 + 0.25 + 4


def test_a_phase_that_raises_is_timed_and_its_error_goes_on(time):
    clock = Clock()
    with pytest.raises(RuntimeError, match="broken"), clock("reward"):
        time[0] += 7.0
        raise RuntimeError("broken")
    assert clock.seconds == {"reward": 7.0}
