"""The calls of Linux that Python's library lacks. Failures raise OSError and name the call."""

import ctypes
import os

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_SYS_MOUNT_SETATTR = 442  # one number on all architectures, as for all newer calls
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments) -> None:
    _check(name, getattr(_libc, name)(*arguments))


def _system_call(name: str, number: int, *arguments) -> None:
    _check(name, _libc.syscall(ctypes.c_long(number), *arguments))


def _check(name: str, result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def unshare(flags: int) -> None:
    """Moves this process into new namespaces; its children, for the one of process ids."""
    _call("unshare", ctypes.c_int(flags))


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mounts, binds or remounts, as `flags` say."""
    encoded = [text and os.fsencode(text) for text in (source, target, kind, options)]
    try:
        _call("mount", *encoded[:3], ctypes.c_ulong(flags), encoded[3])
    except OSError as error:
        error.strerror = f"{error.strerror} ({source} at {target})"
        raise


def make_read_only(target: str) -> None:
    """Makes a mount, and all below it, read-only and without devices and set-uid programs."""
    set_clear = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, 0, 0, 0)
    _system_call(
        "mount_setattr",
        _SYS_MOUNT_SETATTR,
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(set_clear),
        ctypes.c_size_t(ctypes.sizeof(set_clear)),
    )


def unmount(target: str) -> None:
    """Takes a mount out of sight at once; it goes with its last user."""
    _call("umount2", os.fsencode(target), ctypes.c_int(_MNT_DETACH))


def pivot_root_here() -> None:
    """Makes the working directory, a mount, the root, and lets the old root go."""
    # Both names are the working directory: the old root lands on top of the new one, and is taken off.
    _system_call("pivot_root", _SYS_PIVOT_ROOT[os.uname().machine], b".", b".")
    unmount(".")
    os.chdir("/")


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends. A change of user undoes it."""
    _prctl(_PR_SET_PDEATHSIG, 9)


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same user may look into this one, and its own files in /proc are its own."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose parents end."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """No program started from here on gains anything by set-uid bits or file capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def install_filter(instructions: bytes) -> None:
    """Puts every later system call of this process and its children through a filter."""
    buffer = ctypes.create_string_buffer(instructions, len(instructions))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    program = Program(len(instructions) // 8, ctypes.addressof(buffer))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.byref(program))


def _prctl(option: int, *values) -> None:
    padded = [v if hasattr(v, "_obj") else ctypes.c_ulong(v) for v in (*values, 0, 0, 0, 0)[:4]]
    _call("prctl", ctypes.c_int(option), *padded)
