"""maj@k against its limits, hand calculations and a vote over all subsets."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from entropy_rl.evaluation.majority import majority_at_k, spelt_alike


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


def test_an_answer_that_a_judge_failed_to_judge_once_is_right_in_part():
    assert majority_at_k([True, True, False], ["7", "7", "7"], 3) == pytest.approx(2 / 3)


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
        ("(1,234)", "(1234)"),
        ("x", "y"),
        (r"\frac{a}{2}", r"\frac{c}{2}"),
        ("-3", "3"),
        ("", "0"),
    ],
)
def test_different_answers_stay_different(one, other):
    assert spelt_alike(one) != spelt_alike(other)
