"""The arithmetic of a study's table, on curves whose statistics can be told by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from entropy_rl.observatory.law import Interval
from entropy_rl.study.results import (
    all_findings,
    choose,
    findings,
    law_over_seeds,
    standings,
    t_interval,
)
from tests.study.miniature import make_curves, make_study


def test_equal_values_have_an_interval_of_no_width():
    interval = t_interval(np.array([0.25, 0.25, 0.25]))
    assert (interval.low, interval.value, interval.high) == (0.25, 0.25, 0.25)


def test_the_interval_is_that_of_scipy():
    values = np.array([0.3, 0.1, 0.4, 0.15, 0.9])
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    interval = t_interval(values)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)


def test_the_interval_of_two_values_by_hand():
    # mean 2, s = sqrt(2), error = 1, t(0.975, 1) = 12.7062
    interval = t_interval(np.array([1.0, 3.0]))
    assert (interval.low, interval.value, interval.high) == pytest.approx((-10.7062, 2, 14.7062), abs=1e-4)
    with pytest.raises(ValueError, match="at least two of them, got 1"):
        t_interval(np.array([1.0]))


def test_95_of_100_intervals_hold_the_mean_they_estimate():
    rng = np.random.default_rng(0)
    held = [abs(i.value) <= i.high - i.value for i in map(t_interval, rng.normal(size=(2000, 5)))]
    assert 0.94 < np.mean(held) < 0.96


def test_the_plateau_is_the_mean_of_the_last_tenth_of_the_steps():
    run = make_curves("GRPO", 1, entropy=[9.0] * 18 + [0.25, 0.75], average=0.5, passed=0.5)
    assert run.plateau_entropy == 0.5
    assert (run.first("heldout/pass@8"), run.last("heldout/pass@8")) == (0.75, 0.5)


@pytest.fixture
def runs():
    """KL-Cov has 8 and 2 times GRPO's entropy, pass@8 higher by 0.25 and 0.5, average@8 by -0.125 and 0."""
    flat = [1.0] * 9
    return [
        make_curves("GRPO", 1, entropy=[*flat, 0.125], average=0.5, passed=0.5),
        make_curves("GRPO", 2, entropy=[*flat, 0.5], average=0.25, passed=0.25),
        make_curves("KL-Cov", 2, entropy=[*flat, 1.0], average=0.25, passed=0.75),
        make_curves("KL-Cov", 1, entropy=[*flat, 1.0], average=0.375, passed=0.75),
    ]


def test_methods_are_compared_seed_by_seed(runs):
    found = standings(runs, "GRPO")
    mine, base = found["KL-Cov"], found["GRPO"]
    assert base.entropy_ratio is base.average_difference is base.pass_difference is None
    assert base.entropy.value == 0.3125
    # log ratios log 8 and log 2: mean log 4, half width 12.7062 * log(4) / 2
    half = 12.7062 * math.log(4) / 2
    assert mine.entropy_ratio.value == pytest.approx(4)
    assert mine.entropy_ratio.low == pytest.approx(4 * math.exp(-half), rel=1e-4)
    # pass@8: mean 0.375, s = 0.25 / sqrt(2), error 0.125; average@8: mean -0.0625, error 0.0625
    assert mine.pass_difference.value == 0.375
    assert mine.pass_difference.high == pytest.approx(0.375 + 12.7062 * 0.125, rel=1e-5)
    assert mine.average_difference.low == pytest.approx(-0.0625 - 12.7062 * 0.0625, rel=1e-5)
    assert mine.passed.value == 0.75 and mine.average.value == 0.3125


def test_a_method_that_lacks_a_seed_is_refused(runs):
    with pytest.raises(ValueError, match=r"KL-Cov must have the seeds of GRPO, \[1, 2\], got \[2\]"):
        standings(runs[:3], "GRPO")


