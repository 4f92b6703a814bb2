"""SIGTERM as a request to stop soon: heard by any process, obeyed by all at one point."""

import signal
import threading

import numpy as np

from entropy_rl.parallelism.rows import share

EXIT_PREEMPTED = 75
"""Exit code of a run that was asked to stop and can be resumed (EX_TEMPFAIL of sysexits.h)."""


class AllStop(Exception):
    """An end in order, before the last step: all processes raise it at the same point."""


class Preempted(AllStop):
    """The run was asked to stop."""


class StopRequests:
    """While entered, SIGTERM only asks to stop; `check` is where a run does so.

    Left by Preempted, the process is about to end with a code of its own: SIGTERM, which a launcher may send
    again meanwhile, then stays without effect. Signals reach a process only in its main thread; entered in
    another one, it hears nothing itself.
    """

    def __init__(self):
        self._asked = False
        self._before = None

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if self._before is not None:
            stopping = error_type is not None and issubclass(error_type, Preempted)
            signal.signal(signal.SIGTERM, signal.SIG_IGN if stopping else self._before)

    def check(self) -> None:
        """Raises Preempted when any process has been asked to stop; all processes must call it alike."""
        if share(np.array(self._asked)).any():
            raise Preempted("the run was asked to stop")

    def _ask(self, *_: object) -> None:
        self._asked = True
