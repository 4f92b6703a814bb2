"""Started by `run` as: python -m entropy_rl.rewards.sandbox.launcher STATUS, to make a sandbox of itself.

What sandbox it shall be comes as one line of JSON on standard input, and each run of its program as another;
the end of the input ends the sandbox. Standard output and error are the program's. How a run ended goes as a
line of JSON to the descriptor STATUS, once nothing of it is left; no run is asked for before that.
"""

import json
import os
import signal
import sys
from typing import BinaryIO

from entropy_rl.rewards.sandbox import linux
from entropy_rl.rewards.sandbox.namespaces import (
    build_root,
    enter,
    renew_temporary,
    unprivileged_uid,
    write_file,
)
from entropy_rl.rewards.sandbox.supervisor import LIFELINE, supervise


def main() -> None:
    status = int(sys.argv[1])
    linux.die_with_parent()
    # Process 1 hears from inside only those signals that it handles, and Python handles this one.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with os.fdopen(LIFELINE, "rb", closefd=False) as lines:
            _launch(json.loads(lines.readline()), lines, status)
    except Exception as error:  # nobody else can tell the judging process, which would see silence
        _tell(status, {"error": f"{type(error).__name__}: {error}"})
    os._exit(0)  # nothing to flush: the output is the program's


def _launch(request: dict, lines: BinaryIO, status: int) -> None:
    uid = unprivileged_uid() if os.geteuid() == 0 else None
    if request["mechanism"] != "namespaces":
        is_init = request["mechanism"] == "bubblewrap"
        if not is_init:
            _write_files(request)
        if uid is not None:
            os.chown(request["folder"], uid, uid)
        _tell(status, supervise(request | json.loads(lines.readline()), uid, is_init))
        return
    uid = enter(uid)
    linux.die_with_parent()  # once more: a change of user undid it
    if os.fork() == 0:
        _be_init(request, uid, lines, status)
    os.wait()


def _be_init(request: dict, uid: int | None, lines: BinaryIO, status: int) -> None:
    """Process 1 of the sandbox. Never returns."""
    try:
        linux.die_with_parent()
        disk_mib = request["limits"]["disk_mib"]
        build_root(uid, request["interpreter_prefix"], request["files"], disk_mib)
        for number, line in enumerate(lines):
            if number > 0:
                renew_temporary(uid, disk_mib)
            _tell(status, supervise(request | json.loads(line), uid, is_init=True))
            if request["stdin_descriptor"] is not None:
                break  # the one connected with it waits for the last holder of the pipe to end
    except Exception as error:  # as above
        _tell(status, {"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)


def _write_files(request: dict) -> None:
    """Without a file system of its own, the program finds its files in the temporary directory."""
    for name, text in request["files"].items():
        write_file(os.path.join(request["folder"], name), text)


def _tell(status: int, message: dict) -> None:
    os.write(status, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
