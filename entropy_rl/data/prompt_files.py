"""Where prompts come from: tables of rows, by the columns that a schema names, alone or as a mixture.

No bad row passes in silence, and no prompt comes twice.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from entropy_rl.data.prompts import Prompt
from entropy_rl.data.rows import RowError, read_rows
from entropy_rl.data.schemas import Messages, Schema
from entropy_rl.data.tokenizers import ChatMessage
from entropy_rl.paths import AnyPath

_NUM_ROWS_SHOWN = 3

_logger = logging.getLogger(__name__)


class PromptSource(ABC):
    """Where prompts come from. Subclasses are frozen dataclasses."""

    @abstractmethod
    def as_parts(self) -> "tuple[Part, ...]":
        """The tables that are read, in this order, with their weights."""


@dataclass(frozen=True, kw_only=True)
class PromptTable(PromptSource):
    """Rows of one schema. Subclasses say where they are."""

    schema: Schema
    """Which columns hold what."""
    chat: bool = True
    """Render with the tokenizer's chat template; otherwise the text goes in alone."""
    system_prompt: str | None = None
    """A system turn before every conversation, instead of its own; None leaves conversations as they are."""

    def __post_init__(self):
        if self.system_prompt is not None and not self.chat:
            raise ValueError(
                f"system_prompt must be None where chat is False, got {self.system_prompt!r}; plain text has "
                "no turns: set chat to True, or leave the system prompt out"
            )

    def as_parts(self) -> "tuple[Part, ...]":
        return (Part(source=self, weight=1.0),)

    @property
    @abstractmethod
    def name(self) -> str:
        """The table in messages, and the origin of its prompts."""

    @abstractmethod
    def rows(self) -> Iterator[tuple[int, dict | RowError]]:
        """Every row with its number, from 1. Raises ValueError when the table as a whole cannot be read."""

    def prompt_of(self, row: dict | RowError, prompt_id: int, part: int, origin: str) -> Prompt:
        """Raises RowError when the row does not fit the schema."""
        if isinstance(row, RowError):
            raise row
        messages, answer = self.schema.read(row)
        return Prompt(
            prompt_id=prompt_id,
            content=self._with_system_prompt(messages) if self.chat else _plain(messages),
            answer=answer,
            data_source=self.schema.data_source_of(row),
            origin=origin,
            part=part,
        )

    def _with_system_prompt(self, messages: Messages) -> Messages:
        if self.system_prompt is None:
            return messages
        others = (message for message in messages if message.role != "system")
        return (ChatMessage("system", self.system_prompt), *others)


@dataclass(frozen=True, kw_only=True)
class PromptFile(PromptTable):
    """A file of prompts and how to read it."""

    path: AnyPath
    """A .jsonl or .parquet file, here or on gs:// or s3:// (in a configuration: `epath.Path` of etils)."""

    @property
    def name(self) -> str:
        return str(self.path)

    def rows(self) -> Iterator[tuple[int, dict | RowError]]:
        return read_rows(self.path, self.schema.columns)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A table in a mixture."""

    source: PromptTable
    weight: float
    """Its share of the prompts that train, in proportion to the weights of the other parts. A small table of
    much weight comes round more often."""

    def __post_init__(self):
        if not 0 < self.weight < math.inf:
            raise ValueError(
                f"the weight of a part must be positive and finite, got {self.weight}; leave a part out "
                "instead of giving it no weight"
            )


@dataclass(frozen=True, kw_only=True)
class Mixture(PromptSource):
    """Several tables, whose shares of every batch are kept. A prompt of several belongs to the first."""

    parts: tuple[Part, ...]
    """The tables and their weights."""

    def __post_init__(self):
        if not self.parts:
            raise ValueError("a mixture must have at least one part, got none; name its tables")

    def as_parts(self) -> tuple[Part, ...]:
        return self.parts


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """The usable prompts of a source, and what was left out."""

    prompts: list[Prompt]
    num_duplicates: int = 0
    """Rows whose prompt text had been seen before."""
    num_contradictions: int = 0
    """Duplicates of a prompt with another answer; the first is kept."""
    malformed: Sequence[str] = ()
    """Each as "file:line: reason"."""


def read_prompts(source: PromptSource, *, first_id: int = 0, leave_out: Iterable[str] = ()) -> ReadReport:
    """Reads a source; its prompts get ids from `first_id` on, in the order of parts and rows.

    Prompts whose text is in `leave_out`, or came before, count as duplicates; only its words matter, not the
    space between them. Malformed rows, with file and line, and contradictions are warned of. Raises
    ValueError when a table cannot be read or has no usable row.
    """
    answer_of, reports, num_prompts = dict.fromkeys(map(_words, leave_out)), [], 0
    for part, table in enumerate(part.source for part in source.as_parts()):
        report = read_table(table, answer_of, part=part, first_id=first_id + num_prompts)
        _warn_or_refuse(table, report)
        reports.append(report)
        num_prompts += len(report.prompts)
    return ReadReport(
        prompts=[prompt for report in reports for prompt in report.prompts],
        num_duplicates=sum(report.num_duplicates for report in reports),
        num_contradictions=sum(report.num_contradictions for report in reports),
        malformed=[line for report in reports for line in report.malformed],
    )


def read_table(
    table: PromptTable, answer_of: dict[str, str | None], *, part: int = 0, first_id: int = 0
) -> ReadReport:
    """Reads a table, however little is usable. `answer_of` has the words of prompts seen before; it grows."""
    prompts, malformed, num_duplicates, num_contradictions = [], [], 0, 0
    for line, row in table.rows():
        origin = f"{table.name}:{line}"
        try:
            prompt = table.prompt_of(row, first_id + len(prompts), part, origin)
        except RowError as error:
            malformed.append(f"{origin}: {error}")
            continue
        words = _words(prompt.text)
        if words in answer_of:
            num_duplicates += 1
            num_contradictions += answer_of[words] not in (None, prompt.answer)
            continue
        answer_of[words] = prompt.answer
        prompts.append(prompt)
    return ReadReport(
        prompts=prompts,
        num_duplicates=num_duplicates,
        num_contradictions=num_contradictions,
        malformed=malformed,
    )


def _words(text: str) -> str:
    return " ".join(text.split())


def _plain(messages: Messages) -> str:
    return "\n".join(message.content for message in messages)


def _warn_or_refuse(table: PromptTable, report: ReadReport) -> None:
    num_rows = len(report.prompts) + report.num_duplicates + len(report.malformed)
    bad_rows = "".join(f"\n  {line}" for line in report.malformed[:_NUM_ROWS_SHOWN])
    bad_rows += "\n  ..." if len(report.malformed) > _NUM_ROWS_SHOWN else ""
    counts = f"{num_rows} rows, {len(report.malformed)} malformed, {report.num_duplicates} duplicates"
    if report.num_contradictions:
        counts += f" ({report.num_contradictions} with another answer)"
    if not report.prompts:
        raise ValueError(
            f"{table.name} must hold at least one usable row of {table.schema}; got {counts}; "
            f"correct the rows or choose another schema{bad_rows}"
        )
    if report.malformed:
        _logger.warning("%s: %s; the malformed rows are left out:%s", table.name, counts, bad_rows)
    elif report.num_contradictions:
        _logger.warning("%s: %s; the first answer of each prompt is kept", table.name, counts)
