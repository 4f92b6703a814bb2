"""A headless Chromium that a test drives through two pipes: pages, scripts, what they say, pictures."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

QUIET = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-quic --disable-extensions --hide-scrollbars "
    "--disable-dev-shm-usage --remote-debugging-pipe"
).split()
# Chromium reads commands from descriptor 3 and answers on 4, whatever numbers the pipes have here.
HAND_OVER = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
HAND_OVER += "os.execv(sys.argv[3], sys.argv[3:])"


def chromium_path() -> str | None:
    """Where Chromium or Chrome is, by $CHROMIUM or by its usual names; None where there is none."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


class Browser:
    """One page of one Chromium; a context manager. `errors` and `requests` tell what pages did."""

    def __init__(self, path: str, profile: Path):
        (theirs_in, ours_out), (ours_in, theirs_out) = (self._high(os.pipe()) for _ in range(2))
        pipes, command = (theirs_in, theirs_out), [path, *QUIET, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", HAND_OVER, *map(str, pipes), *command],
            pass_fds=pipes,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that it ends with all its processes
        )
        for pipe in pipes:
            os.close(pipe)
        self._input, self._output = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb", 0)
        self._buffer, self._messages, self._number = b"", deque(), 0
        self.errors: list[str] = []
        """Exceptions, console errors and refusals by the Content-Security-Policy, since the last `open`."""
        self.requests: list[str] = []
        """Addresses that the page asked for, since the last `open`."""
        self._events: set[str] = set()
        self._session = None
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")

    @staticmethod
    def _high(pipe: tuple[int, int]) -> list[int]:
        """The same pipe under descriptors that 3 and 4 cannot collide with."""
        import fcntl

        moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 64) for end in pipe]
        for end in pipe:
            os.close(end)
        return moved

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._input, self._output):
            pipe.close()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it ended as its pipe did
            pass
        self._process.wait()

    def open(self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Loads a page and waits until its scripts have run."""
        self.errors, self.requests = [], []
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._send("Emulation.setEmulatedMedia", features=scheme)
        size = dict(width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._send("Emulation.setDeviceMetricsOverride", **size)
        self._send("Page.navigate", url="about:blank")
        self._wait_for("Page.loadEventFired")
        self.requests.clear()
        self._send("Page.navigate", url=address)
        self._wait_for("Page.loadEventFired")
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """The value of an expression of the page, a promise's when it is kept."""
        answer = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise ValueError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key goes down and up again, such as ArrowRight."""
        for kind in ("rawKeyDown", "keyUp"):
            self._send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def move_to(self, x: float, y: float) -> None:
        """The pointer goes to a place of the window."""
        self._send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """Writes what is seen, or the whole page, as PNG."""
        data = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    def _send(self, method: str, **params: Any) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._input.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _wait_for(self, event: str) -> None:
        while event not in self._events:
            self._receive()
        self._events.discard(event)

    def _receive(self) -> dict:
        while b"\0" not in self._buffer:
            piece = self._output.read(1 << 20)
            if not piece:
                raise RuntimeError("Chromium ended")
            self._buffer += piece
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(raw)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, params: dict) -> None:
        if event == "Page.loadEventFired":
            self._events.add(event)
        elif event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert", "warning"):
            self.errors.append(json.dumps(params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
