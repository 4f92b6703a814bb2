r"""Finding answers: the last \boxed{}, the number behind ####, the letter of a choice, the known answers."""

import json
import re

from entropy_rl.rewards.mathematics.numbers import ARITHMETIC_WORDS, MULTIPLIERS
from entropy_rl.rewards.mathematics.spelling import WRAPPER, closing_brace

_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_BARE_CONTENT = re.compile(r"-?\d[\d,./]*(?<![,./])|[a-zA-Z](?![a-zA-Z])")
_MAX_MENTIONS = 100
_MAX_BOX_CHARACTERS = 50_000

_NUMBER = re.compile(r"(?<![\d.])-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|-?\.\d+")
_MAX_NUMBER_CHARACTERS = 1000
_SPACED_SIGN = re.compile(r"(^|[:(])\s*-\s*\$?\s*(?=[\d.])")
_WORDS_AROUND = re.compile(
    r"(?:[a-z]{2,}(?![a-z])|\b[ai]\b|[\s.,:;?'\"()$\u20ac\u00a3~]|(?<=\w)-(?=\w)|\d)*", re.IGNORECASE
)
"""Words, punctuation and currency: neither arithmetic nor single letters."""

_CHANGING_WORDS = ARITHMETIC_WORDS.union(MULTIPLIERS)

_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")
_LETTER_AND_TEXT = re.compile(r"(?:\(([A-Z])\)|([A-Z])[.:)])\s.*", re.DOTALL)
_LETTERS = re.compile(r"\(?[A-Z]\)?(?:\s*(?:,|and)\s*\(?[A-Z]\)?)+|[A-H]{2,}")
_ONE = r"(?:\([A-Z]\)|[A-Z](?![\w']))"
_ANNOUNCED = re.compile(rf"(?i:answer(?: is)?)[\s:*$]*({_ONE}(?:\s*(?:,|/|and\b|or\b)+\s*{_ONE})*)")
_MAX_CHOICE_CHARACTERS = 1000


def last_boxed(text: str) -> str | None:
    r"""The content of the last \boxed{} or \fbox{}, braces matched; None when there is none.

    `\boxed 7` counts where a number or a letter follows; otherwise the word alone is no box. A last box that
    is not closed within 50,000 characters is none, whatever came before it: the response was cut off while it
    answered.
    """
    end = len(text)
    for _ in range(_MAX_MENTIONS):
        end = max(text.rfind(r"\boxed", 0, end), text.rfind(r"\fbox", 0, end))
        if end < 0:
            return None
        box = _BOX.match(text, end)
        if box and text.startswith("{", box.end()):
            close = closing_brace(text, box.end(), end=box.end() + _MAX_BOX_CHARACTERS)
            return None if close is None else text[box.end() + 1 : close]
        if box and (bare := _BARE_CONTENT.match(text, box.end())):
            return bare.group()
    return None


def gsm8k_answer(solution: str) -> str | None:
    """The number on the line of the last ####, without thousands separators; None without one."""
    _, mark, rest = solution.rpartition("####")
    return only_number(rest.strip().partition("\n")[0]) if mark else None


def only_number(text: str) -> str | None:
    """The number of a short text that has one among words, as "$1,234 a day"; of "2 + 3 = 5" what comes last.

    None where more than words is around it: "5!", "5 - 5", "5 million".
    """
    if len(text) > _MAX_NUMBER_CHARACTERS:
        return None
    text = text.replace(r"\,", "").replace(r"\!", "").replace("{,}", ",").replace("\u2212", "-")
    text = WRAPPER.sub(r" \2 ", text.replace(r"\$", "$").replace(r"\%", "%")).rpartition("=")[2]
    text = _SPACED_SIGN.sub(r"\1-", text)
    numbers = _NUMBER.findall(text)
    around = _NUMBER.sub("0", text)
    words = re.findall("[a-z]+", around.lower())
    if len(numbers) != 1 or not _WORDS_AROUND.fullmatch(around):
        return None
    return None if _CHANGING_WORDS.intersection(words) else numbers[0].replace(",", "")


def choice_letters(text: str) -> str | None:
    r"""The letters that "B", "(B)", "B. text", \text{(B)} or "C, A" choose, sorted; None for other texts."""
    if len(text) > _MAX_CHOICE_CHARACTERS:
        return None
    text = WRAPPER.sub(r"\2", text).strip(" \n\t$.{}*")
    if _LETTERS.fullmatch(text):
        letters = re.findall("[A-Z]", text)
        return "".join(sorted(letters)) if len(letters) == len(set(letters)) else None
    one = _LETTER.fullmatch(text) or _LETTER_AND_TEXT.fullmatch(text)
    return next(filter(None, one.groups())).upper() if one else None


def announced_choice(text: str) -> str | None:
    """The letters after the last "answer is" or "Answer:"; None without one, and for "A or B"."""
    announced = _ANNOUNCED.findall(text)
    return choice_letters(announced[-1]) if announced else None


def known_answers(answer: str) -> tuple[str, ...]:
    r"""The answers that are right: one, or those of a JSON list of texts, as in '["(1, 2)", "(2, 1)"]'.

    Each is taken out of its \boxed{} where it has one.
    """
    answers = [answer]
    if re.match(r'\s*\[\s*"', answer):
        try:
            several = json.loads(answer)
        except ValueError:
            several = []
        if several and all(isinstance(one, str) for one in several):
            answers = several
    boxes = (last_boxed(one) for one in answers)
    return tuple(one if box is None else box for one, box in zip(answers, boxes, strict=True))
