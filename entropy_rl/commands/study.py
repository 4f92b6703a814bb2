"""python -m entropy_rl study"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entropy_rl.parallelism import EXIT_PREEMPTED, Preempted
from entropy_rl.study.design import load_study


@dataclass(frozen=True, kw_only=True)
class Study:
    """Compare methods: tune each alike on development seeds, then measure all on fresh ones.

    Stages: tune makes the development runs and writes tuning.json, with what was chosen; final makes the
    final runs in those settings; collect copies the curves of the runs from their folders to the output, and
    draws; draw makes the table and the figures from these copies alone. A stage that was stopped goes on when
    called again, and several processes may work on one at once.
    Example: python -m entropy_rl study --stage draw
    """

    stage: Literal["tune", "final", "collect", "draw"]
    """What to do."""
    study: Path = Path("configs/studies/entropy.py")
    """Python file whose get_study() returns the study."""
    folder: Path = Path("runs/entropy_study")
    """Where its runs lie."""
    output: Path = Path("docs/entropy_study")
    """Where tuning.json, the curves, the table and the figures lie."""

    def run(self) -> None:
        from entropy_rl.study import stages  # after --help, which needs none of what it loads

        try:
            getattr(stages, self.stage)(load_study(self.study), self.folder, self.output)
        except Preempted as stop:
            print(f"entropy_rl study: {stop}; or call the same stage again", file=sys.stderr)
            sys.exit(EXIT_PREEMPTED)
