"""The ways in which a system lets an ordinary process make a sandbox.

Namespaces of the launcher's own come first: they need no program installed. Bubblewrap may be allowed what
others are not: it is set-uid root on some systems, and named in the security profile of others.
"""

import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from entropy_rl.rewards.sandbox.bubblewrap import SOURCES_INSIDE, bubblewrap_command

INTERPRETER = os.path.realpath(sys.executable)
"""What programs run with: this interpreter, without the packages of a virtual environment."""
_LAUNCHER = ("-P", "-S", "-s", "-m", "entropy_rl.rewards.sandbox.launcher")
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[3])


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """One way, by name: "namespaces", "bubblewrap" or "limits"; the last is no sandbox."""

    name: str

    @property
    def is_weak(self) -> bool:
        """It bounds what a program uses, and does not contain it."""
        return self.name == "limits"

    @property
    def is_reusable(self) -> bool:
        """Its sandboxes can be cleared of all that a run left; the next process id alone tells of it."""
        return self.name == "namespaces"

    def start(self, request: dict, *, status: int, stdout: int | None) -> subprocess.Popen:
        """Starts the launcher, in a process group and session of its own and an empty environment.

        Raises OSError where the mechanism needs a program that is not installed.
        """
        inherited = [d for d in (status, request["stdin_descriptor"]) if d is not None]
        command = [INTERPRETER, *_LAUNCHER, str(status)]
        search_path = _PACKAGE_PARENT
        with ExitStack() as open_files:
            if self.name == "bubblewrap":
                files = {name: _as_file(text, open_files) for name, text in request["files"].items()}
                command, search_path = [*bubblewrap_command(request, files), *command], SOURCES_INSIDE
                inherited += files.values()
            return subprocess.Popen(
                command,
                env={"PYTHONPATH": search_path},
                pass_fds=inherited,
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=subprocess.PIPE,
                cwd="/",
            )


MECHANISMS = (Mechanism(name="namespaces"), Mechanism(name="bubblewrap"))
WEAK_MECHANISM = Mechanism(name="limits")


def _as_file(text: str, open_files: ExitStack) -> int:
    """The descriptor of a nameless file that holds the text and is read from its beginning."""
    file = open_files.enter_context(TemporaryFile())
    file.write(text.encode(errors="surrogatepass"))
    file.seek(0)
    return file.fileno()
