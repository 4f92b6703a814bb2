"""Finding what to look at: folders of runs, and histories of entropy that other tools wrote."""

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from entropy_rl.observability.metric_names import ENTROPY
from entropy_rl.observability.run_record import METRICS_FILE, RunRecord

HISTORY = "entropy_history_"
"""How the name of a history begins; what follows, up to .json, is its experiment's name."""


def find_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """The runs at and below some paths, in their order, each once; what one path holds is sorted by name.

    A path is the folder of a run, a history of entropy, or a folder below which there are some. A history
    becomes a run that recorded its entropy alone. Where names repeat, the folders that tell the runs apart
    are put in front of them.

    Raises:
        ValueError: a path holds neither a run nor a history, or one that cannot be read.
    """
    found: dict[Path, None] = {}
    for path in paths:
        found |= dict.fromkeys(_below(path.resolve()))
    runs = [read_history(path) if path.is_file() else RunRecord.load(path) for path in found]
    names = _distinct([(*run.path.parts[:-1], run.name) for run in runs])
    return [dataclasses.replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _below(path: Path) -> list[Path]:
    """The folders of runs, and histories outside of them: a run keeps its own."""
    if path.is_file() or (path / METRICS_FILE).is_file():
        return [path]
    found = []
    for folder, inner, files in os.walk(path):
        if METRICS_FILE in files:
            found.append(Path(folder))
            inner.clear()
            continue
        found += [Path(folder, name) for name in files if name.startswith(HISTORY) and name.endswith(".json")]
    if not found:
        what = "nothing there" if not path.exists() else "neither"
        raise ValueError(
            f"there must be a run ({METRICS_FILE}) or a history ({HISTORY}NAME.json) at or below {path}, got "
            f"{what}; give a folder such as runs/ or runs/NAME"
        )
    return sorted(found)


def _distinct(parts_of_names: Sequence[tuple[str, ...]]) -> list[str]:
    """The last part of each path, with as many parts before it as it takes to tell it from the others."""
    lengths = [1] * len(parts_of_names)
    while True:
        names = ["/".join(parts[-length:]) for parts, length in zip(parts_of_names, lengths, strict=True)]
        repeated = {name for name, count in Counter(names).items() if count > 1}
        longer = [
            length + (name in repeated and length < len(parts))
            for name, length, parts in zip(names, lengths, parts_of_names, strict=True)
        ]
        if longer == lengths:
            return names
        lengths = longer


def read_history(path: Path) -> RunRecord:
    """A history of entropy as a run: a JSON array of {"step", "entropy"}; of equal steps the last counts.

    Raises:
        ValueError: the file is no such array.
    """
    try:
        points = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, {error}; repair it or leave it out") from None
    entropies: dict[int, float | None] = {}
    for point in points if isinstance(points, list) else [None]:
        step, entropy = (point.get("step"), point.get("entropy")) if isinstance(point, dict) else (None, None)
        if not isinstance(step, int) or not isinstance(entropy, int | float | None):
            raise ValueError(
                f'{path} must be an array of {{"step": integer, "entropy": number or null}}, got '
                f"{str(point)[:60]}; repair it or leave it out"
            )
        entropies[step] = entropy if entropy is not None and math.isfinite(entropy) else None
    rows = tuple({"step": step, ENTROPY: entropies[step]} for step in sorted(entropies))
    return RunRecord(path=path, name=path.stem.removeprefix(HISTORY), config={}, rows=rows)


def labelled(runs: Sequence[RunRecord], labels: Sequence[str]) -> list[RunRecord]:
    """The runs under these labels, or under their own names where there are none.

    Raises:
        ValueError: there is not one label a run, or two are the same.
    """
    if not labels:
        return list(runs)
    names = ", ".join(run.name for run in runs)
    if len(labels) != len(runs):
        raise ValueError(
            f"there must be one label for each of {len(runs)} runs ({names}), got {len(labels)}; give "
            f"{len(runs)} in this order, or leave --labels out"
        )
    if len(set(labels)) < len(labels):
        raise ValueError(f"labels must differ, got {', '.join(labels)}; give each of {names} its own")
    return [dataclasses.replace(run, name=label) for run, label in zip(runs, labels, strict=True)]
