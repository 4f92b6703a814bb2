"""python -m entropy_rl export"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entropy_rl.stored_policy import read_policy, save_policy


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the policy of a run as a Hugging Face folder, which transformers loads."""

    run_folder: Path
    """Folder of a run, such as runs/tiny_kl_cov."""
    output: Path
    """Folder to write."""
    step: int | None = None
    """Checkpoint to take (None: the newest)."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Dtype of the written weights."""

    def run(self) -> None:
        stored = read_policy(self.run_folder, step=self.step)
        save_policy(stored.policy, stored.params, stored.tokenizer, self.output, dtype=self.dtype)
        print(self.output)
