"""pass@k against its limits, a hand calculation and a count over all subsets."""

from itertools import combinations

import numpy as np
import pytest

from entropy_rl.evaluation import pass_at_k


def test_pass_at_1_is_the_accuracy_and_pass_at_all_is_any():
    correct_PG = np.random.default_rng(0).random((7, 5)) < 0.3
    assert pass_at_k(correct_PG, 1) == pytest.approx(correct_PG.mean())
    assert pass_at_k(correct_PG, 5) == pytest.approx(correct_PG.any(axis=1).mean())


def test_pass_at_2_of_one_right_in_four_is_one_half():
    # 1 - C(3, 2) / C(4, 2) = 1 - 3 / 6
    assert pass_at_k(np.array([[True, False, False, False]]), 2) == pytest.approx(0.5)


def test_it_equals_the_share_of_subsets_that_hold_a_right_sample():
    correct_PG = np.random.default_rng(1).random((3, 7)) < 0.4
    for k in range(1, 8):
        shares = [np.mean([any(s) for s in combinations(row.tolist(), k)]) for row in correct_PG]
        assert pass_at_k(correct_PG, k) == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("k", [0, 6])
def test_k_outside_the_number_of_samples_is_refused(k):
    with pytest.raises(ValueError, match="pass@k"):
        pass_at_k(np.ones((2, 5), bool), k)
