"""Sandboxes as root and as an ordinary user, each made in a process that an outer guard ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rewards.sandboxes import skip_or_fail

ROOT = Path(__file__).resolve().parents[3]
RUN_ONE = Path(__file__).with_name("run_one.py")
NOBODY = 65534
GUARD_SECONDS = 60
SYSTEM_PYTHON = "/usr/bin/python3"
VARIANTS = [
    pytest.param((user, mechanism), id=f"{user}, {mechanism}", marks=marks)
    for user, mechanism, marks in (
        ("present user", "namespaces", ()),
        ("ordinary user", "namespaces", pytest.mark.slow),
        ("present user", "bubblewrap", pytest.mark.slow),
        ("ordinary user", "bubblewrap", pytest.mark.slow),
    )
]


@dataclass(frozen=True, kw_only=True)
class SandboxUser:
    """Who makes sandboxes, and in which way."""

    mechanism: str | None
    python: str
    package_parent: Path
    uid: int | None
    """User to become first; None to stay."""

    def start(self, source: str, *arguments: str, stdin: str = "", **limits) -> subprocess.Popen:
        """Starts a process that runs the program in a sandbox, in a session of its own."""
        as_user = {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}
        process = subprocess.Popen(
            [self.python, str(self.package_parent / RUN_ONE.name), *arguments],
            env={"PYTHONPATH": str(self.package_parent), "SECRET": "of the environment"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
            cwd="/",
            **as_user,
        )
        request = {"source": source, "stdin": stdin, "limits": limits, "mechanism": self.mechanism}
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return process

    def run(self, source: str, *arguments: str, stdin: str = "", **limits) -> dict:
        """The outcome of a program. Fails the test where the guard has to end it."""
        process = self.start(source, *arguments, stdin=stdin, **limits)
        try:
            output, errors = process.communicate(timeout=GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"the sandbox did not end within {GUARD_SECONDS} seconds")
        assert process.returncode == 0, errors
        return json.loads(output)


@pytest.fixture(scope="session")
def readable_package(tmp_path_factory) -> Iterator[Path]:
    """A copy of the sandbox that every user may read."""
    folder = Path("/tmp") / f"sandbox-tests-{uuid.uuid4().hex}"
    sandbox = Path("entropy_rl/rewards/sandbox")
    shutil.copytree(ROOT / sandbox, folder / sandbox, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(RUN_ONE, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield folder
    shutil.rmtree(folder)


def user_named(name: str, mechanism: str | None, package: Path) -> SandboxUser:
    if name == "present user":
        return SandboxUser(mechanism=mechanism, python=sys.executable, package_parent=package, uid=None)
    if os.geteuid() != 0:
        pytest.skip("the present user is an ordinary one")
    if not os.path.exists(SYSTEM_PYTHON) or _version(SYSTEM_PYTHON) < [3, 11]:
        pytest.skip(f"an ordinary user needs {SYSTEM_PYTHON} of Python 3.11 or later")
    return SandboxUser(mechanism=mechanism, python=SYSTEM_PYTHON, package_parent=package, uid=NOBODY)


def _version(python: str) -> list[int]:
    printed = subprocess.check_output([python, "-c", "import sys; print(*sys.version_info[:2])"])
    return [int(part) for part in printed.split()]


@pytest.fixture(params=["present user", "ordinary user"])
def any_user(request, readable_package) -> SandboxUser:
    """Somebody who leaves the choice of the mechanism to the machine."""
    return user_named(request.param, None, readable_package)


@pytest.fixture(params=VARIANTS, scope="session")
def sandbox_user(request, readable_package) -> SandboxUser:
    """Somebody who can make sandboxes in one of the ways; skips where the machine allows none."""
    user = user_named(*request.param, readable_package)
    if refusal := user.run("pass").get("refused"):
        skip_or_fail(refusal, user.mechanism, user.uid)
    return user
