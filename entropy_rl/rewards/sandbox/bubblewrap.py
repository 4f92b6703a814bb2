"""The sandbox's namespaces and file system as Bubblewrap's command line."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from entropy_rl.rewards.sandbox.namespaces import INNER_UID, SYSTEM_FOLDERS, is_in_system_folder

SOURCES_INSIDE = "/launcher"
"""Where the sandbox's own modules are seen by the launcher, which runs inside."""
_SOURCES = Path(__file__).resolve().parent


def bubblewrap_command(request: dict, files: Mapping[str, int]) -> list[str]:
    """What to put before the launcher's command; `files` are descriptors to read their contents from.

    Raises FileNotFoundError where Bubblewrap is not installed.
    """
    program = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        raise FileNotFoundError("bwrap is not installed")
    command = [program, "--die-with-parent", "--as-pid-1", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if os.geteuid() == 0:
        command += ["--cap-add", "ALL"]  # the launcher stays root until it starts the program
    else:
        command += ["--unshare-user", "--uid", str(INNER_UID), "--gid", str(INNER_UID)]
    for folder in SYSTEM_FOLDERS:
        if os.path.islink(folder):
            command += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            command += ["--ro-bind", folder, folder]
    prefix = request["interpreter_prefix"]
    if not is_in_system_folder(prefix):
        for parent in reversed(list(Path(prefix).parents)[:-1]):
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", prefix, prefix]
    command += ["--ro-bind", str(_SOURCES), f"{SOURCES_INSIDE}/entropy_rl/rewards/sandbox"]
    disk_bytes = request["limits"]["disk_mib"] * 2**20
    command += ["--perms", "0700", "--size", str(disk_bytes), "--tmpfs", "/tmp"]
    command += ["--dev", "/dev", "--proc", "/proc"]
    for name, descriptor in files.items():
        command += ["--perms", "0444", "--ro-bind-data", str(descriptor), f"/{name}"]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"]
