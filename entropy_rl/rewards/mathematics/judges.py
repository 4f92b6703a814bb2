r"""The judges of mathematics, for a `JudgePool`: each compares a response with a known answer.

The known answer is a text, or a JSON list of texts of which any is right; one in \boxed{} is taken out of it.
A response may cost any time and memory: the pool's limits bound it.
"""

import re

from entropy_rl.rewards.mathematics.equality import how_equal
from entropy_rl.rewards.mathematics.extraction import (
    announced_choice,
    choice_letters,
    gsm8k_answer,
    known_answers,
    last_boxed,
    only_number,
)
from entropy_rl.rewards.mathematics.symbolic import expressions_equal
from entropy_rl.rewards.scores import MAX_EXTRACTED_CHARACTERS, Score

_MARKED_CHOICE = re.compile(r"\\text(?:bf)?\{\(?[A-Z]\)?\}|\([A-Z]\)")

expressions_equal(r"\frac{x^2-1}{x-1}", "x+1")  # the first time is slow, and must be no item's


def judge(response: str, answer: str) -> Score:
    r"""Right when the last \boxed{} of the response equals a known answer."""
    boxed = last_boxed(response)
    if boxed is None:
        return Score(score=0.0, method="no box")
    return _compare(boxed, known_answers(answer))


def judge_gsm8k(response: str, answer: str) -> Score:
    r"""Right when the last \boxed{} or, without one, what is behind the last #### equals the known number.

    Words around a number are ignored then: "$1,234.00 for the whole day" is 1234.
    """
    boxed = last_boxed(response)
    given = boxed if boxed is not None else gsm8k_answer(response)
    if given is None:
        return Score(score=0.0, method="no box")
    known = tuple(gsm8k_answer(one) or one for one in known_answers(answer))
    score, number = _compare(given, known), only_number(given)
    return _compare(number, known) if score.score == 0 and number is not None else score


def judge_choice(response: str, answer: str) -> Score:
    r"""Right when the letter of the last \boxed{}, or else behind the last "answer is", is the known one.

    A choice of several letters is right when all are, in any order. A box without a letter is compared with
    the known answer as mathematics.
    """
    boxed = last_boxed(response)
    given = boxed if boxed is not None else announced_choice(response)
    if given is None:
        return Score(score=0.0, method="no box")
    known = known_answers(answer)
    letters = choice_letters(given) or announced_choice(given)
    if letters is None:
        return _compare(given, known)
    is_right = letters in map(choice_letters, known)
    return Score(score=float(is_right), method="choice", extracted=letters)


def _compare(given: str, known: tuple[str, ...]) -> Score:
    given = given.strip()
    if len(given) > MAX_EXTRACTED_CHARACTERS:  # no known answer comes near, and reading is not linear
        return Score(score=0.0, method="too long", extracted=given[:MAX_EXTRACTED_CHARACTERS])
    if given and given in map(str.strip, known):
        return Score(score=1.0, method="exact", extracted=given)
    for one in known:
        if _same_choice(one.strip(), given):
            return Score(score=1.0, method="choice", extracted=given)
        method = how_equal(one, given)
        if method is not None:
            return Score(score=1.0, method=method, extracted=given)
    return Score(score=0.0, method="different", extracted=given)


def _same_choice(known: str, given: str) -> bool:
    r"""Whether both are one letter, in a form that says so for one of them: (C), \text{(C)}."""
    letter = choice_letters(known)
    is_choice = any(_MARKED_CHOICE.fullmatch(text) for text in (known, given))
    return is_choice and letter is not None and letter == choice_letters(given)
