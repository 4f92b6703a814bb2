"""Judging the rows of a file, without a policy."""

import json
from collections.abc import Iterator
from itertools import islice

from entropy_rl.data.rows import RowError, read_rows, require
from entropy_rl.paths import AnyPath
from entropy_rl.rewards.judging import Answered, Judges
from entropy_rl.rewards.rules import (
    CodeReward,
    GSM8KReward,
    MultipleChoiceReward,
    RewardRules,
    Route,
)

STANDARD_RULES = RewardRules(
    routes=(
        *(Route(data_source=name, reward=GSM8KReward()) for name in ("gsm8k*", "openai/gsm8k*")),
        *(Route(data_source=name, reward=MultipleChoiceReward()) for name in ("bbq*", "mmlu*", "gpqa*")),
        *(Route(data_source=name, reward=CodeReward()) for name in ("code*", "apps*", "taco*")),
    )
)
"""How rows are judged unless a configuration says otherwise: all else is mathematics."""
COLUMNS = ("response", "answer", "data_source")
CHUNK_ROWS = 1024
"""Rows judged together; they are written as soon as all of them are."""


def grade_rows(path: AnyPath, judges: Judges) -> Iterator[dict]:
    """For every row of a file {"score", "method", "extracted", "seconds"}, in order.

    A row that cannot be read scores 0, and its method begins with "unreadable". The score is the reward by
    the rules, without the penalty of length: tokens are not known here.
    """
    rows = read_rows(path, COLUMNS)
    while chunk := [_read(row) for _, row in islice(rows, CHUNK_ROWS)]:
        judged = iter(judges.judge([item for item in chunk if isinstance(item, Answered)]))
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
        answer = row.get("answer")
        if not isinstance(answer, str):
            answer = json.dumps(require(row, "answer", int | float | list | dict))
        return Answered(
            response=require(row, "response", str),
            answer=answer,
            data_source=require(row, "data_source", str),
        )
    except RowError as error:
        return error
