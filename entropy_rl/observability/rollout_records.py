"""Chosen rollouts of a run, token by token: rollouts/step_NNNNNN.jsonl in its folder, a response a line."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from entropy_rl.observability.json_files import json_value, write_atomically

ROLLOUTS_FOLDER = "rollouts"


@dataclass(frozen=True, kw_only=True)
class RolloutRecord:
    """One response as the update saw it. Lists have an entry for each token, the stop token among them."""

    step: int
    prompt_id: int
    sample: int
    """Its number among the samples of the prompt."""
    prompt: str
    response: str
    reward: float
    correct: bool
    advantage: float
    truncated: bool
    """Cut at the limit before a stop token."""
    stale: bool
    """Sampled before this step."""
    update: int
    """Number of the step's mini-batch it was learned from, from 0."""
    tokens: list[str]
    """Text of each token."""
    token_ids: list[int]
    entropy: list[float]
    """Nats, of the policy that this mini-batch's old log-probs are of."""
    logp: list[float]
    """Nats, of that policy."""
    covariance: list[float | None]
    """As the objective's selection computed it; None where it is not finite."""
    selected: list[bool]
    """Whether the objective treated the token apart."""


def rollouts_path(run: Path, step: int) -> Path:
    """The file of one step."""
    return run / ROLLOUTS_FOLDER / f"step_{step:06d}.jsonl"


def write_rollouts(run: Path, step: int, records: Sequence[RolloutRecord]) -> Path:
    """Writes the responses of one step at once: the file is there whole, or not."""
    path = rollouts_path(run, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(json_value(asdict(record)), allow_nan=False) for record in records)
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
    return path


def recorded_steps(run: Path) -> list[int]:
    """The steps whose rollouts were recorded, in order."""
    return sorted(
        int(path.stem.removeprefix("step_")) for path in (run / ROLLOUTS_FOLDER).glob("step_*.jsonl")
    )


def read_rollouts(run: Path, step: int) -> list[RolloutRecord]:
    """The responses of one step.

    Raises:
        FileNotFoundError: none were recorded.
    """
    lines = rollouts_path(run, step).read_text().splitlines()
    return [RolloutRecord(**json.loads(line)) for line in lines]
