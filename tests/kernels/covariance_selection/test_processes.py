"""Two processes of four CPU devices each, with optimised code, choose what one process chooses without."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from .cases import SELECTORS, case, largest, uniform

ROOT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_processes_choose_the_same_tokens(tmp_path, key):
    command = [sys.executable, "-m", "tests.kernels.covariance_selection.process_worker", str(free_port())]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    workers = [
        subprocess.Popen([*command, str(process), str(tmp_path)], cwd=ROOT, env=environment)
        for process in range(2)
    ]
    try:
        assert [worker.wait(timeout=180) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    parts = [dict(np.load(tmp_path / f"{process}.npz")) for process in range(2)]
    for name in ("random", "ties"):
        for kind, expected in (
            ("largest", largest(SELECTORS["xla"], case(name), jnp.int32(23))),
            ("uniform", uniform(SELECTORS["xla"], case(name), jnp.int32(7), key)),
        ):
            held = parts[0] | parts[1]
            got = np.concatenate([held[f"{name}/{kind}/{row}"] for row in range(8)])
            np.testing.assert_array_equal(got, expected.selected_BT)
            assert all(part[f"{name}/{kind}/mean"] == expected.mean for part in parts)
