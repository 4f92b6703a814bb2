"""A diagnosis as people and programs read it: a table, lines, Markdown, JSON."""

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from entropy_rl.observatory.checks import CHECKS
from entropy_rl.observatory.diagnosis import SEVERITY, severity
from entropy_rl.observatory.verdicts import Outcome, Verdict

STYLES = {
    Outcome.OK: "green",
    Outcome.WARN: "yellow",
    Outcome.FAIL: "bold red",
    Outcome.NOT_MEASURABLE: "dim",
}


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many checks came to what, in a line."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in SEVERITY if counts[outcome])


def show(verdicts: Sequence[Verdict], console: Console, title: str) -> None:
    """Prints the verdicts: a table on a terminal, elsewhere lines that can be searched."""
    if console.is_terminal:
        console.print(_table(verdicts, title))
    else:
        console.print(title, markup=False, highlight=False, soft_wrap=True)
        for line in _lines(verdicts):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(summary(verdicts), markup=False, highlight=False)


def _table(verdicts: Sequence[Verdict], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("verdict", "priority", "check"):
        table.add_column(heading, no_wrap=heading != "check")
    table.add_column("evidence", ratio=3)
    table.add_column("what to change", ratio=2)
    for verdict in verdicts:
        cells = verdict.outcome.value, verdict.priority.value, verdict.check, verdict.evidence, verdict.advice
        table.add_row(*(_escaped(cell) for cell in cells), style=STYLES[verdict.outcome])
    return table


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")


def _lines(verdicts: Sequence[Verdict]) -> list[str]:
    lines = []
    for verdict in verdicts:
        lines.append(
            f"{verdict.outcome.value:16s}{verdict.priority.value:8s}{verdict.check}: {verdict.evidence}"
        )
        if verdict.advice:
            lines.append(f"{'':24s}change: {verdict.advice}")
    return lines


def as_json(verdicts: Sequence[Verdict], run: str) -> dict:
    """The diagnosis as an object of plain values."""
    return {
        "run": run,
        "severity": severity(verdicts).value,
        "verdicts": [
            {
                "check": verdict.check,
                "measures": verdict.measures,
                "outcome": verdict.outcome.value,
                "priority": verdict.priority.value,
                "evidence": verdict.evidence,
                "advice": verdict.advice,
                "reference": verdict.reference,
            }
            for verdict in verdicts
        ],
    }


def as_markdown(verdicts: Sequence[Verdict], run: str) -> str:
    """The diagnosis as a document with a table."""
    heading = ("verdict", "priority", "check", "evidence", "what to change")
    rows = [
        (v.outcome.value, v.priority.value, f"{v.check}: {v.measures}", v.evidence, v.advice)
        for v in verdicts
    ]
    table = [heading, ("---",) * len(heading), *rows]
    body = ("| " + " | ".join(map(_cell, row)) + " |" for row in table)
    return "\n".join([f"# Diagnosis of {run}", "", summary(verdicts), "", *body, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def checks_markdown() -> str:
    """Every check as a row of a Markdown table."""
    rows = [f"| {c.name} | {c.priority.value} | {_cell(c.measures)} | {_cell(c.reference)} |" for c in CHECKS]
    return "\n".join(["| check | priority | looks at | rule from |", "|---|---|---|---|", *rows, ""])
