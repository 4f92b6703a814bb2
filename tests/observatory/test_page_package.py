"""The files of the page that are not Python go with a built package."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "entropy_rl/observatory/page"


def test_a_built_package_holds_the_page(tmp_path):
    pytest.importorskip("setuptools")
    built = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "egg_info", "--egg-base"]
    built += [str(tmp_path), "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True)
    folder = tmp_path / "lib" / FOLDER.relative_to(ROOT)
    assert {path.name for path in folder.iterdir()} == {
        path.name for path in FOLDER.iterdir() if path.name != "__pycache__"
    }
