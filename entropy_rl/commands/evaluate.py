"""python -m entropy_rl evaluate"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from entropy_rl.commands.configured import Configured
from entropy_rl.heldout import evaluate_folder
from entropy_rl.parallelism import Processes, is_main, joined


@dataclass(frozen=True, kw_only=True)
class Evaluate(Configured):
    """Measure a policy on the held-out prompts of a configuration's task: accuracy, pass@k, average@k."""

    from_policy: Path | None = None
    """Hugging Face folder or folder of a run; by default what the configuration's run would start from."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()

    def run(self) -> None:
        with joined(self.processes):
            numbers = evaluate_folder(self.settings, self.from_policy)
            if is_main():
                self._write(json.dumps(numbers, indent=2))

    def _write(self, text: str) -> None:
        print(text)
        if self.output is not None:
            self.output.write_text(text + "\n")
