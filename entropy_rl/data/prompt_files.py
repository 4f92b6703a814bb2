r"""Prompts of JSONL and Parquet files. A schema says which columns to read; no bad row passes in silence.

The answers of mathematics are judged in \boxed{}, so the schemas of GSM8K, MATH and DAPO-Math-17k ask for a
box. DAPO's own instruction asks for a last line "Answer: ..." instead; it is taken out.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from entropy_rl.data.prompts import Prompt
from entropy_rl.data.rows import RowError, read_rows, require, require_text
from entropy_rl.data.tokenizers import ChatMessage
from entropy_rl.paths import AnyPath
from entropy_rl.rewards.math_answer import gsm8k_answer, last_boxed

BOXED_INSTRUCTION = r"Reason step by step, and put the final answer within \boxed{}."

_DAPO_PREAMBLE = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem."
)
_DAPO_REMINDER = 'Remember to put your answer on its own line after "Answer:".'
_NUM_ROWS_SHOWN = 3

_logger = logging.getLogger(__name__)

Messages = tuple[ChatMessage, ...]


class Schema(ABC):
    """How a row becomes a conversation and an answer. Subclasses are frozen dataclasses."""

    data_source: str
    """Name that the prompts carry."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that every row must have."""

    @abstractmethod
    def read(self, row: dict) -> tuple[Messages, str]:
        """Raises RowError when the row does not fit."""


@dataclass(frozen=True, kw_only=True)
class Plain(Schema):
    """Rows {prompt, answer}: a text or a list of {role, content}; a text or a number."""

    prompt_column: str = "prompt"
    """Column of what is asked."""
    answer_column: str = "answer"
    """Column of the answer to compare with."""
    boxed: bool = False
    r"""Ask for the answer in \boxed{}, unless the last turn does; False takes prompts as they are."""
    data_source: str = "plain"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.prompt_column, self.answer_column

    def read(self, row: dict) -> tuple[Messages, str]:
        if isinstance(row.get(self.prompt_column), list):
            messages = _conversation(row, self.prompt_column)
        else:
            messages = _user_turn(require_text(row, self.prompt_column))
        if self.boxed:
            *earlier, last = messages
            messages = (*earlier, ChatMessage(last.role, ask_for_box(last.content)))
        return messages, _text_or_number(row, self.answer_column)


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
        answer = last_boxed(require_text(row, "solution"))
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
        *earlier, last = _conversation(row, "prompt")
        asked = ChatMessage(last.role, ask_for_box(last.content))
        return (*earlier, asked), require_text(require(row, "reward_model", dict), "ground_truth")


def ask_for_box(problem: str) -> str:
    r"""The problem with an instruction to answer in \boxed{}, instead of DAPO's, unless it has one."""
    problem = problem.replace(_DAPO_PREAMBLE, "").replace(_DAPO_REMINDER, "").strip()
    return problem if r"\boxed" in problem else f"{problem}\n\n{BOXED_INSTRUCTION}"


def _user_turn(text: str) -> Messages:
    return (ChatMessage("user", text),)


def _text_or_number(row: dict, column: str) -> str:
    value = row.get(column)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else require_text(row, column)


def _conversation(row: dict, column: str) -> Messages:
    turns = require(row, column, list)
    if not turns or not all(isinstance(turn, dict) for turn in turns):
        raise RowError(f'"{column}" must be a list of at least one {{role, content}}; it is not')
    return tuple(ChatMessage(require_text(turn, "role"), require_text(turn, "content")) for turn in turns)


@dataclass(frozen=True, kw_only=True)
class PromptFile:
    """A file of prompts and how to read it."""

    path: AnyPath
    """A .jsonl or .parquet file, here or on gs:// or s3:// (in a configuration: `epath.Path` of etils)."""
    schema: Schema
    """Which columns hold what."""
    chat: bool = True
    """Render with the tokenizer's chat template; otherwise the text goes in alone."""


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """The usable prompts of a file, and what was left out."""

    prompts: list[Prompt]
    num_duplicates: int
    """Rows whose prompt text had been seen before."""
    malformed: list[str]
    """Each as "file:line: reason"."""


def read_prompts(file: PromptFile, *, first_id: int = 0, leave_out: Iterable[str] = ()) -> ReadReport:
    """Reads a file; its prompts get ids from `first_id` on, in the order of the file.

    Prompts whose text is in `leave_out`, or came before, count as duplicates. What is left out is logged,
    malformed rows with file and line. Raises ValueError when the file cannot be read or has no usable row.
    """
    seen, prompts, malformed, num_duplicates = set(leave_out), [], [], 0
    for line, row in read_rows(file.path, file.schema.columns):
        origin = f"{file.path}:{line}"
        try:
            if isinstance(row, RowError):
                raise row
            messages, answer = file.schema.read(row)
        except RowError as error:
            malformed.append(f"{origin}: {error}")
            continue
        prompt = Prompt(
            prompt_id=first_id + len(prompts),
            content=messages if file.chat else "\n".join(message.content for message in messages),
            answer=answer,
            data_source=file.schema.data_source,
            origin=origin,
        )
        if prompt.text in seen:
            num_duplicates += 1
            continue
        seen.add(prompt.text)
        prompts.append(prompt)
    report = ReadReport(prompts=prompts, num_duplicates=num_duplicates, malformed=malformed)
    _log_or_refuse(file, report)
    return report


def _log_or_refuse(file: PromptFile, report: ReadReport) -> None:
    num_rows = len(report.prompts) + report.num_duplicates + len(report.malformed)
    bad_rows = "".join(f"\n  {line}" for line in report.malformed[:_NUM_ROWS_SHOWN])
    bad_rows += "\n  ..." if len(report.malformed) > _NUM_ROWS_SHOWN else ""
    counts = f"{num_rows} rows, {len(report.malformed)} malformed, {report.num_duplicates} duplicates"
    if not report.prompts:
        raise ValueError(
            f"{file.path} must hold at least one usable row of {file.schema}; got {counts}; "
            f"correct the rows or choose another schema{bad_rows}"
        )
    if report.malformed:
        _logger.warning("%s: %s; the malformed rows are left out:%s", file.path, counts, bad_rows)
    elif report.num_duplicates:
        _logger.info("%s: %s", file.path, counts)
