"""What tests of sandboxes share: whether this machine can make any, and the processes that they leave."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

_NEW = ["--net", "--pid", "--fork", "--mount-proc", "true"]
PROBES = {
    "namespaces": [["unshare", *_NEW], ["unshare", "--user", "--map-root-user", *_NEW]],
    "bubblewrap": [["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"]],
}
"""Commands that succeed where the mechanisms must. They use nothing of what is tested."""


def skip_or_fail(
    refusal: str,
    mechanism: str | None = None,
    uid: int | None = None,
    probes: Mapping[str, list[list[str]]] = PROBES,
) -> None:
    """Skips a test whose sandbox was refused where the machine explains that, else fails it."""
    for name, commands in probes.items():
        for command in commands if mechanism in (None, name) else []:
            if _succeeds(command, uid):
                pytest.fail(f"refused, though {' '.join(command)!r} works here: {refusal}")
    pytest.skip(f"this machine makes no sandbox: {refusal}")


def _succeeds(command: list[str], uid: int | None) -> bool:
    as_user = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    try:
        return subprocess.run(command, capture_output=True, timeout=20, cwd="/", **as_user).returncode == 0
    except OSError:
        return False  # it is not installed


def named_processes(name: str) -> list[int]:
    """Processes of this machine whose command name is `name`."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == name:
                found.append(int(comm.parent.name))
        except OSError:
            pass  # it ended meanwhile
    return found


def comes_true(condition: Callable[[], bool], limit_seconds: float) -> bool:
    """Waits for a condition; whether it came true in time."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def all_gone(name: str, limit_seconds: float) -> bool:
    """Whether all processes of that name end in time; ends them where they do not."""
    if comes_true(lambda: not named_processes(name), limit_seconds):
        return True
    for pid in named_processes(name):
        os.kill(pid, signal.SIGKILL)
    return False
