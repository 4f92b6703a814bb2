"""python -m entropy_rl compare"""

from dataclasses import dataclass
from pathlib import Path

from entropy_rl.observability.comparison import write_comparison


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Draw runs over each other, finished or not, and tell where each began and ended.

    Writes curves.png, of entropy and held-out accuracy, comparison.json and comparison.md. Example:
    python -m entropy_rl compare --runs runs/tiny_grpo runs/tiny_kl_cov --output results/tiny
    """

    runs: tuple[Path, ...]
    """Folders of runs."""
    output: Path
    """Folder of what is written."""
    labels: tuple[str, ...] = ()
    """What to call the runs, in their order; their names unless given."""

    start: Path | None = None
    """What `evaluate --output` wrote of the policy that all runs began from: their figures at step 0."""

    def run(self) -> None:
        print(write_comparison(self.runs, self.output, self.labels or None, self.start))
