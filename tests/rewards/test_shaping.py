"""The penalty of overlong responses and the reward for form."""

import numpy as np
import pytest

from entropy_rl.rewards.shaping import OverlongPenalty, judge_format


def test_no_penalty_up_to_the_buffer_then_evenly_more():
    penalty = OverlongPenalty(buffer_tokens=5, factor=2.0)
    num_tokens_N = np.array([1, 8, 9, 12, 13])
    # Up to 13 - 5 = 8 none; then 2/5 for each token more.
    assert penalty(num_tokens_N, 13) == pytest.approx([0, 0, -0.4, -1.6, -2.0])


def test_a_buffer_as_long_as_a_response_punishes_every_token():
    assert OverlongPenalty(buffer_tokens=7)(np.array([0, 1, 7]), 7) == pytest.approx([0, -1 / 7, -1])


@pytest.mark.parametrize("settings", [{"buffer_tokens": 0}, {"buffer_tokens": 3, "factor": 0.0}])
def test_a_penalty_that_is_none_is_refused(settings):
    with pytest.raises(ValueError, match="for no penalty set overlong to None"):
        OverlongPenalty(**settings)


def test_a_buffer_longer_than_a_response_is_refused():
    with pytest.raises(ValueError, match="at most the longest response, 7 tokens, got 8"):
        OverlongPenalty(buffer_tokens=8)(np.array([1]), 7)


def test_a_form_is_found_over_the_ends_of_lines():
    pattern = "<think>.+</think>.*answer"
    assert judge_format("<think>a\nb</think>\nanswer", "", pattern=pattern).score == 1
    assert judge_format("<think></think> answer", "", pattern=pattern).score == 0
