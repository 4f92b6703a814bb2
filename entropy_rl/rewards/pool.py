"""A pool of judging processes in which no response, however hostile, can hang, exhaust or end a run.

Each process is a fresh interpreter on the other end of a socket. One that does not answer within the limit
is killed and replaced; its item scores 0. Killing needs no cooperation: it stops code that holds the
interpreter, which alarms and threads cannot.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

MATH_JUDGE = "entropy_rl.rewards.mathematics.judges:judge"

_START_LIMIT_SECONDS = 60.0
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True, kw_only=True)
class JudgeItem:
    """A response and the answer it is compared with."""

    response: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What became of one item."""

    score: float
    method: str = ""
    """What decided, in the judge's words; empty when nothing could be judged."""
    extracted: str | None = None
    """The answer that the judge found in the response."""
    seconds: float
    """Time from request to reply, the start of a process not included."""
    timed_out: bool = False
    """The process was killed at the limit; the score is 0."""
    error: str = ""
    """Why nothing could be judged (the score is 0 then); empty when it was."""


@dataclass(frozen=True, kw_only=True)
class JudgeLimits:
    """What judging one response may cost."""

    time_limit_seconds: float = 5.0
    """Seconds after which the process is killed."""
    memory_limit_mib: int = 2048
    """Address space of a process, in MiB."""

    def __post_init__(self):
        if self.time_limit_seconds <= 0 or self.memory_limit_mib < 512:
            raise ValueError(
                "judging needs time_limit_seconds > 0 and memory_limit_mib >= 512; got "
                f"{self.time_limit_seconds} and {self.memory_limit_mib}; raise the one that is too small"
            )


class JudgePool:
    """Judges items in parallel; a context manager whose `judge_all` may be called from any thread.

    `judge` names one (entropy_rl.rewards.scores), `settings` are its further arguments, as JSON has them.
    Entering starts the processes, and raises ValueError when they cannot run the judge.
    """

    def __init__(
        self,
        *,
        num_workers: int,
        limits: JudgeLimits,
        judge: str = MATH_JUDGE,
        settings: Mapping[str, object] | None = None,
    ):
        if num_workers < 1:
            raise ValueError(
                f"num_workers must be at least 1; got {num_workers}; the number of cores is good"
            )
        self._workers = [_Worker(judge, json.dumps(settings or {}), limits) for _ in range(num_workers)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> "JudgePool":
        for worker in self._workers:
            worker.launch()
        try:
            for worker in self._workers:
                worker.await_ready()
                self._idle.put(worker)
        except BaseException:
            self._stop_workers()
            raise
        self._threads = ThreadPoolExecutor(len(self._workers), thread_name_prefix="judge")
        return self

    def __exit__(self, *exception) -> None:
        assert self._threads is not None
        self._threads.shutdown(cancel_futures=True)
        self._stop_workers()

    def judge_all(self, items: Sequence[JudgeItem]) -> list[Judgement]:
        """One judgement for each item, in order. Nothing an item does raises."""
        return list(self.begin(items))

    def begin(self, items: Sequence[JudgeItem]) -> Iterator[Judgement]:
        """The same, one after another as they come; all items are in line when this returns."""
        assert self._threads is not None, "judging is for use inside `with JudgePool(...)`"
        return self._threads.map(self._judge_one, items)

    def _judge_one(self, item: JudgeItem) -> Judgement:
        worker = self._idle.get()
        try:
            return worker.judge(item)
        finally:
            self._idle.put(worker)

    def _stop_workers(self) -> None:
        for worker in self._workers:
            worker.kill()


class _Worker:
    """One process, used by one thread at a time; started anew after it was killed."""

    def __init__(self, judge: str, settings: str, limits: JudgeLimits):
        self._judge = judge
        self._settings = settings
        self._limits = limits
        self._process: subprocess.Popen | None = None

    def launch(self) -> None:
        """Starts the process and returns before it is ready. Raises OSError when the system starts none."""
        connection, theirs = Pipe()
        limits = [str(self._limits.time_limit_seconds), str(self._limits.memory_limit_mib)]
        judge = [self._judge, self._settings]
        module = "entropy_rl.rewards.worker"
        # The folder one works in comes last: a user's own judge may lie there.
        folders = [_PACKAGE_PARENT, os.environ.get("PYTHONPATH"), os.getcwd()]
        search_path = os.pathsep.join(filter(None, folders))
        with theirs, ExitStack() as undo:
            undo.callback(connection.close)
            _limit_sending(connection, self._limits.time_limit_seconds)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *limits, *judge],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": search_path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a group of its own: what a judge starts dies with it
            )
            undo.pop_all()
        self._connection = connection

    def await_ready(self) -> None:
        """Raises ValueError when the process cannot run the judge, for the reason it gives."""
        try:
            error = self._receive(_START_LIMIT_SECONDS)["error"]
        except (EOFError, OSError) as failure:
            error = f"no answer ({type(failure).__name__})"
        if error:
            self.kill()
            raise ValueError(
                f"a judging process must be able to run {self._judge!r}; got: {error}; check the name, that "
                "it can be imported, and memory_limit_mib"
            )

    def judge(self, item: JudgeItem) -> Judgement:
        if self._has_ended():
            try:
                self._restart()
            except (ValueError, OSError) as error:
                return Judgement(score=0.0, seconds=0.0, error=f"no process to judge in: {error}")
        limit_seconds = self._limits.time_limit_seconds
        start_seconds = time.perf_counter()
        try:
            self._connection.send_bytes(json.dumps(asdict(item)).encode())
            reply = self._receive(start_seconds + limit_seconds - time.perf_counter())
        except (EOFError, OSError) as failure:
            self.kill()
            timed_out = isinstance(failure, TimeoutError | BlockingIOError)
            error = f"killed after {limit_seconds} seconds" if timed_out else "the judging process died"
            reply = {"score": 0.0, "timed_out": timed_out, "error": error}
        return Judgement(seconds=time.perf_counter() - start_seconds, **reply)

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):  # macOS has the latter for a dead group
                os.killpg(self._process.pid, signal.SIGKILL)  # not reaped yet, so that the number is its own
            self._process.wait()
            self._connection.close()
            self._process = None

    def _has_ended(self) -> bool:
        """Whether the process is gone: an idle one sends nothing, so what can be read is its end."""
        return self._process is None or self._connection.poll()

    def _restart(self) -> None:
        self.kill()
        self.launch()
        self.await_ready()

    def _receive(self, limit_seconds: float) -> dict:
        """The next reply. Raises TimeoutError for silence, EOFError or OSError when the process is dead."""
        if not self._connection.poll(max(limit_seconds, 0)):
            raise TimeoutError
        return json.loads(self._connection.recv_bytes())


def _limit_sending(connection: Connection, seconds: float) -> None:
    """Has a send raise BlockingIOError after so long a time in which nothing of it was taken."""
    limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
    with socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
