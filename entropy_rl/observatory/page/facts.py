"""What a run is, in a few words: its settings, how far it has come, where its numbers began and ended."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from entropy_rl.observability.json_files import json_number
from entropy_rl.observability.progress import duration_text
from entropy_rl.observability.run_record import SUMMARY_FILE, RunRecord, summarize

MAX_FIELDS = 4
"""Of a setting, in a line."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number that matters: where it began and where it ended."""

    title: str
    first: str
    """Empty where it was measured once."""
    last: str
    note: str


def in_words(setting: object) -> str:
    """A setting as a line, such as KLCov(fraction=0.05, penalty_coef=4), by its first plain fields.

    Settings are JSON, in which "kind" is the class. What is nested deeper, or null, is left to the whole
    configuration, which the page has too.
    """
    if isinstance(setting, Mapping):
        plain = [
            f"{name}={in_words(value)}"
            for name, value in setting.items()
            if name != "kind" and value is not None and not isinstance(value, Mapping | list)
        ]
        more = ["..."] if len(plain) > MAX_FIELDS else []
        return f"{setting.get('kind', '')}({', '.join(plain[:MAX_FIELDS] + more)})"
    return f"{setting:g}" if isinstance(setting, float) else str(setting)


def status(run: RunRecord) -> str:
    """How far the run has come."""
    wanted = run.config.get("num_steps")
    done = run.rows[-1]["step"] if run.rows else 0
    of_all = f"{done} of {wanted} steps" if wanted else f"{done} steps"
    ended = (run.path / SUMMARY_FILE).is_file()
    return f"{of_all}, ended" if ended else f"{of_all}, no summary yet: it goes on, or was stopped"


def facts(run: RunRecord) -> list[tuple[str, str]]:
    """Names and values for the head of the page; what config.json lacks is left out."""
    config, found = run.config, [("Status", status(run))]
    found += [
        (title, in_words(config[name]))
        for title, name in (("Objective", "objective"), ("Task", "task"), ("Regularizer", "regularizer"))
        if config.get(name) is not None
    ]
    policy = config.get("policy") or {}
    if policy:
        start = policy.get("directory") or policy.get("architecture")
        found.append(("Policy", in_words(start)))
    batch = config.get("batch") or {}
    if {"prompts_per_step", "samples_per_prompt", "prompts_per_update"} <= set(batch):
        updates = batch["prompts_per_step"] // batch["prompts_per_update"]
        found.append(
            (
                "Step",
                f"{batch['prompts_per_step']} prompts x {batch['samples_per_prompt']} samples, "
                f"{updates} update{'s' if updates != 1 else ''}",
            )
        )
    found += [
        (title, in_words(config[name]))
        for title, name in (
            ("Warm start", "warm_start"),
            ("Sampling", "sampling"),
            ("Optimizer", "optimizer"),
            ("Dynamic sampling", "dynamic_sampling"),
            ("Guard", "guard"),
            ("Seed", "seed"),
        )
        if config.get(name) is not None
    ]
    return found + _costs(run)


def _costs(run: RunRecord) -> list[tuple[str, str]]:
    seconds = run.series("seconds/step")[1]
    seconds = seconds[np.isfinite(seconds)].tolist()
    if not seconds:
        return []
    total, median = duration_text(sum(seconds)), statistics.median(seconds)
    costs = [("Time", f"{total} of steps, {median:.3g} s a step (median)")]
    summary_path = run.path / SUMMARY_FILE
    summary = json.loads(summary_path.read_bytes()) if summary_path.is_file() else {}
    peak = json_number(summary.get("peak_memory_bytes"))
    return costs + ([("Peak memory", f"{peak / 2**30:.2f} GiB of the host")] if peak else [])


def tiles(run: RunRecord) -> list[Tile]:
    """First and last values of the numbers one asks for first, as far as the run has them."""
    summaries = summarize(run.rows)
    widest = max((name for name in summaries if name.startswith("heldout/pass@")), key=_k_of, default="")
    titles = {
        "policy/entropy": "Entropy, nats",
        "reward/mean": "Reward",
        "heldout/accuracy": "Held-out accuracy",
        widest: f"Held-out {widest.removeprefix('heldout/')}",
        "validation/mean": "Suite, mean",
        "length/mean": "Length, tokens",
    }
    found = []
    for name, title in titles.items():
        if name not in summaries:
            continue
        summary = summaries[name]
        extreme = f"lowest {summary.lowest:.3g}, highest {summary.highest:.3g}"
        best = f"best {summary.best:.3g} at step {summary.best_step}" if summary.best is not None else extreme
        once = len(run.series(name)[0]) == 1
        found.append(
            Tile(
                title=title,
                first="" if once else f"{summary.first:.3g}",
                last=f"{summary.last:.3g}",
                note=best,
            )
        )
    return found


def _k_of(name: str) -> int:
    return int(name.partition("@")[2])
