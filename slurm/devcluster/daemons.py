"""Processes that a cluster started, by recorded id and start time: none is ended that only has the same id."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.store.processes import process_start

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLL_S = 0.02
LOWEST_PORT = 15_000
_CHILDREN: list[subprocess.Popen[bytes]] = []  # of this process: looked at now and then, so that none stays a zombie


class ClusterFailed(HarnessError):
    """A dev cluster, or a part of it, did not do what it was asked for."""


@dataclass(frozen=True)
class Recorded:
    """A process, known by its id and its start: `started` as in `harness.store.processes.process_start`."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Recorded:
        return cls(pid, process_start(pid))

    @property
    def lives(self) -> bool:
        """False for a zombie and for another process that has the id now."""
        return self.started != "" and process_start(self.pid) == self.started

    def signal(self, number: int) -> None:
        """Send a signal; nothing where it lives no more."""
        if self.lives:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, *, patience_s: float = 10.0) -> None:
        """SIGTERM, and SIGKILL to what still lives after patience_s (0: SIGKILL at once). Returns when it is gone."""
        if patience_s:
            self.signal(signal.SIGTERM)
            wait_until(lambda: not self.lives, patience_s)
        self.signal(signal.SIGKILL)
        if not wait_until(lambda: not self.lives, 10.0):
            raise ClusterFailed(f"Process {self.pid} does not end on SIGKILL.")


@dataclass(frozen=True)
class Daemon:
    """One program that runs in the foreground. record: the file with its process; output: what it prints."""

    name: str
    record: Path
    output: Path

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> Recorded:
        """Start it in a session of its own, so that Ctrl-C in the terminal does not reach it, and record it."""
        reap()
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**system_environment(), **environment},
                cwd="/",
                start_new_session=True,
            )
        _CHILDREN.append(process)
        recorded = Recorded.of(process.pid)
        self.record.write_text(f"{recorded.pid} {recorded.started}\n")
        return recorded

    @property
    def process(self) -> Recorded | None:
        """What was started last, whether it lives or not; None: nothing yet."""
        try:
            pid, _, started = self.record.read_text().strip().partition(" ")
        except FileNotFoundError:
            return None
        return Recorded(int(pid), started) if pid else None

    @property
    def lives(self) -> bool:
        reap()
        return self.process is not None and self.process.lives

    def end(self, *, patience_s: float = 10.0) -> None:
        """End what was started, if it lives, and forget it."""
        if self.process is not None:
            self.process.end(patience_s=patience_s)
            self.record.unlink(missing_ok=True)

    def tail(self, lines: int = 15) -> str:
        """The end of what it printed."""
        try:
            return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""


def reap() -> None:
    """Take the exit codes of ended children of this process."""
    _CHILDREN[:] = [process for process in _CHILDREN if process.poll() is None]


def wait_until(condition: Callable[[], bool], patience_s: float, poll_s: float = POLL_S) -> bool:
    """Ask until it is so. False: it was not within patience_s."""
    end = time.monotonic() + patience_s
    while True:
        reap()
        if condition():
            return True
        if time.monotonic() > end:
            return False
        time.sleep(poll_s)


def system_environment() -> dict[str, str]:
    """What a daemon starts with: little, so that nothing of a caller's shell or virtual environment is in it."""
    return {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "HOME": "/root"}


def output_of(
    command: Sequence[str], environment: Mapping[str, str], *, user: str | None = None, stdin: str | None = None
) -> str:
    """Run a command to its end, as root or as another user, and return what it printed.

    In the folder /, with this process's environment and `environment`. Raises ClusterFailed with what it said.
    """
    ran = subprocess.run(
        command,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}", **environment},
        cwd="/",
        user=user,
        extra_groups=None if user is None else (),
        capture_output=True,
        text=True,
    )
    if ran.returncode != 0:
        said = f"{ran.stdout}{ran.stderr}".strip()
        raise ClusterFailed(f"{' '.join(command)} ended with {ran.returncode}: {said}")
    return ran.stdout


def free_ports(number: int) -> list[int]:
    """Ports nobody listens on, all different.

    Below the range from which Linux takes the ports of outgoing connections: a daemon that is started again wants its
    port again, and SLURM makes many connections.
    """
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(LOWEST_PORT, highest) if highest > LOWEST_PORT + 1000 else range(LOWEST_PORT, 65_536)
    found: list[int] = []
    with ExitStack() as held:  # until all are found, so that none is given twice
        for port in random.sample(candidates, k=len(candidates)):
            if len(found) == number:
                break
            listener = held.enter_context(socket.socket())
            with suppress(OSError):
                listener.bind(("", port))
                found.append(port)
    return found
