"""Runs untrusted Python programs, each in a sandbox of its own that is made for it.

A sandbox is namespaces (no network, no processes but its own, a file system of the system's folders and the
interpreter, read-only, and a temporary directory), an unprivileged user, limits and a filter of system calls.
A process that starts one may be killed at any time: the sandbox dies with it.
"""

import json
import os
import selectors
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import BinaryIO

from entropy_rl.rewards.sandbox.limits import SandboxLimits
from entropy_rl.rewards.sandbox.mechanism import INTERPRETER, Mechanism

_GRACE_SECONDS = 5.0
"""What a sandbox may need beyond the limit of its program, to be made and to end."""
_READ_BYTES = 2**16
# Without the module `site`, whose search for packages takes longer than most programs; it defines exit too.
_PRELUDE = """\
import builtins, sys
builtins.exit = builtins.quit = sys.exit
__file__ = sys.argv.pop()
with open(__file__, encoding="utf-8", errors="surrogatepass") as program:
    program = compile(program.read(), __file__, "exec")
main = sys.modules["__main__"] = type(sys)("__main__")  # where nothing is imported or defined yet
main.__file__ = __file__
exec(program, main.__dict__)
"""


class SandboxError(RuntimeError):
    """A sandbox could not be made, or ended without a word. Says nothing of the program."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended."""

    ended_by: str
    """"itself", or what ended it: "time", "memory", "output"."""
    exit_code: int | None
    """As it exited; minus the signal that killed it; None when it was ended for its output."""
    stdout: bytes
    stderr: bytes
    seconds: float
    """Time of the program, the making of the sandbox not included."""
    cpu_seconds: float
    """Processor time of its first process, and of the children that one waited for."""

    @property
    def succeeded(self) -> bool:
        """It came to its end and said that all was well."""
        return self.ended_by == "itself" and self.exit_code == 0


def run(source: str, *, stdin: str, limits: SandboxLimits, mechanism: Mechanism) -> Outcome:
    """Runs a Python program with a text as its standard input."""
    with Runs(source, limits=limits, mechanism=mechanism) as runs:
        return runs.run(stdin, limits.wall_seconds)


class Runs:
    """Runs of one program, one after the other: each a fresh process that finds no trace of those before.

    They share a sandbox where the mechanism can clear it between them; making one takes most of the time.
    """

    def __init__(self, source: str, *, limits: SandboxLimits, mechanism: Mechanism):
        self._make = partial(_Sandbox, source, None, None, limits, mechanism)
        self._is_reusable = mechanism.is_reusable
        self._sandbox: _Sandbox | None = None

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *exception) -> None:
        self._close()

    def _close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def run(self, stdin: str, wall_seconds: float) -> Outcome:
        """The next run. Raises SandboxError where no sandbox could be made; no run can follow that."""
        self._sandbox = self._sandbox or self._make()
        self._sandbox.start_run(stdin, wall_seconds)
        (outcome,) = _collect([self._sandbox])
        if not self._is_reusable or outcome.ended_by == "output":
            self._close()
        return outcome


def run_connected(
    sources: tuple[str, str], *, limits: tuple[SandboxLimits, SandboxLimits], mechanism: Mechanism
) -> tuple[Outcome, Outcome]:
    """Runs two Python programs, in a sandbox each, that read each other's standard output.

    The outcomes have no `stdout`.
    """
    to_first, from_second = os.pipe()
    to_second, from_first = os.pipe()
    ends = [to_first, from_second, to_second, from_first]
    try:
        with (
            _Sandbox(sources[0], to_first, from_first, limits[0], mechanism) as first,
            _Sandbox(sources[1], to_second, from_second, limits[1], mechanism) as second,
        ):
            while ends:
                os.close(ends.pop())  # while they are open here, neither program sees the other's end
            for sandbox in (first, second):
                sandbox.start_run("", sandbox.limits.wall_seconds)
            first_outcome, second_outcome = _collect([first, second])
            return first_outcome, second_outcome
    finally:
        for end in ends:
            os.close(end)


