"""The table of a study, in Markdown: standings, the claim, the law, and what tuning saw."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from entropy_rl.observability.json_files import write_atomically
from entropy_rl.observatory.law import Interval
from entropy_rl.study.curves import AVERAGE, PASS, Curves, load_runs
from entropy_rl.study.design import Study
from entropy_rl.study.results import all_findings, law_over_seeds, standings, t_interval

TABLE_FILE = "table.md"


def write_table(study: Study, output: Path) -> str:
    """Writes table.md from the kept curves and tuning.json in a folder, and returns it."""
    runs = load_runs(output / "final.json")
    tuning = json.loads((output / "tuning.json").read_bytes())
    seeds = sorted({run.seed for run in runs})
    text = "\n".join(
        [
            "# Entropy study",
            "",
            f"{len(runs)} runs of {runs[0].num_steps} steps on {len(seeds)} seeds. Brackets are 95 % "
            f"intervals of Student's t over the {len(seeds)} seeds; differences and ratios are to "
            f"{study.baseline} of the same seed. All steps took {sum(run.seconds for run in runs) / 60:.0f} "
            "minutes, evaluations left out.",
            "",
            *standing_lines(study, runs),
            "",
            "## The claim",
            "",
            *claim_lines(study, runs),
            "",
            "## The law R = -a exp(H) + b, R the held-out average@8, fitted to each run",
            "",
            *law_lines(study, runs),
            "",
            f"## Tuning: {tuning['rule']}",
            "",
            *tuning_lines(tuning),
            "",
        ]
    )
    write_atomically(output / TABLE_FILE, text.encode())
    return text


def rows_of(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]


def standing_lines(study: Study, runs: Sequence[Curves]) -> list[str]:
    start = [run for run in runs if run.method == study.baseline]
    before = [t_interval(np.array([run.first(metric) for run in start])) for metric in (AVERAGE, PASS)]
    rows = [["the warm start", "", "", "", f"{before[0]:.3f}", "", f"{before[1]:.3f}", ""]]
    for name, mine in standings(runs, study.baseline).items():
        rows.append(
            [
                name,
                mine.setting,
                f"{mine.entropy:.3f}",
                _told(mine.entropy_ratio, ".2f"),
                f"{mine.average:.3f}",
                _told(mine.average_difference, "+.3f"),
                f"{mine.passed:.3f}",
                _told(mine.pass_difference, "+.3f"),
            ]
        )
    headings = ("method", "setting", "plateau entropy, nats", "ratio", "average@8", "difference", "pass@8")
    return rows_of((*headings, "difference"), rows)


def claim_lines(study: Study, runs: Sequence[Curves]) -> list[str]:
    rows = [[one.claim, one.outcome, one.evidence] for one in all_findings(study, runs)]
    return rows_of(("claim", "verdict", "measured"), rows)


def law_lines(study: Study, runs: Sequence[Curves]) -> list[str]:
    rows = []
    for name in dict.fromkeys(run.method for run in runs):
        try:
            law = law_over_seeds([run for run in runs if run.method == name])
        except ValueError as error:  # too few points, or an entropy that hardly moves
            rows.append([name, f"not fitted: {error}", "", "", "", ""])
            continue
        rows.append(
            [
                name,
                *(f"{interval:.3f}" for interval in (law.a, law.b, law.ceiling)),
                f"{law.explained:.2f}",
                f"{law.num_doubted} of {law.num_runs}",
            ]
        )
    return rows_of(("method", "a", "b", "ceiling b - a", "explained (median)", "fits in doubt"), rows)


def tuning_lines(tuning: dict) -> list[str]:
    rows = [
        [
            method,
            setting + (" (chosen)" if tuning["chosen"][method] == setting else ""),
            *(f"{one[key]:.3f}" for key in ("score", "average@8", "pass@8", "plateau_entropy")),
        ]
        for method, scores in tuning["scores"].items()
        for setting, one in scores.items()
    ]
    return rows_of(("method", "setting", "score", "average@8", "pass@8", "plateau entropy"), rows)


def _told(interval: Interval | None, spec: str) -> str:
    return "" if interval is None else format(interval, spec)
