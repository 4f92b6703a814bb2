"""Reading metrics.jsonl while a run writes it: what is new, and all of it again where it was rewritten."""

import os
from pathlib import Path

from entropy_rl.observability.run_record import parse_row


class MetricsFollower:
    """The rows of a growing metrics.jsonl; whoever resumes the run may replace the file, or cut it short."""

    def __init__(self, path: Path):
        self._path = path
        self._rows: list[dict] = []
        self._file: tuple[int, int] | None = None
        """Device and inode of what was read so far."""
        self._offset = 0
        """Where the first line begins that was not whole yet."""

    def rows(self) -> tuple[dict, ...]:
        """All rows so far, oldest first; none while there is no file. A line not yet ended waits.

        Raises:
            ValueError: a whole line is no JSON object with a step.
        """
        try:
            file = open(self._path, "rb")
        except FileNotFoundError:
            self._file, self._offset, self._rows = None, 0, []
            return ()
        with file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity != self._file or status.st_size < self._offset:
                self._file, self._offset, self._rows = identity, 0, []
            file.seek(self._offset)
            whole, end_of_line, _ = file.read().rpartition(b"\n")
        for line in whole.split(b"\n") if end_of_line else []:
            if line.strip():
                self._rows.append(parse_row(line, str(self._path)))
        self._offset += len(whole) + len(end_of_line)
        return tuple(self._rows)
