"""Two processes ask a suite together, as its command is typed, and leave the records of one."""

import subprocess
import sys

import pytest

from tests.evaluation.suites import make_suite, save_tiny
from tests.evaluation.test_suite_evaluation import SUITE_FILE, ask, records_of
from tests.processes.starting import DEADLINE_SECONDS, ROOT, environment, free_port

pytestmark = pytest.mark.slow


def test_two_processes_leave_the_records_of_one(tmp_path):
    suite, policy = make_suite(tmp_path / "data"), save_tiny(tmp_path / "tiny")
    ask(suite, policy, tmp_path / "one")
    (tmp_path / "suite.py").write_text(SUITE_FILE.format(folder=str(tmp_path / "data")))
    flags = ["--policy", policy, "--suite", tmp_path / "suite.py", "--mesh.data", 2, "--sequences-at-once", 6]
    flags += ["--output", tmp_path / "two", "--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", 2]
    command = [sys.executable, "-m", "entropy_rl", "evaluate", *map(str, flags)]
    processes = [
        subprocess.Popen(
            [*command, "--process-id", str(number)],
            cwd=ROOT,
            env=environment(1),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=DEADLINE_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "| Sampled |" in outputs[0][0] and "Sampled" not in outputs[1][0]
    for name in ("sampled", "greedy"):
        assert records_of(tmp_path / "two", name) == records_of(tmp_path / "one", name)
