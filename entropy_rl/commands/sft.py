"""python -m entropy_rl sft"""

from dataclasses import dataclass
from pathlib import Path

from entropy_rl.commands.configured import Configured
from entropy_rl.starting_policy import make_warm_start


@dataclass(frozen=True, kw_only=True)
class Sft(Configured):
    """Train a policy on demonstrations and write it as a Hugging Face folder.

    The demonstrations are those of warm_start.demonstrations_file, or the task makes its own (countdown).
    """

    output: Path = Path("policies/sft")
    """Folder to write; it must not exist yet."""

    def run(self) -> None:
        if self.output.exists():
            raise ValueError(f"--output must not exist yet, got {self.output}; choose another folder")
        if self.settings.warm_start is None:
            raise ValueError(f"the configuration must have a warm_start, {self.config} has none")
        make_warm_start(self.settings, self.output)
        print(self.output)
