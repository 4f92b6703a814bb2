"""python -m entropy_rl plot"""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from entropy_rl.observability.run_record import METRICS_FILE
from entropy_rl.observatory.comparison import with_start, write_comparison
from entropy_rl.observatory.pictures import draw_pictures
from entropy_rl.observatory.sources import find_runs, labelled


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw a run, finished or not, or several over each other: entropy, the law, covariance, lengths.

    Of several it also tells where each began and ended, in comparison.md and comparison.json. Examples:
    python -m entropy_rl plot runs/tiny_kl_cov
    python -m entropy_rl plot runs/tiny_grpo runs/tiny_kl_cov --labels GRPO KL-Cov --output plots
    python -m entropy_rl plot models        # every entropy_history_*.json below it
    """

    runs: Positional[tuple[Path, ...]]
    """Folders of runs, or entropy_history_NAME.json; in other folders both are looked for."""
    labels: tuple[str, ...] = ()
    """What to call the runs, in their order; their names unless given."""
    output: Path | None = None
    """Folder of what is written; unless given, plots/ in the run's folder, or here for several."""
    start: Path | None = None
    """What `evaluate --output` wrote of the policy that all runs began from: their figures at step 0."""

    def run(self) -> None:
        runs = labelled(find_runs(self.runs), self.labels)
        if self.start is not None:
            runs = with_start(runs, self.start)
        output = self.output
        if output is None:
            alone = len(runs) == 1 and (runs[0].path / METRICS_FILE).is_file()
            output = runs[0].path / "plots" if alone else Path("plots")
        written = [picture.name for picture in draw_pictures(runs, output)]
        if len(runs) > 1:
            print(write_comparison(runs, output))
            written += ["comparison.md", "comparison.json"]
        print(f"written to {output}: {', '.join(written)}")
