"""Every program is compiled once, as many at a time as there are cores."""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import jax


class DoesNotFitError(Exception):
    """The compiler found no room for a program."""

    def __init__(self, name: str, needed_bytes: float, message: str):
        super().__init__(f"{name}: {message}")
        self.name = name
        self.needed_bytes = needed_bytes
        self.message = message


_cores = threading.BoundedSemaphore(os.cpu_count() or 1)
_lock = threading.Lock()
_programs: dict[tuple[str, str], Future] = {}
"""By topology and fingerprint: several runs share most of their programs."""


def fingerprint(lowered: jax.stages.Lowered) -> str:
    """The same for programs that differ in numbers of f32 alone, as clip ranges and coefficients are: neither
    memory nor time depends on them."""
    text = re.sub(r"dense<[-+.\deE]+> : tensor<f32>", "number", lowered.as_text())
    return hashlib.sha256(text.encode()).hexdigest()


def compile_once(
    name: str, lowered: jax.stages.Lowered, topology_name: str, tell: Callable[[str], None]
) -> tuple[jax.stages.Compiled, float]:
    """(The program, seconds that compiling took); from any thread. `tell` is called when it begins.

    Raises DoesNotFitError, with the name, when the compiler says that it is too large.
    """
    key = topology_name, fingerprint(lowered)
    with _lock:
        program = _programs.get(key)
        if mine := program is None:
            program = _programs[key] = Future()
    if mine:
        with _cores:
            try:
                tell(f"compiling {name} for {topology_name}")
                start = time.perf_counter()
                program.set_result((lowered.compile(), time.perf_counter() - start))
            except jax.errors.JaxRuntimeError as error:
                program.set_exception(_too_large(name, error) or error)
            except BaseException as error:
                program.set_exception(error)  # or those who wait for it would wait for ever
    try:
        return program.result()
    except DoesNotFitError as error:  # the same program may have been compiled under another name
        raise DoesNotFitError(name, error.needed_bytes, error.message) from None


def _too_large(name: str, error: jax.errors.JaxRuntimeError) -> DoesNotFitError | None:
    """What the compiler says it would need, if that is what is wrong."""
    message = str(error)
    needed = re.search(r"\(([\d.]+)([KMGT])\) exceeds available HBM|Used ([\d.]+)([KMGT]) of", message)
    if "RESOURCE_EXHAUSTED" not in message or needed is None:
        return None
    number, unit = [group for group in needed.groups() if group is not None]
    return DoesNotFitError(name, float(number) * 1024 ** (1 + "KMGT".index(unit)), message.splitlines()[0])
