"""A headless Chromium, driven by the DevTools protocol over two pipes: no port, no driver, no library."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "HARNESS_REQUIRE_CHROMIUM"  # in CI: a missing browser is a failure, not a reason to skip
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_S = 60.0


def executable() -> str:
    """The browser's path. Skips the test where there is none, and fails it where there must be one."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get(REQUIRED) == "1":
        pytest.fail(f"no {' or '.join(NAMES)} on PATH, and {REQUIRED}=1 asks for one: apt-get install chromium")
    if found is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    return found


class Browser:
    """One process of Chromium. Messages are JSON, each ended by a zero byte."""

    def __init__(self, folder: Path) -> None:
        command = [
            executable(),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe"),
            f"--user-data-dir={folder}",
            "about:blank",
        ]
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def pipes_as_3_and_4() -> None:
            inputs, outputs = os.dup(to_browser), os.dup(from_browser)
            os.dup2(inputs, 3)
            os.dup2(outputs, 4)

        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=pipes_as_3_and_4,
            pass_fds=(3, 4),
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._numbers = itertools.count(1)
        self._received = b""
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # a session of its own: with all that it started
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of a command; events that come before it are kept in `events`."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._next(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"Chromium did not answer within {PATIENCE_S:.0f} s"
            received = os.read(self._read, 1 << 20)
            assert received, "Chromium ended"
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Page:
    """A page in the browser, and what it asked of the network and said on the console while it was open."""

    def __init__(self, browser: Browser, width: int = 1280, height: int = 900, *, features: dict[str, str]) -> None:
        self._browser = browser
        self._target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.ask("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session: str = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.resize(width, height)
        media = [{"name": name, "value": value} for name, value in features.items()]
        self.ask("Emulation.setEmulatedMedia", features=media)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, path: Path) -> None:
        """Returns when the page has run its script."""
        self.ask("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + PATIENCE_S
        ready = "document.readyState === 'complete' && location.href !== 'about:blank'"
        while not self.run(ready):
            assert time.monotonic() < deadline, f"{path} did not load"
            time.sleep(0.005)

    def run(self, script: str) -> Any:
        """The value of an expression, as JSON has it. Raises AssertionError with what the script threw."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key of the keyboard, on what has the focus. key: as in `KeyboardEvent.key`."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        codes = {"Enter": 13, " ": 32, "Tab": 9, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37}
        known = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": codes[key]}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.ask("Input.dispatchKeyEvent", **known, **down)
        self.ask("Input.dispatchKeyEvent", **known, type="keyUp")

    @property
    def requests(self) -> list[str]:
        """The addresses of all that was asked for, the page itself among them."""
        return [event["params"]["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """Errors that nobody caught, and what the console or the browser itself said."""
        thrown = [event["params"]["exceptionDetails"]["text"] for event in self._events("Runtime.exceptionThrown")]
        said = [str(event["params"]["args"]) for event in self._events("Runtime.consoleAPICalled")]
        logged = [event["params"]["entry"]["text"] for event in self._events("Log.entryAdded")]
        return [*thrown, *said, *logged]

    @property
    def dialogs(self) -> int:
        """How many windows such as alert's were opened."""
        return len(self._events("Page.javascriptDialogOpening"))

    def _events(self, method: str) -> list[dict[str, Any]]:
        self.ask("Runtime.evaluate", expression="0")  # what came before it is here now
        every = self._browser.events
        return [event for event in every if event.get("sessionId") == self._session and event.get("method") == method]

    def close(self) -> None:
        self._browser.ask("Target.closeTarget", targetId=self._target)


@contextlib.contextmanager
def opened(browser: Browser, path: Path, width: int = 1280, height: int = 900, **features: str) -> Iterator[Page]:
    """The file in a page of its own. features: media features with underscores, such as prefers_color_scheme."""
    page = Page(browser, width, height, features={name.replace("_", "-"): value for name, value in features.items()})
    page.open(path)
    yield page
    page.close()
