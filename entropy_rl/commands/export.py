"""python -m entropy_rl export"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entropy_rl.stored_policy import read_policy, save_policy


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the policy of a run as a Hugging Face folder, which transformers loads."""

    policy: Path
    """Folder of a run, such as runs/tiny_kl_cov."""
    output: Path
    """Folder to write; new or empty."""
    step: int | None = None
    """Checkpoint to take (None: the newest)."""
    dtype: Literal["bfloat16", "float32"] | None = None
    """Dtype of the written weights (None: that of the run)."""

    def run(self) -> None:
        stored = read_policy(self.policy, step=self.step)
        save_policy(stored, self.output, dtype=self.dtype)
        print(self.output)
