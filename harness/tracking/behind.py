"""Writing to trackers behind a run: a process of its own, so that no stage waits for a tracker or fails with it.

Nothing of a tracker's library is imported in the process that asks: what it prints, how long it takes, where it hangs
and how it dies is the writer's alone, and comes to one warning.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.store.store import Store
from harness.tracking.trackers import default_folder
from harness.wording import command, counted, harmless

# -P: a folder named methods/ in the user's directory must not shadow ours.
WRITER_COMMAND = (sys.executable, "-P", "-m", "harness.tracking.main")
PATIENCE_SECONDS = 120.0  # without a word from the writer, once the run is over
SILENT_SECONDS = 3.0  # of waiting, before it is said what for
LEAVING_SECONDS = 10.0  # for a writer that has said all
HEARD_SECONDS = 0.05


@dataclass
class Told:
    """What the writer said of one tracker. found: stages that it had before. reason: why nothing more comes."""

    place: str = ""
    view: str = ""
    written: int = 0
    found: int = 0
    reason: str | None = None
    is_closed: bool = False


@dataclass
class Behind:
    """The process that writes a study to trackers, and what it said so far, by tracker."""

    store: Store
    study: str
    names: Sequence[str]
    folder: Path
    trackers: dict[str, Told] = field(default_factory=dict)
    patience: float = PATIENCE_SECONDS
    _heard: float = 0.0
    _process: subprocess.Popen[str] = field(init=False)
    _listener: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.trackers = {name: Told() for name in self.names}

    def start(self) -> None:
        """Raises OSError where no process can be started."""
        self._process = subprocess.Popen(
            WRITER_COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the run alone
        )
        order = {
            "store": str(self.store.root.absolute()),
            "study": self.study,
            "folder": str(self.folder.absolute()),
            "trackers": list(self.names),
        }
        assert self._process.stdin is not None
        with suppress(OSError):  # it died at once; `finish` says so
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        self._listener = threading.Thread(target=self._listen, name="trackers", daemon=True)
        self._listener.start()

    def finish(self) -> None:
        """Let it write what is finished now, and wait for that; warn of each tracker that did not come so far."""
        self._heard = time.monotonic()
        reason = f"its process ended early, see {self.folder / f'{self.study}.log'}"
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._wait()
        except KeyboardInterrupt:
            reason = "interrupted"
        else:
            if self._listener.is_alive():
                reason = f"not a word for {self.patience:g} s"
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0 if self._listener.is_alive() else LEAVING_SECONDS)
        self.stop()
        for name, told in self.trackers.items():
            if not told.is_closed and told.reason is None:
                self._failed(name, reason)

    def _wait(self) -> None:
        begun, is_said = time.monotonic(), False
        while self._listener.is_alive() and time.monotonic() - self._heard < self.patience:
            self._listener.join(HEARD_SECONDS)
            if not is_said and time.monotonic() - begun > SILENT_SECONDS:
                is_said = True
                _say(f"writing to {', '.join(self.names)}; Ctrl-C leaves the rest to {self.command(*self.names)}")

    def stop(self) -> None:
        """End the process at once, with those that a tracker's library started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._listener.join()

    def command(self, *names: str) -> str:
        """The command that writes what is missing."""
        out = () if self.folder == default_folder(self.store) else ("--out", str(self.folder))
        return command("track", "--to", ",".join(names), *out, store=self.store.root, study=self.study)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard = time.monotonic()
            with suppress(ValueError, KeyError):  # cut off where it was killed
                self._hear(json.loads(line))

    def _hear(self, event: dict[str, Any]) -> None:
        told = self.trackers[event["tracker"]]
        match event["event"]:
            case "opened":
                told.place, told.view = event["place"], event["view"]
            case "written":
                told.written += 1
            case "closed":
                told.is_closed, told.found = True, event["found"]
            case "failed":
                self._failed(event["tracker"], event["reason"])

    def _failed(self, name: str, reason: str) -> None:
        """The one warning of a tracker."""
        self.trackers[name].reason = reason
        later = f"What is missing there: {self.command(name)}"
        _say(f"warning: tracker {name}: {reason.rstrip('.')}. Nothing else depends on it. {later}")


def _say(line: str) -> None:
    with suppress(OSError):  # the reader went away: the run goes on
        print(harmless(line), file=sys.stderr, flush=True)


@contextmanager
def tracked(store: Store, study: str, names: Sequence[str], folder: Path | None = None) -> Iterator[Behind | None]:
    """While the block runs, and a last time after it, finished stages of the study are written to these trackers.

    folder: of the trackers; None: `default_folder`. Where the block raises, writing ends with it: the same command, and
    `harness track`, go on.
    """
    if not names:
        yield None
        return
    behind = Behind(store, study, names, folder or default_folder(store))
    behind.start()
    try:
        yield behind
    except BaseException:
        behind.stop()
        raise
    behind.finish()


def in_words(name: str, told: Told) -> str:
    """What became of a tracker, for people."""
    if told.reason is not None:
        return f"{name}: {counted(told.written, 'stage')} written before it failed"
    return f"{name}: {counted(told.written, 'stage')} written, {told.found} there before: {told.place}"
