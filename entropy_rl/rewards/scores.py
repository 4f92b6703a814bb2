"""What a judge says of one response, and how the function that judges is named.

A judge is a function "module:name" of (response, answer, **settings) that returns a `Score`, or a number. It
runs in a process of its own that is killed at a limit, so it may be slow or hang on hostile text. Its first
call is with a harmless pair: what it raises there says that judging is impossible on this machine, and no run
begins. Later on, what it raises costs the response its score and nothing else.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

FIRST_CALL = (r"\boxed{1}", "2")
"""Response and answer of the call that shows whether a judge can work at all."""
MAX_EXTRACTED_CHARACTERS = 1000
"""Longer extracted answers are kept only so far."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A judgement with its parts."""

    score: float
    """1 is right and 0 wrong; a judge may give shares between them."""
    method: str = ""
    """What decided, in a word or two: "exact", "math-verify", "no box", "passed 3/5"."""
    extracted: str | None = None
    """The answer that was found in the response; None without one."""


Judge = Callable[[str, str], Score | float]


def check_name(name: str) -> None:
    """Raises ValueError when a judge is not named "module:function"."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise ValueError(
            f'a judge must be named "module:function", got {name!r}; as my_rewards:brevity for def '
            "brevity(response, answer) in my_rewards.py"
        )


def load_judge(name: str, settings: dict | None = None) -> Judge:
    """The function that "module:name" means, with its settings bound.

    Raises ValueError when the name is not of that form or names no function, ImportError when the module
    cannot be imported.
    """
    check_name(name)
    module, _, function = name.partition(":")
    judge = getattr(importlib.import_module(module), function, None)
    if not callable(judge):
        raise ValueError(f"{module} has no function {function!r}; correct the name {name!r}")
    return partial(judge, **settings) if settings else judge
