r"""Schemas: which columns of a row hold the problem, its answer and the name of its data set.

The answers of mathematics are judged in \boxed{}, so the schemas of GSM8K, MATH, DAPO-Math-17k and
OlympiadBench ask for a box. A name with dots reaches into a column: "reward_model.ground_truth". Several
ground truths, each of which is right, are kept as one text: a JSON list of strings.
"""

import json
import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from entropy_rl.data.instructions import ask_for_box
from entropy_rl.data.rows import RowError, require, require_text
from entropy_rl.data.tokenizers import ChatMessage
from entropy_rl.rewards.mathematics.extraction import gsm8k_answer, last_boxed

Messages = tuple[ChatMessage, ...]

_DOLLAR = re.compile(r"(?<!\\)\$")
_ESCAPED_BRACE = re.compile(r"\\[{}]")
_COMMA = re.compile(r",\s*")


class Schema(ABC):
    """How a row becomes a conversation and an answer. Subclasses are frozen dataclasses."""

    data_source: str
    """Name that the prompts carry, by which rewards are chosen."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that every row must have."""

    @abstractmethod
    def read(self, row: dict) -> tuple[Messages, str]:
        """Raises RowError when the row does not fit."""

    def data_source_of(self, row: dict) -> str:
        """The data set that a row belongs to."""
        return self.data_source


@dataclass(frozen=True, kw_only=True)
class Columns(Schema):
    """Rows of any columns. A prompt is a text or a list of {role, content}; an answer a text, a number or a
    list of them, each of which is right."""

    prompt_column: str = "prompt"
    """Column of what is asked."""
    answer_column: str = "answer"
    """Column of the answer to compare with."""
    boxed: bool = False
    r"""Ask for the answer in \boxed{}, unless the last turn does; False takes prompts as they are."""
    data_source: str = "columns"
    """Name of the data set, where no column tells it."""
    data_source_column: str | None = None
    """Column of the name of each row's data set."""

    @property
    def columns(self) -> tuple[str, ...]:
        named = (self.prompt_column, self.answer_column, self.data_source_column)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def read(self, row: dict) -> tuple[Messages, str]:
        messages = _messages(row, self.prompt_column)
        return _asking_for_box(messages) if self.boxed else messages, _answer(row, self.answer_column)

    def data_source_of(self, row: dict) -> str:
        return require_text(row, self.data_source_column) if self.data_source_column else self.data_source


@dataclass(frozen=True, kw_only=True)
class GSM8K(Schema):
    """Rows {question, answer}; the answer ends with "#### number"."""

    data_source: str = "gsm8k"

    @property
    def columns(self) -> tuple[str, ...]:
        return "question", "answer"

    def read(self, row: dict) -> tuple[Messages, str]:
        answer = gsm8k_answer(require_text(row, "answer"))
        if answer is None:
            raise RowError('"answer" must end with #### and a number; it does not')
        return _user_turn(ask_for_box(require_text(row, "question"))), answer


@dataclass(frozen=True, kw_only=True)
class Math(Schema):
    r"""Rows {problem, solution} of MATH; the answer is the last \boxed{} of the solution."""

    data_source: str = "math"

    @property
    def columns(self) -> tuple[str, ...]:
        return "problem", "solution"

    def read(self, row: dict) -> tuple[Messages, str]:
        answer = _tidied(last_boxed(require_text(row, "solution")) or "")
        if not answer:
            raise RowError(r'"solution" must hold a \boxed{} answer; it does not')
        return _user_turn(ask_for_box(require_text(row, "problem"))), answer


@dataclass(frozen=True, kw_only=True)
class DapoMath(Schema):
    """Rows {prompt: [{role, content}], reward_model: {ground_truth}} of DAPO-Math-17k."""

    data_source: str = "math_dapo"

    @property
    def columns(self) -> tuple[str, ...]:
        return "prompt", "reward_model"

    def read(self, row: dict) -> tuple[Messages, str]:
        require(row, "prompt", list)
        answers = [_tidied(answer) for answer in _texts(row, "reward_model.ground_truth")]
        return _asking_for_box(_messages(row, "prompt")), one_text(answers)


@dataclass(frozen=True, kw_only=True)
class OlympiadBench(Schema):
    """Rows {question, final_answer: [text]} of OlympiadBench, whose answers stand between dollars.

    A problem with several solutions has them all in one text, "$69$,$84$", and a response must give them all.
    """

    data_source: str = "olympiadbench"

    @property
    def columns(self) -> tuple[str, ...]:
        return "question", "final_answer", "is_multiple_answer"

    def read(self, row: dict) -> tuple[Messages, str]:
        answers = [_tidied(answer) for answer in _texts(row, "final_answer")]
        if require(row, "is_multiple_answer", bool):  # ", ": in 2500,7500 the comma sets no thousands apart
            answers = [_COMMA.sub(", ", answer) for answer in answers]
        return _user_turn(ask_for_box(require_text(row, "question"))), one_text(answers)


def one_text(answers: list[str]) -> str:
    """Ground truths as a prompt carries them: one as it is, several as a JSON list."""
    return answers[0] if len(answers) == 1 else json.dumps(answers, ensure_ascii=False)


def _user_turn(text: str) -> Messages:
    return (ChatMessage("user", text),)


def _asking_for_box(messages: Messages) -> Messages:
    *earlier, last = messages
    return (*earlier, ChatMessage(last.role, ask_for_box(last.content)))


def _messages(row: dict, column: str) -> Messages:
    turns = require(row, column, list | str)
    if isinstance(turns, str):
        return _user_turn(require_text(row, column))
    if not turns or not all(isinstance(turn, dict) for turn in turns):
        raise RowError(f'"{column}" must be a list of at least one {{role, content}}; it is not')
    return tuple(ChatMessage(require_text(turn, "role"), require_text(turn, "content")) for turn in turns)


def _answer(row: dict, column: str) -> str:
    return one_text(_texts(row, column))


def _texts(row: dict, column: str) -> list[str]:
    """The texts and numbers of a column: a list of them, or a single one."""
    value = require(row, column, list | str | int | float)
    if value == []:
        raise RowError(f'"{column}" must hold at least one answer; it is an empty list')
    return [_text_or_number({column: one}, column) for one in (value if isinstance(value, list) else [value])]


def _text_or_number(row: dict, column: str) -> str:
    value = row[column]
    if not isinstance(value, int | float) or isinstance(value, bool):
        return require_text(row, column)
    if not math.isfinite(value):
        raise RowError(f'"{column}" must be a finite number; got {value}')
    return number_text(value)


def number_text(value: int | float) -> str:
    """A number as an answer is written: 27.0, as a whole one is stored beside others, becomes "27"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _tidied(answer: str) -> str:
    """An answer in LaTeX without its dollars, and with the braces closed that Omni-MATH forgot at its end."""
    answer = _DOLLAR.sub("", answer).strip()
    grouping = _ESCAPED_BRACE.sub("", answer)
    return answer + "}" * (grouping.count("{") - grouping.count("}"))
