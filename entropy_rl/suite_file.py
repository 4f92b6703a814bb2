"""Suites by name, or from a Python file whose get_suite() returns a `Suite`."""

from pathlib import Path

from entropy_rl.config_file import load_module
from entropy_rl.evaluation.paper import PAPER
from entropy_rl.evaluation.suite import Suite

SUITES = {PAPER.name: PAPER}


def load_suite(name: str) -> Suite:
    """The suite of this name, or of this file.

    The file is run as code: use only files you trust. Raises ValueError when there is neither.
    """
    if name in SUITES:
        return SUITES[name]
    path = Path(name)
    if path.suffix != ".py":
        raise ValueError(
            f"--suite must be {' or '.join(SUITES)}, or a Python file with get_suite(), got {name}"
        )
    suite = load_module(path, flag="--suite", function="get_suite").get_suite()
    if not isinstance(suite, Suite):
        raise ValueError(f"get_suite() of {path} must return a Suite, got {type(suite).__name__}")
    return suite
