r"""maj@k: how often the answer that most of k samples give is right, by counting and without drawing.

Of the G samples of a problem, k vote: every choice of k of them is as likely. Samples vote for the answer
found in their text; one without an answer, or whose judging was stopped, votes for nothing. Where several
answers have the most votes, each of them wins as often; where nobody voted, the problem is not solved.
Answers are the same when their texts are, spelt alike by `spelt_alike`: not by algebra, so that 1/2 and 0.5
are two answers.
"""

import re
from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np

MOST_SAMPLES = 256
"""Of more samples there is no maj@k: a problem of so many takes up to half a second, of twice as many eight
times as long, and beyond 1,029 numbers of choices are no floats."""

_SPACING = re.compile(r"\\left\b|\\right\b|\\[,;!: ]|\\quad\b|\\displaystyle\b|[\s$]")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\{([^{}]*)\}")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_NUMBER = re.compile(r"([+-]?)0*(\d*?)(?:\.(\d*?)0*)?", re.ASCII)


def spelt_alike(answer: str) -> str:
    r"""The answer in one spelling: without spaces, \left, \text{} and the like; 033, 33.0 and 33 are one."""
    answer = re.sub(r"\\[dt]frac\b", r"\\frac", _TEXT.sub(r"\1", answer))
    answer = _SPACING.sub("", answer).rstrip(".")
    if _THOUSANDS.fullmatch(answer):
        answer = answer.replace(",", "")
    number = _NUMBER.fullmatch(answer)
    if number is None or not any(map(str.isdecimal, answer)):
        return answer
    sign, whole, part = number.groups(default="")
    minus = "-" if sign == "-" and (whole or part) else ""
    return minus + (whole or "0") + (f".{part}" if part else "")


def majority_at_k(correct_G: Sequence[bool], answer_G: Sequence[str | None], k: int) -> float:
    """Probability that the majority of k of the G samples of a problem is right.

    `answer_G` has None for a sample without an answer. An answer is as right as the share of its samples that
    were judged right: all or none of them, unless its spellings were judged differently. Raises ValueError
    unless 1 <= k <= G <= MOST_SAMPLES.
    """
    num_samples = len(answer_G)
    if not 1 <= k <= num_samples <= MOST_SAMPLES:
        raise ValueError(
            f"maj@k needs 1 <= k <= the samples of a problem <= {MOST_SAMPLES}, got k={k} of {num_samples}"
        )
    given = [(spelt_alike(a), c) for a, c in zip(answer_G, correct_G, strict=True) if a is not None]
    votes = Counter(answer for answer, _ in given)
    right = Counter(answer for answer, correct in given if correct)
    groups = [(count, right[answer] / count) for answer, count in votes.items()]
    solved = sum(_right_winners(groups, num_samples, k, most) for most in range(1, k + 1))
    return solved / comb(num_samples, k)


def _right_winners(groups: list[tuple[int, float]], num_samples: int, k: int, most: int) -> float:
    """Of all choices of k samples whose winner has `most` votes, how many are right, ties shared evenly.

    Goes through the answers that can have so many votes. `ways[d, t]` counts the choices of d samples among
    them of which t answers have `most` votes, and `right[d, t]` sums over these how right the t answers are.
    All terms are positive: floats lose a few of their last bits and no more.
    """
    contenders = [group for group in groups if group[0] >= most]
    if not contenders:
        return 0.0
    num_others = num_samples - sum(count for count, _ in contenders)  # they can neither win nor tie
    most_ties = min(len(contenders), k // most)
    ways, right = np.zeros((2, k + 1, most_ties + 1))
    ways[0, 0] = 1
    for count, rightness in contenders:
        next_ways, next_right = np.zeros_like(ways), np.zeros_like(right)
        for votes in range(most):
            choices = comb(count, votes)
            next_ways[votes:] += choices * ways[: k + 1 - votes]
            next_right[votes:] += choices * right[: k + 1 - votes]
        choices, before = comb(count, most), (slice(k + 1 - most), slice(most_ties))
        next_ways[most:, 1:] += choices * ways[before]
        next_right[most:, 1:] += choices * (right[before] + rightness * ways[before])
        ways, right = next_ways, next_right
    undecided = np.array([comb(num_others, k - drawn) for drawn in range(k + 1)], np.float64)
    return float((undecided @ right[:, 1:] / np.arange(1, most_ties + 1)).sum())
