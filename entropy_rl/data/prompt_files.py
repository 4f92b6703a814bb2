"""Prompts of JSONL and Parquet files, by the columns that a schema names; no bad row passes in silence."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from entropy_rl.data.prompts import Prompt
from entropy_rl.data.rows import RowError, read_rows
from entropy_rl.data.schemas import Schema
from entropy_rl.paths import AnyPath

_NUM_ROWS_SHOWN = 3

_logger = logging.getLogger(__name__)


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
            data_source = file.schema.data_source_of(row)
        except RowError as error:
            malformed.append(f"{origin}: {error}")
            continue
        prompt = Prompt(
            prompt_id=first_id + len(prompts),
            content=messages if file.chat else "\n".join(message.content for message in messages),
            answer=answer,
            data_source=data_source,
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
