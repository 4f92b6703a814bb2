"""python -m entropy_rl bench"""

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from entropy_rl.bench.step import WORKLOADS, bench_step


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Time rollout, old log-probs, update and whole step after warm-up; prints a JSON object."""

    what: Annotated[Literal["step"], tyro.conf.Positional]
    """What to time: step."""
    workload: Literal["tiny", "vocab"]
    """tiny: 4 layers of 128, vocabulary 64, 32 x 8 x (16 + 32) tokens. vocab: 2 layers of 256, vocabulary
    151,936, 8 x 4 x (32 + 64) tokens."""
    repeats: int = 7
    """Steps timed, after two that are not."""

    def run(self) -> None:
        print(json.dumps(bench_step(WORKLOADS[self.workload], repeats=self.repeats), indent=2))
