"""The robust line: exact points, outliers, a weighted reference, and noise that persists."""

import numpy as np
import pytest

from entropy_rl.observatory.robust_line import (
    MAX_PERSISTENCE,
    Line,
    bootstrap_lines,
    huber_line,
    persistence,
)
from tests.observatory.law_runs import noise

X = np.array([1.0, 1.1, 1.3, 1.7, 1.9, 2.3, 2.9])


def test_points_on_a_line_give_that_line():
    line = huber_line(X, 0.75 - 0.25 * X)
    assert float(line.slope) == pytest.approx(-0.25, rel=1e-12)
    assert float(line.intercept) == pytest.approx(0.75, rel=1e-12)


def test_a_minority_of_points_off_a_line_does_not_move_it():
    x = np.linspace(1, 3, 23)
    y = 0.75 - 0.25 * x
    y[[1, 13, 17]] += (4.0, -7.0, 2.0)
    line = huber_line(x, y)
    assert (float(line.slope), float(line.intercept)) == pytest.approx((-0.25, 0.75), abs=1e-4)


def test_outliers_in_noise_move_the_line_far_less_than_least_squares():
    x = np.linspace(1, 2, 101)
    y = 0.75 - 0.25 * x + noise(101, 0.0, 0.01, seed=3)
    y[:7] += 1.0
    assert abs(float(huber_line(x, y).slope) + 0.25) < 0.03 < 0.3 < abs(np.polyfit(x, y, 1)[0] + 0.25)


def test_without_outliers_it_is_the_line_of_least_squares():
    # Residuals +-1 at each x: none beyond 1.345 robust deviations (1 / 0.6745), so all weights are 1.
    x, y = np.repeat(X, 2), np.repeat(2.0 - 0.5 * X, 2) + np.tile([1.0, -1.0], len(X))
    line = huber_line(x, y)
    assert (float(line.slope), float(line.intercept)) == pytest.approx((-0.5, 2.0), rel=1e-12)


def test_the_line_is_where_its_clipped_residuals_balance():
    # Huber's estimating equations: clipped residuals sum to zero, alone and times x.
    random = np.random.default_rng(5)
    x = random.uniform(1, 2, 53)
    y = 0.75 - 0.25 * x + 0.02 * random.standard_t(3, 53)
    line = huber_line(x, y)
    residuals = y - line.at(x)
    scale = np.median(np.abs(residuals)) / 0.6745
    clipped = np.clip(residuals / scale, -1.345, 1.345)
    assert abs(clipped.sum()) < 1e-3 and abs((clipped * x).sum()) < 1e-3
    assert np.abs(residuals / scale).max() > 2  # there were some to clip


def test_many_curves_at_once_are_each_curve_alone():
    y = np.random.default_rng(1).uniform(0, 1, (3, len(X)))
    together = huber_line(X, y)
    for number, curve in enumerate(y):
        alone = huber_line(X, curve)
        assert float(together.slope[number]) == pytest.approx(float(alone.slope), rel=1e-9)
        assert float(together.intercept[number]) == pytest.approx(float(alone.intercept), rel=1e-9)


def test_a_line_is_evaluated_at_points():
    line = Line(slope=np.array([2.0, 3.0]), intercept=np.array([1.0, -1.0]))
    np.testing.assert_array_equal(line.at(np.array([0.0, 0.5, 1.0])), [[1, 2, 3], [-1, 0.5, 2]])


def test_persistence_is_the_lag_one_correlation_and_its_bias():
    # Residuals 1, 1, -1, -1: products with the one before 1, -1, 1, so rho = 1 / 4, and (2 + 4 / 4) / 4 more.
    assert persistence(np.array([1.0, 1.0, -1.0, -1.0])) == pytest.approx(min(0.25 + 0.75, MAX_PERSISTENCE))
    # Ten of alternating sign: rho = -9 / 10, and (2 - 3.6) / 10 more: -1.06, held at -0.97.
    assert persistence(np.array([1.0, -1.0] * 5)) == -MAX_PERSISTENCE
    assert persistence(np.zeros(7)) == 0.0


@pytest.mark.parametrize("rho", [0.0, 0.7, -0.4])
def test_persistence_of_long_noise_is_that_of_its_recursion(rho):
    assert persistence(noise(5000, rho, 1.0, seed=0)) == pytest.approx(rho, abs=0.04)


def test_the_bootstrap_spreads_as_lines_of_new_noise_do():
    x = np.linspace(1, 2, 211)
    truth = Line(slope=np.array(-0.25), intercept=np.array(0.75))
    drawn = np.stack([truth.at(x) + noise(211, 0.7, 0.02, seed) for seed in range(300)])
    expected = huber_line(x, drawn).slope.std()
    spread = [
        bootstrap_lines(x, y, huber_line(x, y), num_resamples=200, seed=0).slope.std() for y in drawn[:11]
    ]
    assert np.mean(spread) == pytest.approx(expected, rel=0.25)


def test_the_bootstrap_repeats_itself_by_its_seed():
    y = 0.75 - 0.25 * X + noise(len(X), 0.0, 0.1, seed=0)
    line = huber_line(X, y)
    one, same, other = (bootstrap_lines(X, y, line, num_resamples=31, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.slope, same.slope)
    assert one.slope.shape == (31,) and (one.slope != other.slope).any()
