"""How a run shows itself while it runs, and the table at its end.

On a terminal a bar with reward, entropy, seconds a step and the time left; elsewhere (a log file, a CI
job) a plain line now and then, and always for the first and the last step.
"""

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from entropy_rl.observability.json_files import json_number
from entropy_rl.observability.metric_names import ENTROPY
from entropy_rl.observability.run_record import MetricSummary, summarize

REWARD = "reward/mean"
TABLE_METRICS = (
    REWARD,
    "reward/pass_rate",
    ENTROPY,
    "length/mean",
    "length/truncated_fraction",
    "covariance/mean",
    "selection/selected",
    "policy/approx_kl_k3",
    "optimizer/grad_norm",
    "mismatch/logp_gap_max",
    "seconds/step",
)
"""The rows of the final table, as far as the run has them; then follow those of `HELDOUT`."""

HELDOUT = ("heldout/accuracy", "heldout/pass@")
"""Beginnings of names."""

RAMP = "".join(chr(0x2581 + height) for height in range(8))


class ProgressReport:
    """Shows steps as they end; a context manager, used by one thread.

    Args:
        name: of the run.
        num_steps: number of the last step.
        done_steps: steps that are behind already, where a run resumes.
        console: where to write; the process's output unless given.
        seconds_between_lines: pause between plain lines, off a terminal.
        clock: seconds, from any origin.
    """

    def __init__(
        self,
        name: str,
        *,
        num_steps: int,
        done_steps: int = 0,
        console: Console | None = None,
        seconds_between_lines: float | int = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.console = Console() if console is None else console
        self._num_steps, self._done_steps = num_steps, done_steps
        self._seconds_between_lines, self._clock = seconds_between_lines, clock
        self._last_step_time, self._last_line_time = clock(), -math.inf
        # The first step compiles; it leaves the window again, and the median does not mind it.
        self._durations: deque[float] = deque(maxlen=21)
        self._bar = _bar(self.console) if self.console.is_terminal else None
        self._task = (
            self._bar.add_task(name, total=num_steps, completed=done_steps, numbers="") if self._bar else None
        )

    def __enter__(self) -> "ProgressReport":
        self._last_step_time = self._clock()
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def step(self, step: int, metrics: Mapping[str, object]) -> None:
        """Shows that `step` has ended with these metrics."""
        now = self._clock()
        self._durations.append(now - self._last_step_time)
        self._last_step_time, self._done_steps = now, step
        text = "  ".join(
            [
                f"reward {_number(metrics.get(REWARD))}",
                f"entropy {_number(metrics.get(ENTROPY))}",
                f"{self.seconds_per_step:.2f} s/step",
                f"{duration_text(self.seconds_left)} left",
            ]
        )
        if self._bar:
            self._bar.update(self._task, completed=step, numbers=text)
        elif now - self._last_line_time >= self._seconds_between_lines or step >= self._num_steps:
            self._last_line_time = now
            self.say(f"step {step}/{self._num_steps}  {text}")

    def say(self, text: str) -> None:
        """Prints a line, above the bar where there is one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @property
    def seconds_per_step(self) -> float:
        """Median over the last steps; 0 before the first one."""
        return statistics.median(self._durations) if self._durations else 0.0

    @property
    def seconds_left(self) -> float:
        return self.seconds_per_step * max(self._num_steps - self._done_steps, 0)

    def table(self, rows: Iterable[Mapping]) -> None:
        """Ends the bar and prints first, last and best values of a run; `rows` are those of metrics.jsonl."""
        self.__exit__()
        rows = list(rows)
        title = f"steps {rows[0]['step']} to {rows[-1]['step']}" if rows else "no steps"
        table = Table("metric", title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in ("first", "last", "best", "at step"):
            table.add_column(heading, justify="right")
        drawable = (self.console.encoding or "").lower().startswith("utf")
        if drawable:
            table.add_column("course")
        summaries = summarize(rows)
        width = 24 if _is_wide(self.console) else 10
        for name in (*TABLE_METRICS, *(name for name in summaries if name.startswith(HELDOUT))):
            if name in summaries:
                course = [sparkline([row[name] for row in rows if name in row], width)] if drawable else []
                table.add_row(name, *_cells(summaries[name]), *course)
        self.console.print(table)


def duration_text(seconds: float | int) -> str:
    """Hours, minutes and seconds: 0:00:07, 1:02:03, 27:46:40."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def sparkline(values: Iterable[float | int | None], width: int = 24) -> str:
    """The course of a metric in `width` block characters at most, each the mean of its stretch."""
    values = list(values)
    num_blocks = min(width, len(values))
    means = []
    for block in range(num_blocks):
        stretch = values[block * len(values) // num_blocks : (block + 1) * len(values) // num_blocks]
        known = [value for value in stretch if value is not None]
        means.append(statistics.fmean(known) if known else None)
    known = [mean for mean in means if mean is not None]
    low, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)
    height = len(RAMP) - 1
    return "".join(
        " " if mean is None else RAMP[round((mean - low) / span * height) if span > 0 else 0]
        for mean in means
    )


def _bar(console: Console) -> Progress:
    name_column = Column(max_width=24, no_wrap=True, overflow="ellipsis")
    name = TextColumn("{task.description}", markup=False, style="bold", table_column=name_column)
    return Progress(
        SpinnerColumn(),
        *([name] if _is_wide(console) else []),
        BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40)),
        TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[numbers]}", markup=False, table_column=Column(no_wrap=True)),
        *([TimeElapsedColumn()] if _is_wide(console) else []),
        console=console,
        expand=True,
        refresh_per_second=4,
    )


def _is_wide(console: Console) -> bool:
    return console.width >= 110


def _cells(summary: MetricSummary) -> list[str]:
    best = ["", ""] if summary.best is None else [_number(summary.best), str(summary.best_step)]
    return [_number(summary.first), _number(summary.last), *best]


def _number(value: object) -> str:
    number = json_number(value)
    return "-" if number is None else f"{number:.3g}"
