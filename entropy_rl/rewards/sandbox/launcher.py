"""Started by `run` as: python -m entropy_rl.rewards.sandbox.launcher STATUS, to make a sandbox of itself.

The request comes as one line of JSON on standard input, which then stays open for as long as the sandbox
may live; standard output and error are the program's. How it ended goes as JSON to the descriptor STATUS.
"""

import json
import os
import signal
import sys

from entropy_rl.rewards.sandbox import linux
from entropy_rl.rewards.sandbox.namespaces import build_root, enter, unprivileged_uid, write_file
from entropy_rl.rewards.sandbox.supervisor import LIFELINE, supervise


def main() -> None:
    status = int(sys.argv[1])
    linux.die_with_parent()
    # Process 1 hears from inside only those signals that it handles, and Python handles this one.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with os.fdopen(LIFELINE, "rb", closefd=False) as lines:
            request = json.loads(lines.readline())
        _launch(request, status)
    except Exception as error:  # nobody else can tell the judging process, which would see silence
        _tell(status, {"error": f"{type(error).__name__}: {error}"})
    os._exit(0)  # nothing to flush: the output is the program's


def _launch(request: dict, status: int) -> None:
    uid = unprivileged_uid() if os.geteuid() == 0 else None
    if request["mechanism"] != "namespaces":
        is_init = request["mechanism"] == "bubblewrap"
        if not is_init:
            _write_files(request)
        if uid is not None:
            os.chown(request["folder"], uid, uid)
        _tell(status, supervise(request, uid, is_init))
        return
    uid = enter(uid)
    linux.die_with_parent()  # once more: a change of user undid it
    if os.fork() == 0:
        _be_init(request, uid, status)
    os.wait()


def _be_init(request: dict, uid: int | None, status: int) -> None:
    """Process 1 of the sandbox. Never returns."""
    try:
        linux.die_with_parent()
        limits = request["limits"]
        build_root(uid, request["interpreter_prefix"], request["files"], limits["disk_mib"])
        _tell(status, supervise(request, uid, is_init=True))
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
