r"""Finding answers: the last \boxed{}, the number behind ####, the letter of a choice, the known answers."""

import json
import re

from entropy_rl.rewards.mathematics.spelling import closing_brace

_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_BARE_CONTENT = re.compile(r"-?\d[\d,./]*(?<![,./])|[a-zA-Z](?![a-zA-Z])")
_MAX_MENTIONS = 100
_MAX_BOX_CHARACTERS = 50_000

_NUMBER = re.compile(r"(?<![\d.])-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|-?\.\d+")
_MAX_NUMBER_CHARACTERS = 1000

_WRAPPER = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_LETTER = re.compile(r"\(?([A-Z])\)?[.:]?")
_LETTER_AND_TEXT = re.compile(r"(?:\(([A-Z])\)|([A-Z])[.:)])\s.*", re.DOTALL)
_LETTERS = re.compile(r"\(?[A-Z]\)?(?:\s*(?:,|and)\s*\(?[A-Z]\)?)+|[A-Z]{2,}")
_ANNOUNCED = re.compile(r"(?i:answer(?: is)?)\s*:?[\s*$]*(\([A-Z]\)|[A-Z](?![\w']))")
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
    """The number of a short text that has just one, as in "$1,234 a day"; of "2 + 3 = 5", what comes last."""
    if len(text) > _MAX_NUMBER_CHARACTERS:
        return None
    text = text.replace(r"\,", "").replace(r"\!", "").replace("{,}", ",").replace("\u2212", "-")
    numbers = {number.replace(",", "") for number in _NUMBER.findall(text.rpartition("=")[2])}
    return numbers.pop() if len(numbers) == 1 else None


def choice_letters(text: str) -> str | None:
    r"""The letters that "B", "(B)", "B. text", \text{(B)} or "C, A" choose, sorted; None for other texts."""
    if len(text) > _MAX_CHOICE_CHARACTERS:
        return None
    text = _WRAPPER.sub(r"\1", text).strip(" \n\t$.{}*")
    if _LETTERS.fullmatch(text):
        letters = re.findall("[A-Z]", text)
        return "".join(sorted(letters)) if len(letters) == len(set(letters)) else None
    one = _LETTER.fullmatch(text) or _LETTER_AND_TEXT.fullmatch(text)
    return next(filter(None, one.groups())) if one else None


def announced_choice(text: str) -> str | None:
    """The letter after the last "answer is" or "Answer:"; None without one."""
    announced = _ANNOUNCED.findall(text)
    return announced[-1].strip("()") if announced else None


def known_answers(answer: str) -> tuple[str, ...]:
    r"""The answers that are right: one, or those of a JSON list of texts, as in '["(1, 2)", "(2, 1)"]'.

    Each is taken out of its \boxed{} where it has one.
    """
    answers = [answer]
    if answer.lstrip().startswith('["'):
        try:
            several = json.loads(answer)
        except ValueError:
            several = []
        if several and all(isinstance(one, str) for one in several):
            answers = several
    boxes = (last_boxed(one) for one in answers)
    return tuple(one if box is None else box for one, box in zip(answers, boxes, strict=True))
