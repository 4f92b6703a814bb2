"""A bar for anything that counts: on a terminal it moves, elsewhere it is a line every few seconds."""

import math
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar:
    """Shows `done` of `total`, or nothing where `shown` is false; a context manager, used by one thread."""

    def __init__(
        self,
        name: str,
        *,
        total: int,
        shown: bool = True,
        console: Console | None = None,
        seconds_between_lines: float = 10.0,
    ):
        self.console = Console(stderr=True, quiet=not shown) if console is None else console
        self._name, self._total = name, total
        self._seconds_between_lines, self._last_line_time = seconds_between_lines, -math.inf
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, style="bold"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task(name, total=total, text="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, done: int, text: str = "") -> None:
        """Shows that `done` of the total are behind."""
        self._progress.update(self._task, completed=done, text=text)
        now = time.monotonic()
        due = now - self._last_line_time >= self._seconds_between_lines or done >= self._total
        if not self.console.is_terminal and due:
            self._last_line_time = now
            self.console.print(f"{self._name} {done}/{self._total} {text}", markup=False, highlight=False)
