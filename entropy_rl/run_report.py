"""What a run shows of itself while it goes: its folder, and lines or a bar on the screen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from entropy_rl.config import RunConfig
from entropy_rl.host_memory import peak_memory_bytes
from entropy_rl.observability.plots import draw_run
from entropy_rl.observability.progress import ProgressReport
from entropy_rl.observability.rollout_records import RolloutRecord, write_rollouts
from entropy_rl.observability.run_folder import RunFolder, run_exists
from entropy_rl.observability.run_record import METRICS_FILE, read_rows
from entropy_rl.parallelism import is_main
from entropy_rl.paths import reach
from entropy_rl.stored_policy import StoredPolicy, save_skeleton
from entropy_rl.training.checkpoint import Progress


class RunReport:
    """The report of a process that is not the main one: nothing."""

    def say(self, text: str) -> None:
        """Prints a line."""

    def record(self, step: int, metrics: dict[str, float | int]) -> None:
        """Writes and shows the numbers of one step."""

    def rollouts(self, step: int, records: Sequence[RolloutRecord]) -> None:
        """Writes the chosen responses of one step, if there are any."""

    def rows(self) -> list[dict]:
        """The numbers of all steps so far."""
        return []

    def finish(self, stopped: str | None = None) -> dict:
        """Writes the summary, the plots and the closing table of a run that ended; returns the summary.

        `stopped` says why it ended before its last step, if it did.
        """
        return {}


class WrittenReport(RunReport):
    """The report of the main process."""

    def __init__(self, folder: RunFolder, progress: ProgressReport):
        self._folder = folder
        self._progress = progress

    def say(self, text: str) -> None:
        self._progress.say(text)

    def record(self, step: int, metrics: dict[str, float | int]) -> None:
        self._folder.record(step, metrics)
        self._progress.step(step, metrics)

    def rollouts(self, step: int, records: Sequence[RolloutRecord]) -> None:
        if records:
            write_rollouts(self._folder.path, step, records)

    def rows(self) -> list[dict]:
        return read_rows(self._folder.path / METRICS_FILE)

    def finish(self, stopped: str | None = None) -> dict:
        facts = {} if stopped is None else {"stopped": stopped}
        summary = self._folder.finish(facts | {"peak_memory_bytes": peak_memory_bytes()})
        draw_run(self._folder.path)
        self._progress.table(read_rows(self._folder.path / METRICS_FILE))
        self._progress.say(f"run folder: {self._folder.path}")
        return summary


@contextmanager
def open_report(
    config: RunConfig, start: StoredPolicy, done: Progress, *, resume: bool, overwrite: bool
) -> Iterator[RunReport]:
    """The report of a run that has come as far as `done`; only the main process writes one."""
    if not is_main():
        yield RunReport()
        return
    if overwrite and config.checkpoint_folder is not None:
        reach(config.checkpoints).rmtree(missing_ok=True)
    goes_on = resume and (done.step > 0 or run_exists(config.runs_folder, config.name))
    folder = RunFolder.create(
        config.runs_folder,
        config.name,
        config,
        resume_step=done.last_recorded_step if goes_on else None,
        last_rollouts_step=done.step,
        resume_rows=done.rows,
        overwrite=overwrite,
    )
    save_skeleton(start, folder.path)
    progress = ProgressReport(config.name, num_steps=config.num_steps, done_steps=done.last_recorded_step)
    with folder, progress:
        yield WrittenReport(folder, progress)
