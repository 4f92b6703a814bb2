"""Runs beside each other: curves of entropy and held-out accuracy, and a table of beginnings and ends."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from entropy_rl.observability.json_files import write_atomically, write_json
from entropy_rl.observability.plots import draw_comparison
from entropy_rl.observability.run_record import MetricSummary, RunRecord, summarize

CURVES = (
    ("policy/entropy", "Policy entropy", "nats per token", True),
    ("heldout/accuracy", "Held-out accuracy, sampled", "share of responses", False),
    ("reward/pass_rate", "Pass rate in training", "share of responses", False),
    ("heldout/greedy_accuracy", "Held-out accuracy, greedy", "share of prompts", False),
)
"""As `plots.COMPARED`."""

COLUMNS = {
    "policy/entropy": "entropy, nats",
    "reward/pass_rate": "pass rate",
    "heldout/accuracy": "held-out accuracy",
    "heldout/greedy_accuracy": "greedy",
    "length/mean": "tokens",
}
"""Metrics of the table and their headings."""


def write_comparison(runs: Sequence[Path], output: Path, labels: Sequence[str] | None = None) -> str:
    """Writes curves.png, comparison.json and comparison.md to a folder and returns the last.

    Raises ValueError when no run is given, one is not there, or there is not a label a run.
    """
    draw_comparison(runs, output / "curves.png", labels, compared=CURVES)
    records = [RunRecord.load(run) for run in runs]
    labels = [record.name for record in records] if labels is None else labels
    summaries = {label: summarize(record.rows) for label, record in zip(labels, records, strict=True)}
    numbers = {
        label: {"steps": len(record.rows), "seconds": _seconds(record)}
        | {name: asdict(summary) for name, summary in summaries[label].items() if name in COLUMNS}
        for label, record in zip(labels, records, strict=True)
    }
    write_json(output / "comparison.json", numbers)
    headings = ["run", "steps", "hours", *COLUMNS.values()]
    lines = [headings, ["---"] * len(headings)]
    for label, run in numbers.items():
        cells = [_from_to(summaries[label].get(name)) for name in COLUMNS]
        lines.append([label, str(run["steps"]), f"{run['seconds'] / 3600:.2f}", *cells])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    write_atomically(output / "comparison.md", table.encode())
    return table


def _seconds(record: RunRecord) -> float:
    """Of its steps, without evaluations and checkpoints."""
    return sum(row.get("seconds/step") or 0.0 for row in record.rows)


def _from_to(summary: MetricSummary | None) -> str:
    """First and last value, and the best with its step where a best is known and was not the last."""
    if summary is None:
        return "-"
    text = f"{summary.first:.3g} -> {summary.last:.3g}"
    known = summary.best is not None and summary.best != summary.last
    return text + (f" (best {summary.best:.3g} at {summary.best_step})" if known else "")
