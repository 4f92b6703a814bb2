"""What a step tells of rewards, groups and advantages: hand-computed."""

import numpy as np
import pytest

from entropy_rl.data.graders import GradeBatch
from entropy_rl.evaluation import RolloutGrades
from entropy_rl.step_metrics import advantage_metrics, sample_metrics


def graded(reward_PG, *, duplicate=(), near=()) -> RolloutGrades:
    """Right where the reward is 1; (p, g) of the responses that are duplicates."""
    reward_PG = np.array(reward_PG, np.float32)
    twice, nearly = np.zeros(reward_PG.shape, bool), np.zeros(reward_PG.shape, bool)
    for marked, where in ((twice, duplicate), (nearly, near)):
        for at in where:
            marked[at] = True
    return RolloutGrades(
        grades=GradeBatch(
            reward_PG=reward_PG,
            correct_PG=reward_PG == 1,
            timed_out_PG=np.zeros(reward_PG.shape, bool),
            extracted_PG=np.full(reward_PG.shape, None, object),
            method_PG=np.full(reward_PG.shape, "made up", object),
            seconds=0.5,
        ),
        length_PG=np.full(reward_PG.shape, 3, np.int32),
        truncated_PG=np.zeros(reward_PG.shape, bool),
        duplicate_PG=twice,
        near_duplicate_PG=nearly,
        text_PG=np.full(reward_PG.shape, None, object),
    )


def test_golden_rewards_and_groups():
    # Rewards 1 1 | 0 0 | 0.5 0.5 | 1 0: mean 1/2, squares 3.5 / 8 - 1/4 = 3/16. Three of four groups are
    # alike; p = 3/8 gives (3/8)^2 + (5/8)^2 = 34/64.
    got = sample_metrics(
        graded([[1, 1], [0, 0], [0.5, 0.5], [1, 0]], duplicate=[(0, 1)], near=[(0, 1), (1, 1)])
    )
    assert got["reward/std"] == pytest.approx(np.sqrt(3 / 16))
    assert got["reward/distinct_values"] == 3
    assert got["reward/groups_zero_variance"] == 3 / 4
    assert got["reward/groups_zero_variance_expected"] == pytest.approx(34 / 64)
    assert (got["group/duplicate_fraction"], got["group/near_duplicate_fraction"]) == (1 / 8, 2 / 8)


@pytest.mark.parametrize(
    ("pass_rate", "group", "expected"), [(0.5, 4, 0.125), (0.9, 8, 0.430), (0.8, 6, 0.262)]
)
def test_the_expected_share_of_groups_without_variance_is_that_of_the_published_table(
    pass_rate, group, expected
):
    right = np.arange(10 * group) < round(pass_rate * 10 * group)
    got = sample_metrics(graded(right.reshape(group, 10).T))
    assert got["reward/groups_zero_variance_expected"] == pytest.approx(expected, abs=5e-4)


def test_groups_without_variance_are_as_many_as_expected_where_responses_are_independent():
    right = np.random.default_rng(0).random((5000, 3)) < 0.7
    got = sample_metrics(graded(right))
    expected = got["reward/groups_zero_variance_expected"]
    assert abs(got["reward/groups_zero_variance"] - expected) < 3 * np.sqrt(expected * (1 - expected) / 5000)


def test_golden_advantages():
    got = advantage_metrics(np.array([[0.005, -0.005], [1.5, -1.5], [0.0, 0.0]], np.float32))
    assert got["advantage/std"] == pytest.approx(np.sqrt((2 * 0.005**2 + 2 * 1.5**2) / 6))
    assert got["advantage/nonzero_fraction"] == pytest.approx(2 / 6)
    assert got["advantage/max_abs"] == 1.5
