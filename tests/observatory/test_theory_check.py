"""How predictions of entropy's change and the measured change go together over a run."""

from pathlib import Path

import numpy as np
import pytest

from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.theory import CHANGE, LEMMA1, THEOREM1, THEOREM2, TheoryCheck, agreement


def run_of(changes, lemma1, theorem1, theorem2) -> RunRecord:
    """A run that records the theory every third step."""
    rows = []
    for number, values in enumerate(zip(changes, lemma1, theorem1, theorem2, strict=True)):
        rows += [{"step": 3 * number + 1, "policy/entropy": 1.0}, {"step": 3 * number + 2}]
        rows.append(
            {"step": 3 * number + 3} | dict(zip((CHANGE, LEMMA1, THEOREM1, THEOREM2), values, strict=True))
        )
    return RunRecord(path=Path("run"), name="run", config={}, rows=tuple(rows))


def test_a_lemma_that_holds_has_slope_1_and_a_covariance_the_step_size():
    changes = np.array([-0.03, -0.01, 0.002, -0.02])
    check = TheoryCheck.of(run_of(changes, changes, -changes / 0.5, changes + [0, 0, 0.1, -0.2]))
    assert check.num_points == 4 and check.steps.tolist() == [3, 6, 9, 12]
    assert (check.lemma1.slope, check.lemma1.correlation) == pytest.approx((1, 1))
    assert (check.theorem1.slope, check.theorem1.correlation) == pytest.approx((0.5, 1))
    np.testing.assert_allclose(check.falls, -changes)
    np.testing.assert_allclose(check.predicted[LEMMA1], check.falls)
    expected = np.corrcoef(check.predicted[THEOREM2], check.falls)[0, 1]
    assert check.theorem2.correlation == pytest.approx(expected) and abs(expected) < 1


def test_too_few_steps_or_a_prediction_that_never_changes_tell_nothing():
    assert TheoryCheck.of(run_of([], [], [], [])).num_points == 0
    two = TheoryCheck.of(run_of([-0.1, -0.2], [-0.1, -0.2], [1, 2], [1, 2]))
    assert two.num_points == 2 and two.lemma1 is two.theorem1 is two.theorem2 is None
    flat = TheoryCheck.of(run_of([-0.1, -0.2, -0.1], [0, 0, 0], [1, 2, 1], [1, 2, 1]))
    assert flat.lemma1 is None and flat.theorem1.correlation == pytest.approx(1)


def test_steps_with_a_value_that_is_not_finite_are_left_out():
    check = TheoryCheck.of(run_of([-0.1, None, -0.2, -0.3], [-0.1, -0.2, None, -0.3], [1] * 4, [1] * 4))
    assert check.steps.tolist() == [3, 12]


def test_the_slope_is_of_least_squares():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 41))
    assert agreement(x, y).slope == pytest.approx(np.polyfit(x, y, 1)[0])
