"""The writer of a run's folder, `ROOT/NAME/`. Killed at any moment, it leaves files that can be read.

    config.json                the settings, resolved
    metrics.jsonl              an object a step
    entropy_history_NAME.json  a JSON array of {"step", "entropy"}, replaced whole each step
    tensorboard/               the same numbers for TensorBoard
    rollouts/                  chosen responses, a file a step that records them
    checkpoints/, plots/       filled by others
    summary.json               only when the run has ended

A step goes to metrics.jsonl first, so that the history never knows more than it. Resuming after step s
drops what is later than s everywhere: a run killed and resumed leaves what one that never stopped leaves.
"""

import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from entropy_rl.observability.json_files import json_number, json_value, write_atomically, write_json
from entropy_rl.observability.metric_names import ENTROPY
from entropy_rl.observability.rollout_records import ROLLOUTS_FOLDER, recorded_steps, rollouts_path
from entropy_rl.observability.run_record import (
    CONFIG_FILE,
    METRICS_FILE,
    SUMMARY_FILE,
    read_rows,
    summarize,
)
from entropy_rl.observability.tensorboard import EventLog

FOLDERS = ("checkpoints", "tensorboard", "plots", ROLLOUTS_FOLDER)


def validate_name(name: str) -> str:
    """`name`, when it can name a run.

    Raises:
        ValueError: it is no plain file name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(
            "a run's name must be 1 to 100 letters, digits, dots, dashes or underscores and begin with "
            f"a letter or digit, got {name!r}; choose one such as kl_cov-seed1"
        )
    return name


def run_exists(root: Path | str, name: str) -> bool:
    """Whether ROOT/NAME holds something of a run."""
    return any(_leavings(Path(root) / validate_name(name), name))


def _leavings(path: Path, name: str) -> list[Path]:
    """What a run of this name leaves in its folder, as far as it is there; never files of others."""
    files = [CONFIG_FILE, METRICS_FILE, SUMMARY_FILE, f"entropy_history_{name}.json"]
    present = [path / file for file in files if (path / file).is_file()]
    present += sorted(path.glob("config_until_step_*.json"))
    folders = [path / folder for folder in FOLDERS]
    return present + [folder for folder in folders if folder.is_dir() and any(folder.iterdir())]


class RunFolder:
    """The open folder of one run; made by `create`. One process writes, whoever likes may read."""

    def __init__(
        self, path: Path, name: str, *, last_step: int | None, rows: Sequence[Mapping], events: EventLog
    ):
        self.path = path
        self.name = name
        self.last_step = last_step
        """The last step recorded; None before the first one."""
        self._events = events
        self._history = [_history_entry(row) for row in rows if ENTROPY in row]
        self._metrics_file = open(path / METRICS_FILE, "ab")

    @classmethod
    def create(
        cls,
        root: Path | str,
        name: str,
        config: object,
        *,
        resume_step: int | None = None,
        resume_rows: Sequence[Mapping] = (),
        last_rollouts_step: int | None = None,
        overwrite: bool = False,
    ) -> "RunFolder":
        """Opens ROOT/NAME for writing.

        Args:
            root: folder of all runs; made when absent.
            name: of the run, a plain file name.
            config: settings, resolved: a dataclass or mapping, nested at will.
            resume_step: last step of the checkpoint that the run goes on from. Later rows are dropped.
            resume_rows: the rows of metrics.jsonl that the checkpoint holds; go before what the file says.
                With them, the folder may be absent: the run comes from another machine.
            last_rollouts_step: the last step whose rollouts stay (None: `resume_step`). It is one more where
                the run was stopped after a step's updates, before its row.
            overwrite: remove what an earlier run of this name left (its checkpoints too) and begin anew.

        Raises:
            ValueError: the name is bad, the run exists and neither resume_step nor overwrite is given, both
                are given, or there is no run to resume.
        """
        path = Path(root) / validate_name(name)
        exists = run_exists(root, name)
        if resume_step is not None and overwrite:
            raise ValueError("a run is either resumed or overwritten, got both; drop one of them")
        if resume_step is not None and not exists and not resume_rows:
            raise ValueError(f"a run to resume must exist, got {path}, which holds none; check the name")
        if exists and resume_step is None and not overwrite:
            raise ValueError(
                f"a new run must not touch an old one, got {path}, which holds a run; "
                "choose another name, resume that run, or overwrite it"
            )
        if exists and overwrite:
            _remove_run(path, name)
        for folder in FOLDERS:
            (path / folder).mkdir(parents=True, exist_ok=True)
        rows = [] if resume_step is None else _rewind(path, resume_step, config, resume_rows)
        if resume_step is not None:
            _drop_rollouts(path, resume_step if last_rollouts_step is None else last_rollouts_step)
        write_json(path / CONFIG_FILE, config)
        told = any((path / "tensorboard").iterdir())
        purge_step = None if resume_step is None else resume_step + 1
        events = EventLog(path / "tensorboard", purge_step=purge_step)
        for row in () if told else rows:
            _tell(events, row)
        folder = cls(path, name, last_step=resume_step, rows=rows, events=events)
        folder._write_history()
        return folder

    @property
    def history_path(self) -> Path:
        return self.path / f"entropy_history_{self.name}.json"

    def record(self, step: int, metrics: Mapping[str, object]) -> None:
        """Writes the numbers of one step; they are on disk when this returns.

        Values are numbers on the host (Python, NumPy or anything with `item()`); NaN and infinities become
        null. The history takes "policy/entropy", where it is among them.

        Raises:
            ValueError: the step is not later than the last one, or a value is no single number.
        """
        if self.last_step is not None and step <= self.last_step:
            raise ValueError(
                f"steps must increase, got {step} after {self.last_step}; record a step once and whole"
            )
        numbers = {name: _number(name, value) for name, value in metrics.items() if name != "step"}
        row = {"step": int(step)} | numbers
        self._metrics_file.write((json.dumps(row, allow_nan=False) + "\n").encode())
        self._metrics_file.flush()
        os.fsync(self._metrics_file.fileno())
        self.last_step = int(step)
        if ENTROPY in row:
            self._history.append(_history_entry(row))
            self._write_history()
        _tell(self._events, row)

    def finish(self, facts: Mapping[str, object] | None = None) -> dict:
        """Writes summary.json, the sign of a run that ended, from metrics.jsonl and `facts`; returns it."""
        rows = read_rows(self.path / METRICS_FILE)
        summary = {
            "name": self.name,
            "num_steps": len(rows),
            "first_step": rows[0]["step"] if rows else None,
            "last_step": rows[-1]["step"] if rows else None,
            **(facts or {}),
            "metrics": {name: asdict(metric) for name, metric in summarize(rows).items()},
        }
        write_json(self.path / SUMMARY_FILE, summary)
        return summary

    def close(self) -> None:
        """Closes the files; a second call does nothing."""
        if not self._metrics_file.closed:
            self._metrics_file.close()
            self._events.close()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_history(self) -> None:
        # Entries are kept as text: at 1e5 steps a rewrite is then mostly the disk's work, not json's.
        body = ",\n".join(self._history)
        write_atomically(self.history_path, f"[\n{body}\n]\n".encode() if body else b"[]\n")


def _history_entry(row: Mapping) -> str:
    return json.dumps({"step": row["step"], "entropy": row[ENTROPY]})


def _tell(events: EventLog, row: Mapping) -> None:
    scalars = {name: value for name, value in row.items() if name != "step" and value is not None}
    events.write(row["step"], scalars)


def _number(name: str, value: object) -> float | int | None:
    try:
        return json_number(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error


def _remove_run(path: Path, name: str) -> None:
    for leaving in _leavings(path, name):
        if leaving.is_dir() and not leaving.is_symlink():
            shutil.rmtree(leaving)
        else:
            leaving.unlink()


def _rewind(path: Path, step: int, config: object, known: Sequence[Mapping]) -> list[Mapping]:
    """Drops what is later than `step`, returns the rows up to it; twice is the same as once."""
    for stale in path.glob(".*.tmp"):
        stale.unlink()
    (path / SUMMARY_FILE).unlink(missing_ok=True)  # the run has not ended after all
    metrics_path = path / METRICS_FILE
    found = read_rows(metrics_path) if metrics_path.is_file() else []
    by_step = {row["step"]: row for row in (*found, *known) if row["step"] <= step}
    rows = [by_step[at] for at in sorted(by_step)]
    write_atomically(metrics_path, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    if step > 0 and (not rows or rows[-1]["step"] < step):
        last = rows[-1]["step"] if rows else "none"
        warnings.warn(
            f"{metrics_path}: the last row is of step {last}, but the run resumes after step {step}; "
            "the rows between are lost",
            stacklevel=3,
        )
    _keep_changed_config(path, step, config)
    return rows


def _drop_rollouts(path: Path, last_step: int) -> None:
    for step in recorded_steps(path):
        if step > last_step:
            rollouts_path(path, step).unlink()


def _keep_changed_config(path: Path, step: int, config: object) -> None:
    """When the settings are not those the run had so far, the old ones stay beside the new ones."""
    config_path = path / CONFIG_FILE
    if config_path.is_file():
        old = json.loads(config_path.read_bytes())
        if old != json.loads(json.dumps(json_value(config))):
            write_json(path / f"config_until_step_{step}.json", old)
