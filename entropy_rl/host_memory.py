"""Memory of this process: how much it took at most, and giving back what the compiler leaves behind."""

import ctypes
import resource
import sys

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"
"""Name under which jax reports that the compiler has finished."""


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def give_back_after_compiling(min_seconds: float = 1.0) -> None:
    """From now on, memory freed by a compilation of at least `min_seconds` returns to the system.

    LLVM frees hundreds of megabytes in pieces that the C library would keep, beside those that the compiled
    program then takes. Does nothing where the C library is not glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None

    def on_event(event: str, seconds: float, **_: object) -> None:
        if trim is not None and event == COMPILED and seconds >= min_seconds:
            trim(0)

    jax.monitoring.register_event_duration_secs_listener(on_event)
