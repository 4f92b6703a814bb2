"""python -m entropy_rl diagnose"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from entropy_rl.observability.json_files import write_atomically, write_json
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.diagnosis import Outcome, Thresholds, diagnose, severity
from entropy_rl.observatory.diagnosis_report import as_json, as_markdown, show
from entropy_rl.observatory.probes import Probes

EXIT_CODES = {Outcome.OK: 0, Outcome.WARN: 3, Outcome.FAIL: 4, Outcome.NOT_MEASURABLE: 5}


@dataclass(frozen=True, kw_only=True)
class Diagnose:
    """Check a run, finished or not, for all that is known to ruin entropy: what is wrong, and what to change.

    Exit code: 0 all is well as far as it could be measured, 3 a check warns, 4 a check fails, 5 nothing could
    be measured, 2 there is no such run. Example:
    python -m entropy_rl diagnose runs/tiny_grpo --policy runs/tiny_grpo --markdown diagnosis.md
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    policy: Path | None = None
    """Probe this policy too: the folder of a run with checkpoints, or a Hugging Face folder."""
    repetition_penalty: float = 1.0
    """With --policy: tell what a repetition penalty of this size would take away. The sampler has none."""
    json: Path | None = None
    """Write the verdicts to this file as JSON."""
    markdown: Path | None = None
    """Write them to this file as Markdown."""
    thresholds: Thresholds = Thresholds()
    """Where checks warn and fail."""

    def run(self) -> None:
        record = RunRecord.load(self.folder)
        verdicts = diagnose(record, thresholds=self.thresholds, probes=self._probes(record))
        show(verdicts, Console(), f"{record.name}, {_steps(record)}")
        if self.json is not None:
            write_json(self.json, as_json(verdicts, record.name))
        if self.markdown is not None:
            write_atomically(self.markdown, as_markdown(verdicts, record.name).encode())
        sys.exit(EXIT_CODES[severity(verdicts)])

    def _probes(self, record: RunRecord) -> Probes | None:
        if self.policy is None:
            return None
        from entropy_rl.policy_probes import probe_policy  # loads jax, which nothing else here needs

        return probe_policy(record, self.policy, repetition_penalty=self.repetition_penalty)


def _steps(record: RunRecord) -> str:
    return f"steps {record.rows[0]['step']}-{record.rows[-1]['step']}" if record.rows else "no step yet"
