"""The process that starts the untrusted program, watches it, and ends it and all that it left behind.

In a namespace of process ids it is process 1: nothing inside can kill it, and its end is theirs.
"""

import os
import resource
import select
import signal
import time

from entropy_rl.rewards.sandbox import linux
from entropy_rl.rewards.sandbox.namespaces import become, write_file
from entropy_rl.rewards.sandbox.system_calls import filter_instructions

LIFELINE = 0
"""Descriptor whose other end the judging process holds: once that is closed, the sandbox ends."""
_LOOK_MILLISECONDS = 20
_MIB = 2**20


def supervise(request: dict, uid: int | None, is_init: bool) -> dict:
    """Runs the program to its end; tells how it ended, by whom, and what it used.

    `uid` is the user the program becomes; None when this process is that user already.
    """
    linux.set_dumpable(False)  # its memory and descriptors are not the program's to read
    if not is_init:
        linux.adopt_orphans()
    error_reader, error_writer = os.pipe()
    program = os.fork()
    if program == 0:
        _become_program(request, uid, error_writer)
    os.close(error_writer)
    start_seconds = time.monotonic()
    ended_by = _watch(program, request["limits"], request["wall_seconds"], is_init)
    _kill(program, is_init)
    _, wait_status, usage = os.wait4(program, 0)
    _await_others() if is_init else _end_orphans()
    with os.fdopen(error_reader, "rb") as failures:
        if failure := failures.read():
            raise OSError(failure.decode(errors="replace"))
    exit_code = os.waitstatus_to_exitcode(wait_status)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    if ended_by == "itself" and _at_cpu_limit(exit_code, cpu_seconds, request["limits"]["cpu_seconds"]):
        ended_by = "time"
    return {
        "ended_by": ended_by,
        "exit_code": exit_code,
        "seconds": time.monotonic() - start_seconds,
        "cpu_seconds": cpu_seconds,
    }


def _become_program(request: dict, uid: int | None, error_writer: int) -> None:
    """Takes on the program's user, limits and input, and becomes it. Never returns."""
    try:
        os.setsid()
        os.chdir(request["folder"])
        stdin = request["stdin_descriptor"]
        os.dup2(_read_only(request["stdin"]) if stdin is None else stdin, 0)
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > 2:
                _close_on_exec(descriptor)
        set_limits(request["limits"])
        if uid is not None:
            become(uid)
        linux.die_with_parent()
        linux.forbid_new_privileges()
        linux.install_filter(filter_instructions())
        os.execve(request["command"][0], request["command"], {})
    except Exception as error:  # whatever it was: a program that did not start must be told from a wrong one
        os.write(error_writer, f"starting the program: {error}".encode(errors="replace")[:4096])
    finally:
        os._exit(127)


def _read_only(text: str) -> int:
    """A descriptor to read a text from: a file of the working directory that has no name any longer."""
    write_file("stdin", text)
    descriptor = os.open("stdin", os.O_RDONLY)
    os.remove("stdin")
    return descriptor


def _close_on_exec(descriptor: int) -> None:
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        pass  # the one that listed the others


def set_limits(limits: dict) -> None:
    """Lowers the limits of this process; a limit it has already stays where it is lower."""
    cpu_seconds, file_bytes = limits["cpu_seconds"], limits["file_mib"] * _MIB
    wanted = {
        resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 1),  # a signal it may catch, then one it cannot
        resource.RLIMIT_AS: (limits["memory_mib"] * _MIB,) * 2,
        resource.RLIMIT_NPROC: (limits["num_processes"],) * 2,
        resource.RLIMIT_NOFILE: (limits["num_open_files"],) * 2,
        resource.RLIMIT_FSIZE: (file_bytes, file_bytes),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
    }
    for kind, (soft, hard) in wanted.items():
        _, present = resource.getrlimit(kind)
        if present != resource.RLIM_INFINITY:
            soft, hard = min(soft, present), min(hard, present)
        resource.setrlimit(kind, (soft, hard))


def _watch(program: int, limits: dict, wall_seconds: float, is_init: bool) -> str:
    """Waits for the program's end or a reason to end it, and returns the reason."""
    exited = os.pidfd_open(program)
    try:
        return _reason_to_end(program, exited, limits, wall_seconds, is_init)
    finally:
        os.close(exited)


def _reason_to_end(program: int, exited: int, limits: dict, wall_seconds: float, is_init: bool) -> str:
    poller = select.poll()
    poller.register(exited, select.POLLIN)
    poller.register(LIFELINE, select.POLLIN)
    deadline = time.monotonic() + wall_seconds
    while time.monotonic() < deadline:
        events = dict(poller.poll(_LOOK_MILLISECONDS))
        if LIFELINE in events:
            return "the judge"
        if exited in events:
            return "itself"
        if is_init:
            _reap_others(program)
            if _resident_bytes() > limits["memory_mib"] * _MIB:
                return "memory"
    return "time"


def _reap_others(program: int) -> None:
    """Takes leave of orphans that ended, which would count as processes until then."""
    while True:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or ended.si_pid == program:
            return
        os.waitpid(ended.si_pid, 0)


def _resident_bytes() -> int:
    """Memory of all processes of the namespace but this one; pages they share count for each."""
    num_pages = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            try:
                num_pages += int(_read(f"/proc/{name}/statm").split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass  # it ended meanwhile
    return num_pages * resource.getpagesize()


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _kill(program: int, is_init: bool) -> None:
    try:
        # For process 1, "all processes" are those of its namespace.
        os.kill(-1, signal.SIGKILL) if is_init else os.killpg(program, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _await_others() -> None:
    """Waits until the killed processes of the namespace are no more: all have become this one's children."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


def _end_orphans() -> None:
    """Kills the descendants that became this process's children when the program ended."""
    while pids := _read(f"/proc/self/task/{os.getpid()}/children").split():
        for pid in map(int, pids):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _at_cpu_limit(exit_code: int, cpu_seconds: float, limit_seconds: int) -> bool:
    killed = exit_code == -signal.SIGKILL and cpu_seconds >= limit_seconds
    return killed or exit_code == -signal.SIGXCPU
