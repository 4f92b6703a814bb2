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
        self.records: list[Record] = self._whole_lines()

    def _whole_lines(self) -> list[Record]:
        self._file.seek(0)
        content = self._file.read()
        length = content.rfind(b"\n") + 1
        self._file.truncate(length)
        return [json.loads(line) for line in content[:length].splitlines()]

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
