"""Starting workers as real processes, with output in files and an end whatever happens."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 600
"""The outer guard; on a machine with nothing else to do a test takes a tenth of it."""


@dataclass(frozen=True)
class Worker:
    """A started process and the file of its output, errors included."""

    process: subprocess.Popen
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Its exit code."""
        return self.process.wait(timeout=seconds)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(num_devices: int) -> dict[str, str]:
    """The tests' own, with another number of CPU devices."""
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ["XLA_FLAGS"])
    flags += f" --xla_force_host_platform_device_count={num_devices}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}


@contextmanager
def started(
    folder: Path,
    name: str,
    *arguments: str,
    num_processes: int = 1,
    num_devices: int = 1,
    module: str = "tests.processes.worker",
) -> Iterator[list[Worker]]:
    """The processes of one job; none survives the body."""
    command = [sys.executable, "-m", module, str(folder), name, *arguments]
    flags = ["--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", str(num_processes)]
    workers = []
    try:
        for i in range(num_processes):
            output = folder / f"{name}-{len(list(folder.glob('*.log')))}.log"
            mine = [*command, *flags, "--process-id", str(i)] if num_processes > 1 else command
            with output.open("w") as file:
                process = subprocess.Popen(
                    mine, cwd=ROOT, env=environment(num_devices), stdout=file, stderr=subprocess.STDOUT
                )
            workers.append(Worker(process, output))
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def await_rows(metrics: Path, number: int, workers: list[Worker]) -> None:
    """Returns when the job has recorded so many steps. Fails when it ends before."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (metrics.is_file() and metrics.read_bytes().count(b"\n") >= number):
        assert all(worker.process.poll() is None for worker in workers), workers[0].text
        assert time.monotonic() < deadline, workers[0].text
        time.sleep(0.01)


def terminate(worker: Worker) -> None:
    worker.process.send_signal(signal.SIGTERM)
