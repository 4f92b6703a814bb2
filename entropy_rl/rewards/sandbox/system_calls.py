"""The filter of system calls: what a program has no need of and could harm with.

Namespaces and limits are the sandbox; this shuts the side doors that they leave: memory that is counted to no
process (shared segments and mappings, which keep pages that nobody has; huge pages; anonymous files; pages
given to pipes), sockets of families that network namespaces do not
contain (vsock reaches the host of a virtual machine), namespaces of the program's own, other processes'
memory, and large parts of the kernel that no honest solution touches.
"""

import errno
import os
import struct

from entropy_rl.rewards.sandbox.linux import CLONE_NEWUSER

_NUMBERS = {
    "x86_64": {
        "arch": 0xC000003E,
        "clone": 56,
        "mmap": 9,
        "denied": {
            "shmget": 29, "socket": 41, "semget": 64, "msgget": 68, "ptrace": 101, "add_key": 248,
            "request_key": 249, "keyctl": 250, "unshare": 272, "vmsplice": 278, "perf_event_open": 298,
            "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "memfd_create": 319,
            "bpf": 321, "userfaultfd": 323,
        },
    },
    "aarch64": {
        "arch": 0xC00000B7,
        "clone": 220,
        "mmap": 222,
        "denied": {
            "shmget": 194, "socket": 198, "semget": 190, "msgget": 186, "ptrace": 117, "add_key": 217,
            "request_key": 218, "keyctl": 219, "unshare": 97, "vmsplice": 75, "perf_event_open": 241,
            "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "memfd_create": 279,
            "bpf": 280, "userfaultfd": 282,
        },
    },
}  # fmt: skip
_DENIED_EVERYWHERE = {"io_uring_setup": 425, "memfd_secret": 447}
_CLONE3 = 435
_X32_BIT = 0x40000000
_MAP_SHARED, _MAP_HUGETLB = 0x1, 0x40000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16
_ALLOW, _KILL = 0x7FFF0000, 0x80000000


def filter_instructions(machine: str = os.uname().machine) -> bytes:
    """The filter as the kernel reads it. Raises ValueError for a processor whose calls are not known here."""
    if machine not in _NUMBERS:
        raise ValueError(
            f"the filter of system calls is known for {sorted(_NUMBERS)}; got {machine!r}; judge code there"
        )
    table = _NUMBERS[machine]
    denied = [*table["denied"].values(), *_DENIED_EVERYWHERE.values()]
    program = [_instruction(_LOAD, _OFFSET_ARCH), *_unless(_JUMP_EQUAL, table["arch"], _KILL)]
    program += [_instruction(_LOAD, _OFFSET_NUMBER)]
    program += _where(_JUMP_AT_LEAST, _X32_BIT, _KILL) if machine == "x86_64" else []
    for number in denied:
        program += _where(_JUMP_EQUAL, number, _error(errno.EPERM))
    # clone3's flags lie in memory, where a filter cannot look; without it libraries fall back on clone.
    program += _where(_JUMP_EQUAL, _CLONE3, _error(errno.ENOSYS))
    program += _without_flags(table["clone"], 0, CLONE_NEWUSER)
    # All shared mappings: one of /dev/zero is as anonymous as one of no file, and a filter sees no names.
    program += _without_flags(table["mmap"], 3, _MAP_SHARED | _MAP_HUGETLB)
    return b"".join([*program, _instruction(_RETURN, _ALLOW)])


def _where(jump: int, value: int, verdict: int) -> list[bytes]:
    return [_instruction(jump, value, if_true=0, if_false=1), _instruction(_RETURN, verdict)]


def _unless(jump: int, value: int, verdict: int) -> list[bytes]:
    return [_instruction(jump, value, if_true=1, if_false=0), _instruction(_RETURN, verdict)]


def _without_flags(number: int, argument: int, flags: int) -> list[bytes]:
    """Decides on one call: denied with any of the flags in its argument, else allowed."""
    decision = [_instruction(_LOAD, _OFFSET_ARGUMENTS + 8 * argument)]  # its lower half
    decision += [*_where(_JUMP_BITS, flags, _error(errno.EPERM)), _instruction(_RETURN, _ALLOW)]
    return [_instruction(_JUMP_EQUAL, number, if_true=0, if_false=len(decision)), *decision]


def _error(number: int) -> int:
    return 0x00050000 | number


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
