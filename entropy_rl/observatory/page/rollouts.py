"""Recorded responses, token by token, as the page carries them: columns, and each distinct token once."""

import unicodedata
from pathlib import Path

import numpy as np

from entropy_rl.observability.rollout_records import RolloutRecord, read_rollouts, recorded_steps
from entropy_rl.observatory.page.curves import brief, short

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of characters that have no look of their own, or that turn the writing of their neighbours."""
LEFT_ALONE = {"\n", "\t", "\u200c", "\u200d"}
"""Of these categories, but layout, or part of how some scripts and pictures are written."""


def harmless(text: str) -> str:
    """The text with what cannot be seen, or would turn its neighbours' writing, named as [U+202E]."""
    return "".join(
        f"[U+{ord(character):04X}]"
        if unicodedata.category(character) in UNSEEN and character not in LEFT_ALONE
        else character
        for character in text
    )


def visible(text: str) -> str:
    """The same with signs for the ends of lines, which stay, and for tabulators."""
    return harmless(text).replace("\n", "\u23ce\n").replace("\t", "\u21e5")


def rollouts_data(run: Path, max_tokens: int) -> dict | None:
    """The recorded steps of a run, as many as `max_tokens` allow; None where there are none.

    Where they are too many, the first and the last step stay and those between are thinned evenly; where one
    step alone is too much, it keeps its first responses.
    """
    # All of a long run need not fit into memory: they are counted first, and the chosen ones read again.
    sizes = {
        step: [len(record.tokens) for record in read_rollouts(run, step)] for step in recorded_steps(run)
    }
    sizes = {step: counts for step, counts in sizes.items() if counts}
    if not sizes:
        return None
    chosen = _affordable({step: sum(counts) for step, counts in sizes.items()}, max_tokens)
    shown = {step: _first_affordable(read_rollouts(run, step), max_tokens // len(chosen)) for step in chosen}
    tokens: dict[tuple[int, str], int] = {}
    steps = [
        {"step": step, "responses": [_response(record, tokens) for record in records]}
        for step, records in shown.items()
    ]
    everything = [record for records in shown.values() for record in records]
    return {
        "steps": steps,
        "tokens": [[token_id, visible(text)] for token_id, text in tokens],
        "scales": {
            "entropy": _high([value for record in everything for value in record.entropy]),
            "covariance": _high(
                [abs(v) for record in everything for v in record.covariance if v is not None]
            ),
        },
        "selects": any(any(record.selected) for record in everything),
        "recordedSteps": len(sizes),
        "recordedResponses": sum(map(len, sizes.values())),
        "shownResponses": len(everything),
    }


def _affordable(num_tokens: dict[int, int], most: int) -> list[int]:
    """The largest evenly spaced choice of steps, ends included, that has at most so many tokens."""
    steps = list(num_tokens)
    for count in range(len(steps), 1, -1):
        chosen = [steps[round(place)] for place in np.linspace(0, len(steps) - 1, count)]
        if sum(num_tokens[step] for step in chosen) <= most:
            return chosen
    return sorted({steps[0], steps[-1]})


def _first_affordable(records: list[RolloutRecord], most: int) -> list[RolloutRecord]:
    """All records where they are few enough, else the first ones that are; at least one."""
    totals = np.cumsum([len(record.tokens) for record in records])
    return records[: max(int(np.searchsorted(totals, max(most, totals[0]), side="right")), 1)]


def _high(values: list[float]) -> float:
    """Where a scale of colours ends: the 0.99 quantile, so that a single token does not bleach the others."""
    finite = [value for value in values if np.isfinite(value)]
    return max(float(f"{np.quantile(finite, 0.99):.4g}"), 1e-6) if finite else 1.0


def _response(record: RolloutRecord, tokens: dict[tuple[int, str], int]) -> dict:
    pairs = zip(record.token_ids, record.tokens, strict=True)
    return {
        "promptId": record.prompt_id,
        "sample": record.sample,
        "prompt": visible(record.prompt),
        "reward": short(record.reward),
        "correct": record.correct,
        "advantage": short(record.advantage),
        "truncated": record.truncated,
        "stale": record.stale,
        "update": record.update,
        "tokens": [tokens.setdefault(pair, len(tokens)) for pair in pairs],
        "entropy": [brief(value) for value in record.entropy],
        "logp": [brief(value) for value in record.logp],
        "covariance": [brief(value) for value in record.covariance],
        "selected": [place for place, selected in enumerate(record.selected) if selected],
    }
