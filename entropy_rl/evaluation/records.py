"""The records of a benchmark: a JSON object a problem, with every sample, written when its batch is judged.

    {"id", "origin", "answer", "sampling_seconds", "judging_seconds", "samples": [{"text", "extracted",
    "correct", "score", "method", "timed_out", "num_tokens", "truncated"}]}

Seconds are the problem's share of those of its batch, the compiler's included. A process that is killed
leaves at most a torn last line, which the next one takes away.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class RecordFile:
    """The records of one benchmark, to which a run adds; a context manager."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")
        self.records: list[Record] = self._without_torn_line()

    def _without_torn_line(self) -> list[Record]:
        self._file.seek(0)
        content = _whole_lines(self._file.read())
        self._file.truncate(len(content))
        return _parsed(content)

    def append(self, records: Sequence[Record]) -> None:
        """Adds records; they are on disk when this returns."""
        lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.records.extend(records)

    def __enter__(self) -> "RecordFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_records(path: Path) -> list[Record]:
    """The records of a file to which nobody need be adding; none of a file that is not there."""
    return _parsed(_whole_lines(path.read_bytes())) if path.is_file() else []


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _parsed(content: bytes) -> list[Record]:
    return [json.loads(line) for line in content.splitlines()]
