"""Many processes as one run: how they meet, and how none outlives another.

jax.distributed connects them. It watches them by heartbeats and ends those that remain when one is gone, in
terms of its own; what that means for the user, and what is to be done, is said here.
"""

import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import _exit as exit_at_once

import jax

from entropy_rl.parallelism.clusters import INITIALIZATION_TIMEOUT_SECONDS, Membership, found_membership
from entropy_rl.parallelism.preemption import AllStop

HEARTBEAT_TIMEOUT_SECONDS = 30
"""A process that is silent for so long is taken for dead, and the others end."""
EXIT_FAILED = 1
EXIT_REFUSED = 2
"""Exit code of errors of the user, as of a single process (entropy_rl.cli)."""
LOST = ("gloo", "nccl", "heartbeat", "coordination", "connection", "socket closed", "unavailable", "barrier")
"""Words, one of which is in every error that the death of another process makes."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a run. TPU pods, SLURM, Open MPI and Kubernetes job sets are found without flags."""

    coordinator: str | None = None
    """HOST:PORT at which all others reach process 0; the port must be free there."""
    num_processes: int | None = None
    """How many processes the run has; 1 alone keeps this one to itself wherever it was started."""
    process_id: int | None = None
    """Number of this process, from 0."""

    def membership(self) -> Membership | None:
        """This process's place among several; None when it is the only one.

        Raises ValueError for flags that are wrong or half given, and when the environment speaks of several
        processes without saying where they are.
        """
        given = (self.coordinator, self.num_processes, self.process_id)
        if given == (None, None, None):
            return found_membership()
        if given == (None, 1, None):
            return None
        if None in given:
            raise ValueError(
                "--coordinator HOST:PORT, --num-processes and --process-id must be given together or not at "
                f"all, got {given[0]}, {given[1]} and {given[2]}; the first two are equal for all processes"
            )
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ValueError(
                "--coordinator must be HOST:PORT of process 0, as 10.0.0.2:8476, got "
                f"{self.coordinator}; choose a port that is free there"
            )
        if not 0 <= self.process_id < self.num_processes:
            raise ValueError(
                f"--process-id must be 0 to {self.num_processes - 1} with --num-processes "
                f"{self.num_processes}, got {self.process_id}; give every process a number of its own"
            )
        if self.num_processes == 1:
            return None
        return Membership(
            coordinator=self.coordinator, num_processes=self.num_processes, process_id=self.process_id
        )


@contextmanager
def joined(processes: Processes) -> Iterator[None]:
    """Connects the processes of a run for the body; to be entered before anything touches a device.

    Raises what `Processes.membership` does, and RuntimeError when the processes do not meet.
    """
    me = processes.membership()
    if me is None:
        yield
        return
    with _last_words(me), fail_together():
        _meet(me)
        try:
            yield
        except AllStop:
            jax.distributed.shutdown()
            raise
        jax.distributed.shutdown()


@contextmanager
def fail_together() -> Iterator[None]:
    """An exception in the body ends this process at once, where it is one of several, and thereby the others.

    To unwind would be to wait for them, while they wait for this one. `AllStop` passes: all raise it.
    """
    try:
        yield
    except AllStop:
        raise
    except BaseException as error:
        if not jax.distributed.is_initialized():
            raise
        code = _exit_code(error)
        try:
            _explain(error)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # even when nobody reads what is printed any more
            exit_at_once(code)


def _meet(me: Membership) -> None:
    # SIGTERM is ours (entropy_rl.parallelism.preemption); jax's service would take it for itself.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            me.coordinator,
            me.num_processes,
            me.process_id,
            local_device_ids=me.local_device_ids,
            cluster_detection_method="deactivate",
            initialization_timeout=INITIALIZATION_TIMEOUT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_SECONDS,
        )
    except jax.errors.JaxRuntimeError as error:
        raise RuntimeError(
            f"process {me.process_id} of {me.num_processes} did not meet the others at {me.coordinator} "
            f"({_first_line(error)}); check that all are started with this address, that process 0 is on its "
            "host, and that its port is free there and open to the others"
        ) from error
    if jax.process_count() != me.num_processes:
        raise RuntimeError(
            f"{me.num_processes} processes have met, but their devices form a system of "
            f"{jax.process_count()}; start one process for each machine"
        )


@contextmanager
def _last_words(me: Membership) -> Iterator[None]:
    """Has a message on standard error when this process ends in the body, however that comes about.

    What jax's watch or the kernel kills can say nothing more itself, but the shell at the other end of a pipe
    sees it close.
    """
    words = (
        f"entropy_rl: process {me.process_id} of {me.num_processes} has ended before the run did. What was "
        "printed above says why; if nothing was, it was killed, perhaps for want of memory. No process goes "
        "on alone: all others end within a minute. Remove the cause and start all of them again, with "
        "--resume to go on from the last checkpoint."
    )
    script = 'trap "" INT TERM; read -r farewell || printf "%s\\n" "$1" >&2'
    shell = subprocess.Popen(["sh", "-c", script, "sh", words], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        shell.communicate(b"farewell\n")


def _exit_code(error: BaseException) -> int:
    of_users = isinstance(error, ValueError | FileNotFoundError | RuntimeError)
    of_jax = isinstance(error, jax.errors.JaxRuntimeError)
    return EXIT_REFUSED if of_users and not of_jax and not _losses(error) else EXIT_FAILED


def _explain(error: BaseException) -> None:
    """Says on standard error what ended this process."""
    me = f"process {jax.process_index()} of {jax.process_count()}"
    if lost := _losses(error):
        what = f"has lost another one, whose own output says why it ended ({_first_line(lost[0])})"
    elif isinstance(error, ValueError | FileNotFoundError):
        what = f"stops: {error}"
    else:
        traceback.print_exception(error)
        what = f"stops: {type(error).__name__}: {error}"
    print(f"entropy_rl: {me} {what}", file=sys.stderr)


def _losses(error: BaseException) -> list[BaseException]:
    """Of an error and what caused it, those that the death of another process makes."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    return [e for e in chain if isinstance(e, jax.errors.JaxRuntimeError) and _is_of_others(e)]


def _is_of_others(error: Exception) -> bool:
    return any(word in str(error).lower() for word in LOST)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
