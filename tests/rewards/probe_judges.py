"""Judges that misbehave on command, run inside the worker processes of the tests."""

import os
import subprocess
import sys
import time
from pathlib import Path

from entropy_rl.rewards.scores import Score


def obey(response: str, answer: str) -> float:
    """Does what the response says; anything else scores 0.5."""
    if response == "hang":
        time.sleep(3600)
    elif response == "hold the interpreter":
        return 9**9**9
    elif response == "die":
        os._exit(3)
    elif response == "raise":
        raise RuntimeError(answer)
    elif response == "eat memory":
        return float(len(bytearray(2**40)))
    elif response == "not a number":
        return float("nan")
    elif response == "print":
        print("noise on standard output", flush=True)
    elif response == "process":
        return float(os.getpid())
    elif response == "start a process and hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        open(answer, "w").write(str(child.pid))
        time.sleep(3600)
    return 0.5


def with_parts(response: str, answer: str, *, bonus: float = 0.0) -> Score:
    """A score with all its parts, of which one comes from the settings."""
    return Score(score=0.25 + bonus, method="by hand", extracted=response)


def meet(response: str, answer: str, *, me: str, other: str) -> float:
    """1 when another judge works at the same time; the answer is the folder in which they meet."""
    folder = Path(answer)
    if not folder.is_dir():
        return 0.0
    (folder / me).touch()
    while not (folder / other).exists():
        time.sleep(0.01)
    return 1.0


def heavy_modules_loaded(response: str, answer: str) -> float:
    """1 when a module that a worker must not pay for is loaded beside the mathematics judge."""
    import entropy_rl.rewards.countdown
    import entropy_rl.rewards.mathematics.judges  # noqa: F401

    return float(any(name in sys.modules for name in ("jax", "transformers", "torch", "flax", "grain")))


def broken(response: str, answer: str) -> float:
    raise ImportError("a missing library")
