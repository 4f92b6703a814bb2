"""maj@k against its limits, hand calculations and a vote over all subsets."""

import time
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from entropy_rl.evaluation.majority import MOST_SAMPLES, majority_at_k, spelt_alike


def vote(sample: list[tuple[bool, str | None]]) -> float:
    """How right the winner is, by counting votes."""
    votes = Counter(answer for _, answer in sample if answer is not None)
    winners = [answer for answer, count in votes.items() if count == max(votes.values())]
    right = {answer: correct for correct, answer in sample if answer is not None}
    return sum(right[answer] for answer in winners) / len(winners) if winners else 0.0


def test_maj_at_1_is_the_share_of_right_samples():
    correct, answers = [True, False, True, False, False], ["7", "5", "7", None, "3"]
    assert majority_at_k(correct, answers, 1) == pytest.approx(2 / 5)


def test_all_votes_of_three_against_two_elect_the_three():
    assert majority_at_k([True] * 3 + [False] * 2, ["7"] * 3 + ["5"] * 2, 5) == 1
    assert majority_at_k([False] * 3 + [True] * 2, ["7"] * 3 + ["5"] * 2, 5) == 0


def test_three_of_them_elect_the_right_two_in_three_times_of_ten():
    # Both right ones and one of three others: C(2, 2) * C(3, 1) / C(5, 3) = 3 / 10
    assert majority_at_k([False] * 3 + [True] * 2, ["7"] * 3 + ["5"] * 2, 3) == pytest.approx(0.3)


def test_a_tie_is_shared_evenly():
    assert majority_at_k([True, False, False], ["7", "5", "3"], 3) == pytest.approx(1 / 3)


def test_samples_without_an_answer_vote_for_nothing_however_many_they_are():
    assert majority_at_k([True] + [False] * 4, ["7"] + [None] * 4, 5) == 1
    assert majority_at_k([False] * 3, [None] * 3, 2) == 0


def test_an_answer_whose_spellings_were_judged_differently_is_right_in_part():
    assert majority_at_k([True, True, False], ["7", "7", "7.0"], 3) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_the_mean_over_all_subsets(seed):
    rng = np.random.default_rng(seed)
    answers = [[None, "2", "3", "5", "7"][i] for i in rng.integers(5, size=11)]
    sample = [(answer in ("3", "7"), answer) for answer in answers]
    for k in range(1, 12):
        expected = np.mean([vote(list(subset)) for subset in combinations(sample, k)])
        assert majority_at_k([c for c, _ in sample], answers, k) == pytest.approx(expected)


def test_the_papers_32_samples_are_quick_and_nothing_overflows():
    answers = [str(i // 2) for i in range(64)]
    assert majority_at_k([a == "3" for a in answers], answers, 32) == pytest.approx(1 / 32)


@pytest.mark.parametrize("num_answers", [2, 16, MOST_SAMPLES // 2])
def test_of_the_most_samples_answers_as_frequent_as_each_other_win_alike_within_seconds(num_answers):
    answers = [str(i % num_answers) for i in range(MOST_SAMPLES)]
    start = time.process_time()
    solved = majority_at_k([a == "1" for a in answers], answers, MOST_SAMPLES // 2)
    assert solved == pytest.approx(1 / num_answers, rel=1e-12)
    assert time.process_time() - start < 3


def test_more_samples_are_refused():
    with pytest.raises(ValueError, match="<= 256, got k=1 of 257"):
        majority_at_k([True] * 257, ["7"] * 257, 1)


@pytest.mark.parametrize("k", [0, 4])
def test_k_outside_the_number_of_samples_is_refused(k):
    with pytest.raises(ValueError, match="maj@k"):
        majority_at_k([True] * 3, ["7"] * 3, k)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("33", "033"),
        ("33", " 33.0 "),
        ("100", "100."),
        ("1,234,567", "1234567"),
        ("0.50", ".5"),
        ("-0.0", "0"),
        ("+7", "7"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left( 2, \, 3 \right)", "(2,3)"),
        (r"\text{East}", "East"),
        ("$x^2$", "x^2"),
    ],
)
def test_spellings_of_one_answer_are_the_same(one, other):
    assert spelt_alike(one) == spelt_alike(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("33", "330"),
        ("0.5", "0.05"),
        ("12345678901234567890123456789012", "12345678901234567890123456789013"),
        ("(1,234)", "(1234)"),
        ("x", "y"),
        (r"\frac{a}{2}", r"\frac{c}{2}"),
        ("-3", "3"),
        ("", "0"),
    ],
)
def test_different_answers_stay_different(one, other):
    assert spelt_alike(one) != spelt_alike(other)
