"""The law: what it recovers, how often its intervals hold the truth, what it refuses and doubts."""

import math

import numpy as np
import pytest

from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.law import MIN_POINTS, Course, Interval, Law, Prediction
from tests.observatory.law_runs import A, B, course, write_rows, write_run


def test_points_that_obey_the_law_give_its_coefficients():
    law = Law.of(course(31, deviation=0.0), num_resamples=50)
    for interval, truth in [(law.a, A), (law.b, B), (law.ceiling, B - A)]:
        assert interval.value == pytest.approx(truth, rel=1e-9)
        assert interval.low == pytest.approx(truth, rel=1e-6) == interval.high
    assert law.explained == pytest.approx(1) and np.abs(law.residuals).max() < 1e-12
    assert law.doubts() == ()


def test_four_success_rates_of_a_hand_computed_law():
    # exp(H) = 1, 1.5, 2, 2.5 twice over and R = 0.9 - 0.3 exp(H): 0.6, 0.45, 0.3, 0.15; ceiling 0.6.
    entropy = np.log(np.repeat([1.0, 1.5, 2.0, 2.5], 2))
    success = np.repeat([0.6, 0.45, 0.3, 0.15], 2)
    steps = np.arange(8)
    law = Law.of(
        Course(steps=steps, entropy=entropy, success=success, measure="reward/mean", filtered=False),
        num_resamples=11,
    )
    assert law.ceiling.value == pytest.approx(0.6)
    np.testing.assert_allclose(law.predict(np.log([1.0, 3.0])), [0.6, 0.0], atol=1e-12)


def test_the_same_seed_gives_the_same_intervals_and_another_others():
    drawn = course(41, seed=3)
    one, same, other = (Law.of(drawn, num_resamples=60, seed=seed) for seed in (0, 0, 1))
    assert (one.a, one.b, one.ceiling) == (same.a, same.b, same.ceiling)
    assert one.a.value == other.a.value and one.a != other.a


def test_the_band_holds_the_law_and_is_narrowest_amid_the_points():
    law = Law.of(course(61, seed=1), num_resamples=100)
    entropy = np.linspace(0.0, 1.0, 23)
    low, high = law.band(entropy)
    assert (low < law.predict(entropy)).all() and (law.predict(entropy) < high).all()
    assert 0.1 < entropy[np.argmin(high - low)] < 0.4
    assert low[0] == pytest.approx(law.ceiling.low) and high[0] == pytest.approx(law.ceiling.high)


def coverage(num_draws: int, num_points: int, persistence: float, num_resamples: int) -> np.ndarray:
    """Share of courses whose 95 % intervals hold the true a, b and ceiling."""
    held = np.zeros(3)
    for seed in range(num_draws):
        law = Law.of(
            course(num_points, persistence=persistence, seed=seed), num_resamples=num_resamples, seed=seed
        )
        pairs = [(law.a, A), (law.b, B), (law.ceiling, B - A)]
        held += [interval.low <= truth <= interval.high for interval, truth in pairs]
    return held / num_draws


@pytest.mark.slow
@pytest.mark.parametrize("persistence", [0.0, 0.7], ids=["independent", "ar1"])
@pytest.mark.parametrize("num_points", [100, 200])
def test_intervals_hold_the_truth_in_90_to_99_of_100_draws(num_points, persistence):
    shares = coverage(200, num_points, persistence, num_resamples=400)
    assert ((shares >= 0.90) & (shares <= 0.99)).all(), shares