@pytest.mark.parametrize(
    ("ratio", "passed", "average", "outcomes"),
    [
        ((11, 12, 13), (0.01, 0.1, 0.2), (-0.01, 0.1, 0.2), ["holds"] * 3),
        ((2, 3, 4), (-0.3, -0.2, -0.1), (-0.3, -0.2, -0.1), ["fails"] * 3),
        ((2, 8, 32), (-0.1, 0.1, 0.3), (-0.1, 0.0, 0.1), ["not decided"] * 3),
        # lower, but by less than the margin of 0.02
        ((10, 10, 10), (0.0, 0.1, 0.2), (-0.02, -0.015, -0.01), ["holds", "not decided", "holds"]),
        # lower, but perhaps by less than the margin
        ((10, 10, 10), (0.1, 0.1, 0.2), (-0.05, -0.03, -0.01), ["holds", "holds", "not decided"]),
    ],
)
def test_a_claim_holds_or_fails_only_where_its_whole_interval_says_so(
    ratio, passed, average, outcomes, runs, tmp_path
):
    study = make_study(tmp_path)
    mine = replace(
        standings(runs, "GRPO")["KL-Cov"],
        entropy_ratio=_interval(ratio),
        pass_difference=_interval(passed),
        average_difference=_interval(average),
    )
    assert [one.outcome for one in findings(study, mine, "GRPO")] == outcomes


def test_a_claim_is_held_against_controls_that_were_measured(runs, tmp_path):
    study = make_study(tmp_path, controls=(("GRPO", "slow"),))
    assert len(all_findings(study, runs)) == 3
    control = [replace(run, method="GRPO at slow", setting="slow") for run in runs[:2]]
    found = all_findings(study, runs + control)
    assert [one.outcome for one in found[:3]] == [one.outcome for one in found[3:]]
    assert [one.evidence for one in found[:3]] == [one.evidence for one in found[3:]]
    assert all("GRPO at slow" in one.claim for one in found[3:])


def _interval(numbers) -> Interval:
    low, value, high = map(float, numbers)
    return Interval(value=value, low=low, high=high)


def test_tuning_takes_the_best_sum_of_both_figures_for_each_method(tmp_path):
    study = make_study(tmp_path)
    made = [
        make_curves("GRPO", 7, setting="fast", entropy=[0.5], average=0.5, passed=0.5),  # 0.5
        make_curves("GRPO", 7, setting="slow", entropy=[0.5], average=0.25, passed=0.875),  # 0.5625
        make_curves("KL-Cov", 7, setting="fast", entropy=[0.25], average=0.5, passed=0.75),  # 0.625
        make_curves("KL-Cov", 7, setting="slow", entropy=[9.0], average=0.125, passed=1.0),  # 0.5625
    ]
    tuned = choose(study, made)
    assert tuned["chosen"] == {"GRPO": "slow", "KL-Cov": "fast"}
    assert tuned["scores"]["GRPO"]["slow"] == {
        "score": 0.5625,
        "average@8": 0.25,
        "pass@8": 0.875,
        "plateau_entropy": 0.5,
    }


def test_the_law_over_seeds_finds_the_coefficients_that_made_the_curves():
    entropy = np.linspace(0.6, 0.1, 20)
    runs = [
        _on_the_law(seed, entropy, a=a, b=b) for seed, a, b in [(1, 0.5, 1.25), (2, 0.25, 1.0), (3, 0.3, 1.2)]
    ]
    law = law_over_seeds(runs)
    assert law.a.value == pytest.approx(0.35, abs=1e-4)
    assert law.ceiling.value == pytest.approx((0.75 + 0.75 + 0.9) / 3, abs=1e-4)
    assert law.explained > 0.999 and law.num_runs == 3
    with pytest.raises(ValueError, match="at least 8 steps"):
        law_over_seeds([_on_the_law(1, entropy[:7], a=0.5, b=1.0)])


def _on_the_law(seed, entropy, *, a, b):
    run = make_curves("GRPO", seed, entropy=entropy, average=0.0, passed=0.0)
    success = [[n, b - a * math.exp(h)] for n, h in enumerate(entropy, start=1)]
    return replace(run, points=run.points | {"heldout/average@8": success})
