"""Namespaces of a sandbox, and the file system a program sees in it. Runs in the launcher's processes.

These import little, for every program waits for it: pathlib alone would cost as much as the namespaces.
"""

import os

from entropy_rl.rewards.sandbox import linux

_NAMESPACES = (
    linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWNET
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWCGROUP
)
SYSTEM_FOLDERS = ("/usr", "/bin", "/lib", "/lib32", "/lib64")
_NOT_SPECIAL = linux.MS_NOSUID | linux.MS_NODEV
_DEVICES = ("null", "zero", "full", "random", "urandom")
_BASE = "/proc"  # a folder that every system has, and that nothing is read from once it is covered
_FIRST_UID = 2_000_000_000  # beyond the users, and the users of containers, that systems give out
_NOBODY = 65534
INNER_UID = 1000


def unprivileged_uid() -> int:
    """A user nobody else is, so that the limit on processes counts this sandbox alone."""
    uid = _FIRST_UID + int.from_bytes(os.urandom(3))
    with open("/proc/self/uid_map") as lines:
        ranges = [map(int, line.split()) for line in lines]
    return uid if any(first <= uid < first + count for first, _, count in ranges) else _NOBODY


def enter(uid: int | None) -> int | None:
    """Moves this process into new namespaces; returns the user that the program must still become.

    `uid` is the unprivileged user, given when this process is root's. Root makes namespaces directly; who
    may not, root without that power included, makes them in a user namespace, where the program's user is
    the only one.
    """
    if uid is not None:
        try:
            linux.unshare(_NAMESPACES)
            return uid
        except PermissionError:
            become(uid)
            linux.set_dumpable(True)  # else the maps below stay root's
    outer_uid, outer_gid = os.getuid(), os.getgid()
    linux.unshare(_NAMESPACES | linux.CLONE_NEWUSER)
    write_file("/proc/self/setgroups", "deny")
    write_file("/proc/self/uid_map", f"{INNER_UID} {outer_uid} 1")
    write_file("/proc/self/gid_map", f"{INNER_UID} {outer_gid} 1")
    return None


def become(uid: int) -> None:
    """Gives up root for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def build_root(uid: int | None, interpreter_prefix: str, files: dict[str, str], disk_mib: int) -> None:
    """Replaces all of the file system by what a program needs; nothing but /tmp can be written to."""
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", _BASE, "tmpfs", _NOT_SPECIAL, "size=256m,mode=0755")
    os.chdir(_BASE)
    for folder in SYSTEM_FOLDERS:
        if os.path.islink(folder):
            os.symlink(os.readlink(folder), f"{_BASE}{folder}")
        elif os.path.isdir(folder):
            _bind(folder)
    if not is_in_system_folder(interpreter_prefix):
        _bind(interpreter_prefix)
    os.mkdir(f"{_BASE}/dev")
    for name in _DEVICES:
        write_file(f"{_BASE}/dev/{name}", "")
        linux.mount(f"/dev/{name}", f"{_BASE}/dev/{name}", None, linux.MS_BIND)
    os.mkdir(f"{_BASE}/tmp")
    _mount_temporary(f"{_BASE}/tmp", uid, disk_mib)
    os.mkdir(f"{_BASE}/proc")
    linux.mount("proc", f"{_BASE}/proc", "proc", _NOT_SPECIAL | linux.MS_NOEXEC)
    for name, text in files.items():
        write_file(f"{_BASE}/{name}", text)
    linux.pivot_root_here()
    linux.mount("none", "/", None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | _NOT_SPECIAL)


def renew_temporary(uid: int | None, disk_mib: int) -> None:
    """Replaces the temporary directory, which no process uses any longer, by an empty one."""
    linux.unmount("/tmp")
    _mount_temporary("/tmp", uid, disk_mib)


def _mount_temporary(path: str, uid: int | None, disk_mib: int) -> None:
    linux.mount("tmpfs", path, "tmpfs", _NOT_SPECIAL, f"size={disk_mib}m,nr_inodes=4096,mode=0700")
    os.chown(path, *((os.getuid(), os.getgid()) if uid is None else (uid, uid)))


def is_in_system_folder(path: str) -> bool:
    """Whether a sandbox has the path already, for it is one of the system's folders or lies in one."""
    return any(f"{path}/".startswith(f"{folder}/") for folder in SYSTEM_FOLDERS)


def _bind(folder: str) -> None:
    os.makedirs(f"{_BASE}{folder}")
    linux.mount(folder, f"{_BASE}{folder}", None, linux.MS_BIND | linux.MS_REC)
    linux.make_read_only(f"{_BASE}{folder}")


def write_file(path: str, text: str) -> None:
    """Writes a text, whatever characters a model put into it."""
    with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)
