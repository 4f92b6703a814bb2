"""python -m entropy_rl train"""

from dataclasses import dataclass

from entropy_rl.commands.configured import Configured
from entropy_rl.train import train


@dataclass(frozen=True, kw_only=True)
class Train(Configured):
    """Train a policy with GRPO, Clip-Cov or KL-Cov.

    Leaves runs/NAME/ with config.json, metrics.jsonl, entropy_history_NAME.json, checkpoints, plots and
    summary.json. Example: python -m entropy_rl train --config configs/tiny_kl_cov.py --num-steps 20
    --objective.penalty-coef 0.5
    """

    resume: bool = False
    """Go on from the newest checkpoint of the run of this name."""
    overwrite: bool = False
    """Delete an earlier run of this name and begin anew."""

    def run(self) -> None:
        train(self.settings, resume=self.resume, overwrite=self.overwrite)
