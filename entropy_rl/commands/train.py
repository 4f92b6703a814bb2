"""python -m entropy_rl train"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from entropy_rl.commands.configured import Configured
from entropy_rl.guard import EXIT_COLLAPSED, Collapsed
from entropy_rl.parallelism import EXIT_PREEMPTED, Preempted, Processes, joined
from entropy_rl.train import train


@dataclass(frozen=True, kw_only=True)
class Train(Configured):
    """Train a policy with GRPO, Clip-Cov or KL-Cov.

    Leaves runs/NAME/ with config.json, metrics.jsonl, entropy_history_NAME.json, checkpoints, plots and
    summary.json. Example: python -m entropy_rl train --config configs/tiny_kl_cov.py --num-steps 20
    --objective.penalty-coef 0.5

    SIGTERM saves the run and ends it with exit code 75; start it again with --resume. --guard.below-nats 0.05
    --guard.stop ends a run whose entropy has collapsed, with exit code 76.
    """

    resume: bool = False
    """Go on from the newest checkpoint of the run of this name."""
    overwrite: bool = False
    """Delete an earlier run of this name and begin anew."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()

    def run(self) -> None:
        try:
            with joined(self.processes):
                train(self.settings, resume=self.resume, overwrite=self.overwrite)
        except Preempted as stop:
            print(f"entropy_rl train: {stop}", file=sys.stderr)
            sys.exit(EXIT_PREEMPTED)
        except Collapsed as stop:
            print(f"entropy_rl train: {stop}", file=sys.stderr)
            sys.exit(EXIT_COLLAPSED)
