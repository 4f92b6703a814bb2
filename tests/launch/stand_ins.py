"""Commands that only write down how they were called, and answer from a script: gcloud, srun, ssh, ..."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

STAND_IN = """#!{python}
import fcntl, fnmatch, json, sys
from pathlib import Path

folder = Path({folder!r})
lock = (folder / "lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX)  # several are called at once
call = [Path(sys.argv[0]).name, *sys.argv[1:]]
with (folder / "calls.jsonl").open("a") as file:
    file.write(json.dumps(call) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
for pattern, replies in answers.items():
    if fnmatch.fnmatch(" ".join(call), pattern):
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        (folder / "answers.json").write_text(json.dumps(answers))
        print(reply["says"], file=sys.stderr if reply["code"] else sys.stdout)
        sys.exit(reply["code"])
"""


def says(text: str = "", code: int = 0) -> dict:
    """One answer: what is printed, and the exit code."""
    return {"says": text, "code": code}


@dataclass(frozen=True)
class StandIns:
    """Commands of a folder put before all others on PATH."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *names: str) -> "StandIns":
        folder.mkdir()
        for name in names:
            command = folder / name
            command.write_text(STAND_IN.format(python=sys.executable, folder=str(folder)))
            command.chmod(0o755)
        return cls(folder)

    def run(
        self,
        *command: str,
        answers: dict[str, list] | None = None,
        timeout_seconds: int = 60,
        **environment: str,
    ):
        """Runs a script of launch/. Answers go by pattern of the call; the last of a list is repeated."""
        (self.folder / "answers.json").write_text(json.dumps(answers or {}))
        (self.folder / "calls.jsonl").write_text("")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        return subprocess.run(
            [str(ROOT / "launch" / command[0]), *command[1:]],
            env=clean | {"PATH": f"{self.folder}:{os.environ['PATH']}", "POLL_SECONDS": "0"} | environment,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )

    @property
    def calls(self) -> list[list[str]]:
        """What was called, in order, each with its arguments."""
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]
