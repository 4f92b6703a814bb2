"""python -m entropy_rl grade"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from entropy_rl.grade import grade_rows
from entropy_rl.rewards.judging import Judges
from entropy_rl.rewards.rules import RewardRules


@dataclass(frozen=True, kw_only=True)
class Grade:
    r"""Judge answers without a policy: a JSON object {"score", "method", "extracted", "seconds"} a row.

    Rows of the input are {"response", "answer", "data_source"}; the output is in their order. Sources gsm8k*
    are judged by the number in the last box, or behind ####; bbq*, mmlu* and gpqa* by the letter chosen;
    code*, apps, taco, *mbpp* and *humaneval* by running the program on the tests in "answer", in a sandbox;
    all others by the mathematics in the last \boxed{}. A list in "answer" holds several right ones.

    Example: python -m entropy_rl grade --input answers.jsonl > scores.jsonl

    Exit code 1 when rows could not be read: they score 0, and their method says why.
    """

    input: Path
    """JSONL or Parquet file of rows."""
    config: Path | None = None
    """Judge by the rewards of this configuration's task instead."""
    workers: int = os.cpu_count() or 1
    """Processes of each judge."""

    def run(self) -> None:
        num_rows = num_unreadable = 0
        with Judges(self._rules(), num_workers=self.workers) as judges:
            for row in grade_rows(self.input, judges):
                num_rows += 1
                num_unreadable += row["method"].startswith("unreadable")
                print(json.dumps(row), flush=num_rows % 100 == 0)
        if num_unreadable:
            print(f"{num_unreadable} of {num_rows} rows could not be read and score 0", file=sys.stderr)
            sys.exit(1)

    def _rules(self) -> RewardRules:
        if self.config is None:
            return RewardRules()
        from entropy_rl.config_file import load_config  # loads jax, which the rules above do not need

        rules = getattr(load_config(self.config).task, "rewards", None)
        if rules is None:
            raise ValueError(f"--config must be of a task with rewards, the task of {self.config} has none")
        return rules
