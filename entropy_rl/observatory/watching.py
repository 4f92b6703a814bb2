"""Looking at a run again and again, until it has ended or one has seen enough."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from entropy_rl.observability.run_record import CONFIG_FILE, METRICS_FILE, SUMMARY_FILE, RunRecord
from entropy_rl.observatory.diagnosis import Verdict, diagnose
from entropy_rl.observatory.follower import MetricsFollower
from entropy_rl.observatory.watch_view import view

SECONDS_OFF_TERMINAL = 10.0
"""Between views where each one is printed below the last."""


class Watch:
    """A run that may still be going.

    Args:
        path: its folder.
        console: where to show it.

    Raises:
        ValueError: there is no run.
    """

    def __init__(self, path: Path, console: Console):
        self._path, self._console = path.resolve(), console
        if not any((self._path / name).is_file() for name in (CONFIG_FILE, METRICS_FILE)):
            raise ValueError(
                f"a run's folder must hold {CONFIG_FILE} or {METRICS_FILE}, got {self._path}; "
                "give a folder such as runs/NAME"
            )
        self._rows: tuple[dict, ...] | None = None
        self._verdicts: tuple[Verdict, ...] = ()
        self._follower = MetricsFollower(self._path / METRICS_FILE)

    def look(self) -> tuple[RenderableType, bool]:
        """What there is to see now, and whether the run has ended."""
        # Asked first: rows that are read now are then all that an ended run has.
        ended = (self._path / SUMMARY_FILE).is_file()
        rows = self._follower.rows()
        config = self._path / CONFIG_FILE
        run = RunRecord(
            path=self._path,
            name=self._path.name,
            config=json.loads(config.read_bytes()) if config.is_file() else {},
            rows=rows,
        )
        metrics = self._path / METRICS_FILE
        age = time.time() - metrics.stat().st_mtime if metrics.is_file() else 0.0
        seen = view(
            run,
            width=self._console.width,
            ended=ended,
            seconds_since_row=age,
            verdicts=self._diagnosed(run),
            drawable=(self._console.encoding or "").lower().startswith("utf"),
        )
        return seen, ended

    def _diagnosed(self, run: RunRecord) -> tuple[Verdict, ...]:
        """The verdicts on the run, judged anew only where there are new rows."""
        if run.rows and run.rows != self._rows:
            self._rows, self._verdicts = run.rows, diagnose(run)
        return self._verdicts

    def once(self) -> None:
        """Prints what there is to see."""
        self._console.print(self.look()[0])

    def follow(self, seconds_between_looks: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Shows the run until it ends: in place on a terminal, elsewhere one view below the other."""
        seen, ended = self.look()
        if not self._console.is_terminal:
            self._console.print(seen)
            while not ended:
                sleep(max(seconds_between_looks, SECONDS_OFF_TERMINAL))
                seen, ended = self.look()
                self._console.print(seen)
            return
        with Live(seen, console=self._console, auto_refresh=False) as live:
            while not ended:
                sleep(seconds_between_looks)
                seen, ended = self.look()
                live.update(seen, refresh=True)
