"""Bootstrap intervals against their limits and the share of times that they hold the truth."""

import numpy as np
import pytest

from entropy_rl.evaluation.bootstrap import estimate, resampled_means


def test_equal_seeds_draw_equally_and_others_otherwise():
    values_PM = np.random.default_rng(0).random((7, 2))
    np.testing.assert_array_equal(resampled_means(values_PM, "a"), resampled_means(values_PM, "a"))
    assert np.any(resampled_means(values_PM, "a") != resampled_means(values_PM, "b"))


def test_measures_of_one_problem_stay_together():
    value_P = np.random.default_rng(0).random(11)
    resampled_RM = resampled_means(np.stack([value_P, 1 - value_P], axis=1), "seed")
    np.testing.assert_allclose(resampled_RM.sum(axis=1), 1)


def test_problems_that_agree_leave_no_width():
    got = estimate(0.25, resampled_means(np.full((5, 1), 0.25), "seed")[:, 0])
    assert (got.low, got.mean, got.high) == (0.25, 0.25, 0.25)


def test_the_width_is_that_of_the_standard_error():
    value_P = np.random.default_rng(3).random(401)
    got = estimate(value_P.mean(), resampled_means(value_P[:, None], "seed")[:, 0])
    # 2000 resamples know a quantile to about 4 % of the standard error.
    assert got.high - got.low == pytest.approx(2 * 1.96 * value_P.std() / np.sqrt(401), rel=0.06)


def test_it_holds_the_truth_about_19_times_in_20():
    rng, held = np.random.default_rng(5), []
    for experiment in range(200):
        # Problems of different difficulty, 7 samples of each: the truth is the mean difficulty, 2 / 5.
        value_P = rng.binomial(7, rng.beta(2, 3, size=53)) / 7
        got = estimate(value_P.mean(), resampled_means(value_P[:, None], str(experiment))[:, 0])
        held.append(got.low <= 0.4 <= got.high)
    # 95 % of 200 is 190 +- 3.1; the percentile method of 53 problems holds about 94 %.
    assert 179 <= sum(held) <= 198