class _Sandbox:
    """One sandbox in being; leaving the context kills whatever is left of it."""

    def __init__(
        self,
        source: str,
        stdin: int | None,
        stdout: int | None,
        limits: SandboxLimits,
        mechanism: Mechanism,
    ):
        self.limits = limits
        self._folder = TemporaryDirectory(prefix="sandbox-") if mechanism.is_weak else None
        root = self._folder.name if self._folder else ""
        reader, writer = os.pipe()
        request = {
            "mechanism": mechanism.name,
            "command": [INTERPRETER, "-I", "-S", "-c", _PRELUDE, f"{root}/program.py"],
            "files": {"program.py": source},
            "folder": root or "/tmp",
            "interpreter_prefix": os.path.realpath(sys.base_prefix),
            "limits": asdict(limits),
            "stdin_descriptor": stdin,
        }
        self.process = mechanism.start(request, status=writer, stdout=stdout)
        os.close(writer)
        self.output = (self.process.stdout, self.process.stderr)
        self.status = os.fdopen(reader, "rb", buffering=0)
        for pipe in filter(None, self.output):
            os.set_blocking(pipe.fileno(), False)
        self._send(request)

    def start_run(self, stdin: str, wall_seconds: float) -> None:
        """Has the program run once more; the runs before must have ended."""
        self.deadline = time.monotonic() + wall_seconds + _GRACE_SECONDS
        self._send({"stdin": stdin, "wall_seconds": wall_seconds})

    def _send(self, request: dict) -> None:
        lifeline = self.process.stdin
        assert lifeline is not None
        try:
            lifeline.write(json.dumps(request).encode() + b"\n")
            lifeline.flush()
        except BrokenPipeError:
            pass  # it ended at once; its status, or silence, tells more

    def __enter__(self) -> "_Sandbox":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, *self.output, self.status):
            if pipe is not None:
                _close(pipe)
        if self._folder:
            self._folder.cleanup()

    def kill(self) -> None:
        self.process.kill()  # the kernel then kills process 1 of the sandbox, and so all of it
        self.process.wait()


def _close(pipe: BinaryIO) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        pass  # unsent bytes of the request


def _collect(sandboxes: list[_Sandbox]) -> list[Outcome]:
    """Reads all that the sandboxes write until their runs end, or have to be ended."""
    written: dict[BinaryIO, bytearray] = {}
    ended: set[_Sandbox] = set()
    flooded: set[_Sandbox] = set()
    deadline = max(sandbox.deadline for sandbox in sandboxes)
    with selectors.DefaultSelector() as selector:
        for sandbox in sandboxes:
            for pipe in (*sandbox.output, sandbox.status):
                if pipe is not None:
                    written[pipe] = bytearray()
                    selector.register(pipe, selectors.EVENT_READ, sandbox)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                sandbox = key.data
                if sandbox in ended:
                    continue
                data = os.read(key.fd, _READ_BYTES)
                written[key.fileobj] += data
                if not data:
                    selector.unregister(key.fileobj)
                if written[sandbox.status].endswith(b"\n"):
                    _read_rest(sandbox, written)
                    ended.add(sandbox)
                if _num_written(sandbox, written) > sandbox.limits.output_kib * 1024:
                    flooded.add(sandbox)
                    ended.add(sandbox)
                    sandbox.kill()
                if sandbox in ended:
                    _unregister_all(sandbox, selector)
    return [_outcome(sandbox, written, sandbox in flooded) for sandbox in sandboxes]


def _read_rest(sandbox: _Sandbox, written: dict) -> None:
    """What is in the pipes after a run: nobody is left to write more."""
    for pipe in filter(None, sandbox.output):
        try:
            while data := os.read(pipe.fileno(), _READ_BYTES):
                written[pipe] += data
        except BlockingIOError:
            pass  # that was all


def _unregister_all(sandbox: _Sandbox, selector: selectors.BaseSelector) -> None:
    for key in [key for key in selector.get_map().values() if key.data is sandbox]:
        selector.unregister(key.fileobj)


def _num_written(sandbox: _Sandbox, written: dict) -> int:
    return sum(len(written.get(pipe, b"")) for pipe in sandbox.output)


def _outcome(sandbox: _Sandbox, written: dict, flooded: bool) -> Outcome:
    status_line = bytes(written[sandbox.status]).partition(b"\n")[0]
    status = json.loads(status_line) if status_line else {}
    if flooded:
        status = {"exit_code": None, "seconds": 0.0, "cpu_seconds": 0.0} | status | {"ended_by": "output"}
    stdout, stderr = (bytes(written.get(pipe, b"")) for pipe in sandbox.output)
    if "error" in status or not status:
        silence = f"ended without a status {stderr[-300:].decode(errors='replace').strip()}"
        raise SandboxError(status.get("error", silence))
    return Outcome(stdout=stdout, stderr=stderr, **status)
