"""One node: namespaces of its own, with a first process that outlives slurmd, and slurmd inside."""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurm.devcluster.conf import Layout
from slurm.devcluster.daemons import ClusterFailed, Daemon, Recorded, output_of, wait_until

UNSHARE = ("unshare", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
# The shell reaps what is left to it while it waits for sleep, as an init does.
FIRST_PROCESS = "mount --bind {hosts} /etc/hosts && hostname {name} && : > {ready} && while :; do sleep 1; done"


@dataclass(frozen=True)
class Process:
    """A process on a node. pid: on this machine; pid_there: on the node."""

    pid: int
    pid_there: int
    command: str


@dataclass(frozen=True)
class Node:
    """A node by its name. Its namespace is a process of this machine; all that runs on the node ends with it."""

    name: str
    layout: Layout

    @property
    def namespace(self) -> Daemon:
        """unshare, whose only child is the node's first process."""
        return self._daemon("node")

    @property
    def slurmd(self) -> Daemon:
        """nsenter, whose only child is slurmd."""
        return self._daemon("slurmd")

    def _daemon(self, kind: str) -> Daemon:
        name = f"{kind}.{self.name}"
        return Daemon(name, self.layout.pids / name, self.layout.output(name))

    @property
    def _ready(self) -> Path:
        return self.layout.spool(self.name) / "ready"

    def start_namespace(self) -> None:
        """Begin the namespaces; `wait_for_namespace` says when they are there."""
        self._ready.unlink(missing_ok=True)
        script = FIRST_PROCESS.format(
            hosts=shlex.quote(str(self.layout.hosts)), name=self.name, ready=shlex.quote(str(self._ready))
        )
        self.namespace.start([*UNSHARE, "sh", "-c", script], {})

    def wait_for_namespace(self) -> None:
        """Raises ClusterFailed with what unshare or mount said."""
        wait_until(lambda: self._ready.exists() or not self.namespace.lives, 10)
        if not self._ready.exists():
            raise ClusterFailed(f"The namespaces of node {self.name} could not be made.\n{self.namespace.tail()}")

    @property
    def first_process(self) -> int:
        """The id, on this machine, of the node's process 1. Raises ClusterFailed where the node does not run."""
        outside = self.namespace.process
        if outside is not None and outside.lives:
            inside = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
            if inside:
                return int(inside[0])
        raise ClusterFailed(f"Node {self.name} does not run. Start it: restart_node({self.name!r}).")

    def enter(self, *command: str) -> list[str]:
        """The command line that runs `command` on the node."""
        return ["nsenter", f"--target={self.first_process}", "--uts", "--pid", "--mount", *command]

    def run(self, *command: str) -> str:
        """Run a command on the node, as root, and return what it printed. Raises ClusterFailed with what it said."""
        return output_of(self.enter(*command), self.layout.environment)

    def start_slurmd(self) -> None:
        """Raises ClusterFailed where it runs already, or the node does not."""
        if self.slurmd.lives:
            raise ClusterFailed(f"slurmd runs already on node {self.name}.")
        self.slurmd.start(self.enter("slurmd", "-D", "-N", self.name), self.layout.environment)

    def processes(self) -> list[Process]:
        """All that runs on the node, its first process included, by id; [] where the node does not run."""
        try:
            namespace = os.readlink(f"/proc/{self.first_process}/ns/pid")
        except (ClusterFailed, FileNotFoundError):
            return []
        return [found for found in map(_process, _pids()) if found is not None and _namespace(found.pid) == namespace]

    def kill_slurmd(self) -> None:
        """kill -9 of slurmd alone: job steps and their processes live on."""
        killed = [Recorded.of(each.pid) for each in self.processes() if each.command.split()[0].endswith("slurmd")]
        for process in killed:
            process.signal(signal.SIGKILL)
        if not wait_until(lambda: not any(process.lives for process in killed) and not self.slurmd.lives, 10):
            raise ClusterFailed(f"slurmd of node {self.name} does not end on SIGKILL.")

    def crash(self) -> None:
        """kill -9 of the node's first process: everything on the node dies at once, as when its power is cut."""
        with suppress(ClusterFailed):  # it does not run, or only unshare does
            Recorded.of(self.first_process).end(patience_s=0)  # it is gone when all others are
        self.namespace.end(patience_s=0)
        self.slurmd.end(patience_s=0)


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:  # ended meanwhile
        return ""


def _process(pid: int) -> Process | None:
    """None: it has ended, or is a thread of the kernel or a zombie (neither has a command line)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    there = next((line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:")), str(pid))
    command = b" ".join(words).decode(errors="replace").strip()
    return Process(pid, int(there), command) if command else None
