"""What an untrusted program may use."""

from dataclasses import dataclass, fields

_LEAST = {"wall_seconds": 0.01, "memory_mib": 64, "num_processes": 4, "num_open_files": 8}
"""What Python and the sandbox's own processes need; 1 of everything else."""


@dataclass(frozen=True, kw_only=True)
class SandboxLimits:
    """Bounds on one run of one program. A bound that the caller's process has already can only be lowered."""

    cpu_seconds: int = 5
    """Processor time of each process, threads together; the kernel counts whole seconds."""
    wall_seconds: float = 10.0
    """Time from start to end; it also bounds the processor time of all processes together."""
    memory_mib: int = 512
    """Address space of each process, and resident memory of all together (looked at every 20 ms)."""
    num_processes: int = 16
    """Processes and threads alive at one time."""
    num_open_files: int = 64
    """Files that each process may hold open."""
    file_mib: int = 16
    """Largest file, in MiB."""
    disk_mib: int = 32
    """All files together, its standard input among them, in MiB: the size of the temporary directory, which
    lies in memory."""
    output_kib: int = 1024
    """Standard output and error together, in KiB; a program that writes more is killed."""
    accept_weaker: bool = False
    """Where the system has no namespaces, run under the limits of single processes alone. The program can
    then read every file that its user can, fill the disk, and signal its user's processes; root also needs
    an interpreter that other users can reach. Never for text that somebody hostile may have written."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            least = _LEAST.get(field.name, 1)
            kind = "a whole number" if field.type is int else "a number"
            if field.type is not bool and not (isinstance(value, int | field.type) and value >= least):
                raise ValueError(
                    f"{field.name} must be {kind} of at least {least}; got {value}; raise it, or leave it "
                    "out for the default"
                )