@pytest.mark.parametrize("persistence", [0.0, 0.7], ids=["independent", "ar1"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(persistence):
    shares = coverage(50, 100, persistence, num_resamples=120)
    assert (shares >= 0.86).all(), shares  # 43 of 50: three deviations below 95 %


def test_an_honest_run_is_not_doubted():
    doubted = [bool(Law.of(course(101, seed=seed), num_resamples=100).doubts()) for seed in range(13)]
    assert sum(doubted) <= 1


DOUBTED = {
    "holds zero or less": course(53, a=-0.2),
    "points are few": course(11, deviation=0.001),
    "of the variance of R": course(53, a=0.01, deviation=0.05),
}


@pytest.mark.parametrize(("reason", "drawn"), DOUBTED.items(), ids=DOUBTED)
def test_a_fit_is_doubted_for_its_reason(reason, drawn):
    assert any(reason in doubt for doubt in Law.of(drawn, num_resamples=100).doubts())


def changed(drawn: Course, **fields) -> Course:
    names = ("steps", "entropy", "success", "measure", "filtered")
    return Course(**({name: getattr(drawn, name) for name in names} | fields))


def test_a_curve_is_doubted_to_be_a_line():
    drawn = course(97, deviation=0.002)
    bent = changed(drawn, success=drawn.success + 0.5 * (np.exp(drawn.entropy) - 1.5) ** 2)
    assert any("curved" in doubt for doubt in Law.of(bent, num_resamples=50).doubts())


def test_entropies_that_hardly_differ_are_doubted():
    drawn = course(97)
    entropy = 0.4 + 0.01 * (drawn.entropy - 0.4)
    same = changed(drawn, entropy=entropy, success=B - 5 * np.exp(entropy))
    assert any("entropies spread over" in doubt for doubt in Law.of(same, num_resamples=50).doubts())


def test_a_ceiling_far_below_the_entropies_seen_is_doubted():
    drawn = course(97, deviation=0.001)
    entropy = drawn.entropy + 1.0
    high = changed(drawn, entropy=entropy, success=B - A * np.exp(entropy))
    assert any("extrapolated" in doubt for doubt in Law.of(high, num_resamples=50).doubts())


def test_a_share_is_doubted_to_exceed_one_and_a_reward_is_not():
    drawn = course(97, deviation=0.001)
    above = drawn.success + 0.75  # the ceiling is 1.35
    share, reward = (
        Law.of(changed(drawn, success=above, measure=measure), num_resamples=50).doubts()
        for measure in ("heldout/accuracy", "reward/mean")
    )
    assert share == ("the ceiling is 1.35, and no share can exceed 1",) and reward == ()


def test_residuals_that_wander_are_doubted():
    drawn = course(197, persistence=0.99, deviation=0.1, seed=2)
    assert any("residuals persist" in doubt for doubt in Law.of(drawn, num_resamples=50).doubts())


def test_a_training_reward_is_doubted_under_dynamic_sampling_only(tmp_path):
    drawn = course(53)
    plain = RunRecord.load(write_run(tmp_path / "plain", drawn))
    dynamic = RunRecord.load(write_run(tmp_path / "dynamic", drawn, **{"generation/kept_fraction": 0.5}))
    assert Law.of(Course.of(plain), num_resamples=50).doubts() == ()
    (doubt,) = Law.of(Course.of(dynamic), num_resamples=50).doubts()
    assert "dynamic sampling" in doubt


def test_success_is_held_out_where_enough_points_are(tmp_path):
    rows = [
        {
            "step": step,
            "policy/entropy": 0.5 - 0.01 * step,
            "reward/mean": 0.25,
            "heldout/accuracy": 0.01 * step,
        }
        for step in range(1, 24)
    ]
    rows[0].pop("policy/entropy")
    rows[1]["policy/entropy"] = None
    enough = Course.of(RunRecord.load(write_rows(tmp_path / "enough", rows)))
    assert enough.measure == "heldout/accuracy" and len(enough) == 21
    assert list(enough.steps[:2]) == [3, 4] and list(enough.success[:2]) == [0.03, 0.04]
    assert enough.entropy[0] == pytest.approx(0.47)  # of the same step
    for row in rows[2 + MIN_POINTS - 1 :]:
        row.pop("heldout/accuracy")
    scarce = RunRecord.load(write_rows(tmp_path / "scarce", rows))
    assert Course.of(scarce).measure == "reward/mean" and set(Course.of(scarce).success) == {0.25}
    assert len(Course.of(scarce, measure="heldout/accuracy")) == MIN_POINTS - 1


def test_a_prediction_takes_the_training_reward_where_its_first_steps_have_too_little_held_out(tmp_path):
    rows = [{"step": n, "policy/entropy": 1 / n, "reward/mean": 0.25} for n in range(1, 97)]
    for row in rows[4::5]:
        row["heldout/accuracy"] = 0.5
    run = RunRecord.load(write_rows(tmp_path / "run", rows))
    assert Course.of(run).measure == "heldout/accuracy"
    assert Course.of(run, first=40).measure == "heldout/accuracy"  # of steps 5, 10 ... 40: eight
    assert Course.of(run, first=39).measure == "reward/mean"
    assert Course.of(run, first=39, measure="heldout/accuracy").measure == "heldout/accuracy"


def test_a_reward_of_right_answers_alone_is_a_share(tmp_path):
    def course_with(pass_rate):
        rows = [
            {"step": n, "policy/entropy": 1 / n, "reward/mean": 0.02 * n, "reward/pass_rate": pass_rate * n}
            for n in range(1, 14)
        ]
        return Course.of(RunRecord.load(write_rows(tmp_path / f"run_{pass_rate}", rows)))

    shares = course_with(0.02)
    assert shares.is_share and shares.between(0, 11).is_share and not course_with(0.01).is_share
    assert not course(13).is_share and changed(course(13), measure="heldout/accuracy").is_share


def test_a_suite_stands_in_for_held_out_accuracy(tmp_path):
    rows = [
        {"step": n, "policy/entropy": 0.1 * n, "reward/mean": 0.1, "validation/mean": 0.2} for n in range(9)
    ]
    assert Course.of(RunRecord.load(write_rows(tmp_path / "run", rows))).measure == "validation/mean"


def test_courses_that_cannot_be_fitted_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 8 steps with both policy/entropy and reward/mean, got 7"):
        Law.of(course(7))
    with pytest.raises(ValueError, match="entropies that differ, got 0.25 nats at all of 11 steps"):
        Law.of(changed(course(11), entropy=np.full(11, 0.25)))
    empty = RunRecord.load(write_rows(tmp_path / "empty", [{"step": 1, "reward/mean": 0.5}]))
    with pytest.raises(ValueError, match="got none of the 1 rows"):
        Course.of(empty)
    with pytest.raises(ValueError, match="up to step 3 and one after it, got 3 and 8"):
        Prediction.of(course(11), 3)
    with pytest.raises(ValueError, match="got 11 and 0"):
        Prediction.of(course(11), 11)


def test_a_success_that_never_differs_is_fitted_and_doubted():
    law = Law.of(changed(course(31), success=np.full(31, 0.5)), num_resamples=20)
    assert law.a.value == pytest.approx(0, abs=1e-12) and math.isnan(law.explained)
    assert any("explains nothing" in doubt for doubt in law.doubts())


def test_early_steps_predict_the_later_ones_of_a_lawful_run():
    exact = Prediction.of(course(200, deviation=0.0), 36, num_resamples=20)
    assert len(exact.later) == 164 and exact.rmse < 1e-9 and abs(exact.last_error) < 1e-9
    assert exact.constant_rmse > 0.05
    noisy = Prediction.of(course(200, deviation=0.004), 36, num_resamples=20)
    assert 0.003 < noisy.rmse < 0.02 and noisy.rmse < noisy.constant_rmse


def test_errors_of_a_prediction_are_those_of_its_points():
    # Eight points obey 0.9 - 0.3 exp(H), two are 0.1 and 0.2 below it: rmse sqrt(0.05 / 2), last +0.2.
    entropy = np.log(np.linspace(2.0, 1.1, 10))
    success = B - A * np.exp(entropy) - np.array([0.0] * 8 + [0.1, 0.2])
    steps = np.arange(1, 11)
    drawn = Course(steps=steps, entropy=entropy, success=success, measure="reward/mean", filtered=False)
    prediction = Prediction.of(drawn, 8, num_resamples=20)
    assert prediction.rmse == pytest.approx(math.sqrt(0.025)) and prediction.last_error == pytest.approx(0.2)
    assert list(prediction.later.steps) == [9, 10] and len(prediction.law.course) == 8


def test_an_interval_reads_as_value_and_bounds():
    assert str(Interval(value=0.31415926, low=0.25, high=0.5)) == "0.3142 [0.25, 0.5]"
