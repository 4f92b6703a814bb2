"""python -m entropy_rl report"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.page.assembly import MAX_TOKENS, write_page
from entropy_rl.observatory.probes import Probes


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one HTML page of a run: its curves, the verdicts, the law, and responses token by token.

    The page is one file that asks nothing of the network; the run may have ended or not. Example:
    python -m entropy_rl report runs/tiny_kl_cov
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    output: Path | None = None
    """The file to write; report.html in the run's folder unless given."""
    policy: Path | None = None
    """Probe this policy for the verdicts too: a run's folder with checkpoints, or a Hugging Face folder."""
    max_tokens: int = MAX_TOKENS
    """Tokens of recorded responses in the page, about 30 bytes each; of more, steps are left out evenly."""

    def run(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"--max-tokens must be at least 1, got {self.max_tokens}; leave it out")
        run = RunRecord.load(self.folder)
        output = self.output or run.path / "report.html"
        print(write_page(run, output, max_tokens=self.max_tokens, probes=self._probes(run)))

    def _probes(self, run: RunRecord) -> Probes | None:
        if self.policy is None:
            return None
        from entropy_rl.policy_probes import probe_policy  # loads jax, which nothing else here needs

        return probe_policy(run, self.policy)
