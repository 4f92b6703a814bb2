"""Lengths by their definition: against sums over samples, and in the limits where all is known."""

import numpy as np
import pytest

from entropy_rl.plan.lengths import Lengths

PAPER = Lengths(mean=1000.0, longest=8192)


def test_the_survival_function_starts_at_one_falls_and_sums_to_the_mean():
    assert PAPER.survival[0] == 1 and np.all(np.diff(PAPER.survival) <= 0)
    assert PAPER.survival.sum() == pytest.approx(1000, rel=1e-9)


def test_without_spread_every_length_is_the_mean():
    alike = Lengths(mean=7.0, longest=11, sigma=0.0)
    assert alike.survival.tolist() == pytest.approx([1] * 7 + [0] * 4, abs=1e-9)
    assert alike.mean_square == pytest.approx(49)
    assert alike.expected_longest(1000) == pytest.approx(7)
    assert set(alike.quantiles(5)) == {7}


def test_the_expected_longest_grows_from_the_mean_to_the_limit():
    values = [PAPER.expected_longest(n) for n in (1, 8, 64, 2048)]
    assert values[0] == pytest.approx(1000)
    assert values == sorted(values) and 8150 < values[-1] <= 8192


def test_moments_and_maxima_agree_with_samples():
    draws = np.random.default_rng(0)
    uniform = draws.uniform(size=(20_000, 5))
    sample = np.searchsorted(-PAPER.survival, -uniform, side="right")
    standard_error = sample.std() / np.sqrt(sample.size)
    assert sample.mean() == pytest.approx(PAPER.mean, abs=5 * standard_error)
    assert (sample.astype(float) ** 2).mean() == pytest.approx(PAPER.mean_square, rel=0.05)
    assert sample.max(axis=1).mean() == pytest.approx(PAPER.expected_longest(5), rel=0.03)


def test_quantiles_stand_for_the_distribution():
    lengths = PAPER.quantiles(4096)
    assert lengths.mean() == pytest.approx(1000, rel=0.01)
    assert (lengths == 8192).mean() == pytest.approx(PAPER.survival[-1], abs=1e-3)
    assert list(lengths) == sorted(lengths, reverse=True)


@pytest.mark.parametrize("wrong", [{"mean": 0.0}, {"mean": 12.0}, {"sigma": -1.0}])
def test_impossible_distributions_are_refused(wrong):
    with pytest.raises(ValueError, match="must lie between 1 and the longest"):
        Lengths(**({"mean": 5.0, "longest": 11} | wrong))
