"""Judging the rows of a file, without a policy."""

import json
from collections.abc import Iterator
from itertools import islice

from entropy_rl.data.rows import RowError, read_rows, require
from entropy_rl.data.schemas import number_text
from entropy_rl.paths import AnyPath
from entropy_rl.rewards.judging import Answered, Judges

COLUMNS = ("response", "answer", "data_source")
CHUNK_ROWS = 1024
"""Rows in line at one time."""


def grade_rows(path: AnyPath, judges: Judges) -> Iterator[dict]:
    """For every row of a file {"score", "method", "extracted", "seconds"}, in order.

    A row that cannot be read scores 0, and its method begins with "unreadable". The score is the reward by
    the rules, without the penalty of length: tokens are not known here.
    """
    rows = read_rows(path, COLUMNS)
    while chunk := [_read(row) for _, row in islice(rows, CHUNK_ROWS)]:
        judged = judges.judge([item for item in chunk if isinstance(item, Answered)])
        for item in chunk:
            if isinstance(item, RowError):
                yield {"score": 0.0, "method": f"unreadable: {item}", "extracted": None, "seconds": 0.0}
                continue
            one = next(judged)
            yield {
                "score": one.reward,
                "method": one.judgement.error or one.judgement.method,
                "extracted": one.judgement.extracted,
                "seconds": round(one.judgement.seconds, 6),
            }


def _read(row: dict | RowError) -> Answered | RowError:
    """What is judged of a row. Several right answers, and the tests of code, are written as JSON."""
    try:
        if isinstance(row, RowError):
            raise row
        answer = require(row, "answer", str | int | float | list | dict)
        if isinstance(answer, bool) or (isinstance(answer, list) and not all(map(_is_plain, answer))):
            raise RowError('"answer" must be a text, a number, a list of these, or the tests of a program')
        if isinstance(answer, list):
            answer = json.dumps([_text(one) for one in answer])
        elif isinstance(answer, dict):
            answer = json.dumps(answer)
        return Answered(
            response=require(row, "response", str),
            answer=_text(answer),
            data_source=require(row, "data_source", str),
        )
    except RowError as error:
        return error


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _text(value: str | int | float) -> str:
    return value if isinstance(value, str) else number_text(value)
