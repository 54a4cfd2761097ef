"""A real browser without a window and without a network, told what to do through a pipe.

It speaks the Chrome DevTools Protocol: JSON, each message ended by a zero byte.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = shutil.which("chromium") or shutil.which("chromium-browser")

_KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "End": 35, "Home": 36, "Enter": 13, "Escape": 27}
_SHIFT = 8

_LAUNCH = """
import os, sys
from fcntl import F_DUPFD, fcntl
commands, answers = (fcntl(int(fd), F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser reads commands from descriptor 3 and answers on descriptor 4."""


class Browser:
    """One tab.

    Attributes:
        complaints: what the pages had to complain of.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self.complaints: list[str] = []
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._ids = itertools.count(1)
        self._session: str | None = None
        target = self._tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self._tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._tell(f"{domain}.enable")

    def open(self, path: Path, *, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        """Opens a file, and waits until it is drawn."""
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", features=[scheme])
        self._tell("Page.navigate", url=path.as_uri())
        while self.ask("document.readyState") != "complete":
            pass
        self.settle()

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        answer = self._tell(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self) -> None:
        """Waits until what has changed is drawn."""
        self.ask("new Promise((on) => requestAnimationFrame(() => requestAnimationFrame(on)))")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Presses a key and lets it go."""
        text = {"text": key} if len(key) == 1 else {}
        common = {"key": key, "modifiers": _SHIFT * shift}
        code = _KEYS.get(key)
        if code is not None:
            common |= {"code": key, "windowsVirtualKeyCode": code}
        self._tell("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self._tell("Input.dispatchKeyEvent", type="keyUp", **common)
        self.settle()

    def click(self, selector: str) -> None:
        """Clicks in the middle of an element."""
        x, y = self.ask(
            f"(({{left, top, width, height}}) => [left + width / 2, top + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)
        self.settle()

    def mouse(self, what: str, x: float, y: float, **more: Any) -> None:
        """Does something with the mouse, at a place in the window."""
        if what != "mouseWheel":
            more = {"button": "left", "clickCount": 1, **more}
        self._tell("Input.dispatchMouseEvent", type=what, x=x, y=y, **more)

    def picture(self) -> bytes:
        """What is to be seen, as a PNG."""
        return base64.b64decode(self._tell("Page.captureScreenshot")["data"])

    def text(self, selector: str) -> str:
        """What an element says."""
        said = self.ask(f"document.querySelector({json.dumps(selector)}).innerText")
        assert isinstance(said, str)
        return said

    def _tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        command = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            data = os.read(self._answers, 1 << 16)
            assert data, "the browser has ended"
            self._unread += data
        one, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        what = message.get("method")
        if what in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(message["params"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser, as long as it is needed.

    Args:
        profile: a directory for whatever it writes.
    """
    assert PATH is not None
    commands_to, commands = os.pipe()
    answers, answers_from = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _LAUNCH, str(commands_to), str(answers_from), PATH),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
        ],
        pass_fds=(commands_to, answers_from),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_to)
    os.close(answers_from)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)
        process.terminate()
        process.wait()
        os.close(answers)
