"""Runs beside each other in a table: where each began, ended and was best."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from entropy_rl.observability.json_files import write_atomically, write_json
from entropy_rl.observability.run_record import RunRecord, summarize

COLUMNS = {
    "policy/entropy": "entropy, nats",
    "reward/pass_rate": "pass rate",
    "heldout/accuracy": "held-out accuracy",
    "heldout/greedy_accuracy": "greedy",
    "length/mean": "tokens",
}
"""Metrics of the table and their headings."""


def with_start(runs: Sequence[RunRecord], start: Path) -> list[RunRecord]:
    """The runs with what a JSON file tells of the policy that all began from: held-out figures at step 0."""
    figures = {f"heldout/{name}": value for name, value in json.loads(start.read_bytes()).items()}
    return [replace(run, rows=({"step": 0} | figures, *run.rows)) for run in runs]


def write_comparison(runs: Sequence[RunRecord], output: Path) -> str:
    """Writes comparison.json and comparison.md of runs of different names to a folder; returns the last."""
    output.mkdir(parents=True, exist_ok=True)
    named = {run.name: run for run in runs}
    assert len(named) == len(runs), "each run must have a name of its own"
    numbers = {label: _numbers(record) for label, record in named.items()}
    write_json(output / "comparison.json", numbers)
    headings = ["run", "steps", "hours", *COLUMNS.values()]
    lines = [headings, ["---"] * len(headings)]
    for label, run in numbers.items():
        cells = [_from_to(named[label], name) for name in COLUMNS]
        lines.append([label, str(run["steps"]), f"{run['seconds'] / 3600:.2f}", *cells])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    write_atomically(output / "comparison.md", table.encode())
    return table


def _numbers(record: RunRecord) -> dict:
    """Steps, their seconds without evaluations and checkpoints, and the metrics of the table."""
    summaries = summarize(record.rows)
    return {
        "steps": sum(row["step"] > 0 for row in record.rows),
        "seconds": sum(row.get("seconds/step") or 0.0 for row in record.rows),
    } | {name: asdict(summary) for name, summary in summaries.items() if name in COLUMNS}


def _from_to(record: RunRecord, name: str) -> str:
    """First and last value, each with its step where that is not the run's first or last, and the best with
    its step where a best is known and was not the last."""
    summary = summarize(record.rows).get(name)
    if summary is None:
        return "-"
    steps = [row["step"] for row in record.rows if row.get(name) is not None]
    first = f"{summary.first:.3g}" + (f" at {steps[0]}" if steps[0] > 1 else "")
    last = f"{summary.last:.3g}" + (f" at {steps[-1]}" if steps[-1] < record.rows[-1]["step"] else "")
    known = summary.best is not None and summary.best != summary.last
    return f"{first} -> {last}" + (f" (best {summary.best:.3g} at {summary.best_step})" if known else "")
