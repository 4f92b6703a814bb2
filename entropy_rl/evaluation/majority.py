r"""maj@k: how often the answer that most of k samples give is right, exactly and without drawing.

Of the G samples of a problem, k vote: every choice of k of them is as likely. Samples vote for the answer
found in their text; one without an answer votes for nothing. Where several answers have the most votes, each
of them wins as often; where nobody voted, the problem is not solved. Answers are the same when their texts
are, spelt alike by `spelt_alike`: not by algebra, so that 1/2 and 0.5 are two answers.
"""

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from math import comb

_SPACING = re.compile(r"\\left\b|\\right\b|\\[,;!: ]|\\quad\b|\\displaystyle\b|[\s$]")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\{([^{}]*)\}")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def spelt_alike(answer: str) -> str:
    r"""The answer in one spelling: without spaces, \left, \text{} and the like; 033, 33.0 and 33 are one."""
    answer = re.sub(r"\\[dt]frac\b", r"\\frac", _TEXT.sub(r"\1", answer))
    answer = _SPACING.sub("", answer).rstrip(".")
    if _THOUSANDS.fullmatch(answer):
        answer = answer.replace(",", "")
    if _NUMBER.fullmatch(answer):
        try:
            return format(Decimal(answer).normalize(), "f")
        except InvalidOperation:
            return answer
    return answer


def majority_at_k(correct_G: Sequence[bool], answer_G: Sequence[str | None], k: int) -> float:
    """Probability that the majority of k of the G samples of a problem is right.

    `answer_G` has None for a sample without an answer. An answer is as right as the share of its samples that
    were judged right: all or none of them, unless a judge was stopped at its time limit. Raises ValueError
    unless 1 <= k <= G.
    """
    num_samples = len(answer_G)
    if not 1 <= k <= num_samples:
        raise ValueError(f"maj@k needs 1 <= k <= the {num_samples} samples of a problem, got k={k}")
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
    """
    contenders = [group for group in groups if group[0] >= most]
    num_others = num_samples - sum(count for count, _ in contenders)  # they can neither win nor tie
    ways, right = {(0, 0): 1}, {(0, 0): 0.0}
    for count, rightness in contenders:
        next_ways, next_right = Counter(), Counter()
        for (drawn, ties), number in ways.items():
            for votes in range(min(most, k - drawn) + 1):
                at = drawn + votes, ties + (votes == most)
                choices = comb(count, votes)
                next_ways[at] += choices * number
                next_right[at] += choices * (right[drawn, ties] + (votes == most) * rightness * number)
        ways, right = next_ways, next_right
    won = (x / ties * comb(num_others, k - drawn) for (drawn, ties), x in right.items() if ties)
    return sum(won, start=0.0)
