"""Which responses say again what an earlier one of their group has said."""

import numpy as np
import pytest

from entropy_rl.evaluation.duplicates import duplicates, near_duplicates


def test_a_response_is_a_duplicate_when_its_tokens_are_those_of_an_earlier_one_of_its_group():
    ids = np.array(
        [[[1, 2, 9], [1, 2, 3], [1, 2, 7], [1, 2, 3]], [[1, 2, 3], [4, 5, 6], [6, 5, 4], [4, 5, 6]]]
    )
    # What follows a response is not looked at: 9 and 7 are padding.
    lengths = np.array([[2, 3, 2, 3], [3, 3, 3, 3]])
    got = duplicates(ids.astype(np.int32), lengths.astype(np.int32))
    assert got.tolist() == [[False, False, True, True], [False, False, False, True]]


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("a b c", "c b a a", True),  # sets of words: order and number do not matter
        ("a b c d e f g h i j k l m", "a b c d e f g h i j k l m n o p q r s t", False),  # 13 / 20 = 0.65
        ("a b c d e f g h i j k l m n", "a b c d e f g h i j k l m n o p q r s t", True),  # 14 / 20
        ("a b c d", "a b c e", False),  # 3 / 5
        ("a b c d e", "a b c d f", True),  # 4 / 6
        ("a", "b", False),
        ("", "  ", True),
        ("", "a", False),
    ],
)
def test_near_duplicates_have_more_than_0_65_of_their_words_in_common(one, other, near):
    assert near_duplicates([[one, other]]).tolist() == [[False, near]]
    assert near_duplicates([[other, one]]).tolist() == [[False, near]]


def test_near_duplicates_are_those_of_every_pair_by_the_definition():
    rng = np.random.default_rng(0)
    words = list("abcdefgh")
    texts = [[" ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(5)] for _ in range(40)]

    def jaccard(a, b):
        a, b = set(a.split()), set(b.split())
        return len(a & b) / len(a | b) if a | b else 1.0

    expected = [[any(jaccard(g[i], g[j]) > 0.65 for j in range(i)) for i in range(5)] for g in texts]
    assert near_duplicates(texts).tolist() == expected and np.any(expected)
