"""python -m entropy_rl sums"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from entropy_rl.data.sums import sums

NUM_TRAIN, NUM_TEST = 4096, 256


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Write short arithmetic in files like GSM8K's, for a small pretrained policy: "What is 17 + 25?".

    FOLDER/train.jsonl and FOLDER/test.jsonl share no problem. Example: python -m entropy_rl sums data/sums
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Where the two files are written; it is made where it is not there."""
    seed: int = 0
    """Decides which problems are drawn."""

    def run(self) -> None:
        problems = sums(NUM_TRAIN + NUM_TEST, self.seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("test", problems[:NUM_TEST]), ("train", problems[NUM_TEST:])):
            path = self.folder / f"{name}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            print(f"{path}: {len(rows):,} problems")
