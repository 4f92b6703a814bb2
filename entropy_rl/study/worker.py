"""Making the runs of a study: several processes at once, each killed and started again at will.

A run is claimed by a lock on a file, which the system lets go of when its process ends, however it ends. A
process makes the runs of a setting one after another where it can, since what jax has compiled for one
seed serves the next.
"""

import fcntl
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from entropy_rl.heldout import evaluate_folder
from entropy_rl.observability.json_files import write_json
from entropy_rl.observability.run_folder import run_exists
from entropy_rl.observability.run_record import SUMMARY_FILE
from entropy_rl.study.design import PlannedRun
from entropy_rl.train import train

WAIT_SECONDS = 1.0
"""Between looks at runs that other processes are making."""


def work(runs: Sequence[PlannedRun], folder: Path) -> None:
    """Makes all runs that are not done, beside others who do the same; returns when all are done.

    A run that was stopped goes on from its checkpoint. Raises Preempted after SIGTERM, with the run saved.
    """
    compiled: set[tuple[str, str]] = set()
    while left := [run for run in runs if not is_done(run)]:
        if not any(_try(run, folder, compiled) for run in _by_preference(left, compiled)):
            time.sleep(WAIT_SECONDS)  # others are making what is left


def is_done(run: PlannedRun) -> bool:
    """Whether the run has come to its end."""
    return (run.path / SUMMARY_FILE).is_file()


def start_file(run: PlannedRun) -> Path:
    """Where the held-out figures are of the policy that the run, and all others of its seed, began from."""
    return run.config.runs_folder / f"start-seed{run.seed}.json"


def start_numbers(run: PlannedRun) -> dict:
    """What that file holds."""
    return json.loads(start_file(run).read_bytes())


def _by_preference(runs: Sequence[PlannedRun], compiled: set[tuple[str, str]]) -> list[PlannedRun]:
    """First what this process has compiled for, then what nobody has begun, then the rest."""
    begun = {_key(run) for run in runs if run.path.exists()} - compiled
    return sorted(runs, key=lambda run: (_key(run) not in compiled, _key(run) in begun))


def _key(run: PlannedRun) -> tuple[str, str]:
    return run.method, run.setting


def _try(run: PlannedRun, folder: Path, compiled: set[tuple[str, str]]) -> bool:
    """Makes a run, unless another process is making it, or the policy that it starts from."""
    with claim(folder / "locks" / f"{run.config.runs_folder.name}-{run.config.name}") as is_mine:
        if not is_mine or is_done(run):
            return False
        if not _has_start(run, folder):
            return False
        compiled.add(_key(run))
        train(run.config, resume=run_exists(run.config.runs_folder, run.config.name))
        return True


def _has_start(run: PlannedRun, folder: Path) -> bool:
    """Whether there is what the run starts from, measured; makes it unless another process does."""
    if start_file(run).is_file():
        return True
    with claim(folder / "locks" / f"{run.config.runs_folder.name}-start-seed{run.seed}") as is_mine:
        if not is_mine:
            return False
        start_file(run).parent.mkdir(parents=True, exist_ok=True)
        write_json(start_file(run), evaluate_folder(run.config, None))
        return True


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Whether this process alone has what the file stands for, until the context ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
