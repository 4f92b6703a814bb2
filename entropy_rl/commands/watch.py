"""python -m entropy_rl watch"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from entropy_rl.observatory.watching import Watch as Watching


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Follow a run in the terminal while it goes: how far it is, and the course of its numbers.

    Ends with the run, or by Ctrl-C, which leaves the run alone. Example:
    python -m entropy_rl watch runs/tiny_kl_cov
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    once: bool = False
    """Show it once and end, for a pipe or a script."""
    seconds: float = 1.0
    """Time between looks; at least 10 s where each view is printed below the last, as into a file."""

    def run(self) -> None:
        if self.seconds <= 0:
            raise ValueError(f"--seconds must be positive, got {self.seconds}; 1 looks once a second")
        watching = Watching(self.folder, Console(highlight=False))
        if self.once:
            return watching.once()
        try:
            watching.follow(self.seconds)
        except KeyboardInterrupt:
            print()
