"""What a run records, and how often."""

import pytest

from entropy_rl.recording import Recording


def test_the_first_step_and_every_so_many_are_recorded():
    recording = Recording(rollouts_every_steps=3, theory_every_steps=5)
    assert [step for step in range(1, 11) if recording.rollouts_due(step)] == [1, 3, 6, 9]
    assert [step for step in range(1, 11) if recording.theory_due(step)] == [1, 5, 10]


def test_zero_steps_mean_never():
    recording = Recording(rollouts_every_steps=0, theory_every_steps=0)
    assert not any(recording.rollouts_due(step) or recording.theory_due(step) for step in range(1, 100))


@pytest.mark.parametrize(
    "setting",
    [
        {"rollouts_every_steps": -1},
        {"theory_every_steps": -1},
        {"num_rollouts": 0},
        {"theory_fraction": 0.0},
        {"theory_fraction": 1 / 16},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_impossible_settings_are_refused_by_name(setting):
    with pytest.raises(ValueError, match=f"recording.*{next(iter(setting))}"):
        Recording(**setting)
