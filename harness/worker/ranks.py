"""Starts the other ranks of a training stage, and watches over them; rank 0 is this worker.

A rank reads one line of JSON on its standard input, which then stays open: its end means that the worker is gone, and
the rank goes as well (`harness.worker.rank`). Where a rank dies the worker cannot go on: its connection to it breaks,
or, where that takes too long, the worker kills itself; either way the attempt ends as that of any worker that died, and
is followed by another from its last checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.team import Team
from harness.worker.source_state import source_digest

logger = logging.getLogger("harness")
RANK_COMMAND = (sys.executable, "-P", "-m", "harness.worker.rank")
DEVICES = "HARNESS_RANK_DEVICES"  # of a worker: the CUDA devices of its ranks, which CUDA_VISIBLE_DEVICES has none of
SECONDS_TO_NOTICE = 60.0  # after a rank's death, until this process is killed: it may wait for that rank for ever
SECONDS_TO_END = 60.0  # for ranks after the training


def team_of(spec: StageSpec, store: Store, sources: Sources, resources: Resources) -> Team | None:
    """The ranks that train a stage, this worker first; None where it is alone."""
    if resources.ranks == 1:
        return None
    order = {
        "store": str(store.root.absolute()),
        "stage": spec.order(),
        "sources": sources.as_json(),
        "resources": asdict(resources),
        "source": source_digest(),
        "size": resources.ranks,
        "is_local": not resources.launcher,
    }
    return Team(
        size=resources.ranks,
        is_local=not resources.launcher,
        start=lambda port: _started({**order, "port": port}, resources.ranks, resources.launcher),
    )


@contextmanager
def _started(order: Mapping[str, Any], size: int, launcher: Sequence[str]) -> Iterator[None]:
    """The other ranks run within it; at its end they have ended."""
    ranks = _Processes.start(json.dumps(order), size, launcher)
    try:
        yield
        ranks.is_over = True
        ranks.wait()
    finally:
        ranks.close()


@dataclass
class _Processes:
    """The commands that run the other ranks. is_over: they may end now."""

    running: list[subprocess.Popen[str]]
    is_over: bool = False

    @classmethod
    def start(cls, line: str, size: int, launcher: Sequence[str]) -> _Processes:
        devices = os.environ[DEVICES].split(",") if os.environ.get(DEVICES) else []
        if launcher:
            commands = [([*launcher, *RANK_COMMAND], dict(os.environ))]
        else:
            shown = [{"CUDA_VISIBLE_DEVICES": devices[rank % len(devices)]} if devices else {} for rank in range(size)]
            commands = [([*RANK_COMMAND, str(rank)], {**os.environ, **shown[rank]}) for rank in range(1, size)]
        found = cls([])
        try:
            for command, environment in commands:
                process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment)
                found.running.append(process)
                threading.Thread(target=found._watch, args=(process, line), daemon=True).start()
        except BaseException:
            found.close()
            raise
        return found

    def _watch(self, process: subprocess.Popen[str], line: str) -> None:
        """Tells the rank what to do, and ends this process where the rank ends too early."""
        assert process.stdin is not None
        with suppress(OSError, ValueError):
            process.stdin.write(line + "\n")
            process.stdin.flush()
        code = process.wait()
        if self.is_over:
            return
        logger.error("a rank of this stage ended with %s before its time", _named(code))
        timer = threading.Timer(SECONDS_TO_NOTICE, self._give_up)
        timer.daemon = True
        timer.start()

    def _give_up(self) -> None:
        if not self.is_over:
            logger.error("this process still waits for that rank after %g s: it is killed", SECONDS_TO_NOTICE)
            os.kill(os.getpid(), signal.SIGKILL)

    def wait(self) -> None:
        for process in self.running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_END)

    def close(self) -> None:
        """End those that still run."""
        self.is_over = True
        for process in self.running:
            if process.poll() is None:
                process.terminate()
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
        for process in self.running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _named(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def address() -> str:
    """Of this machine, for ranks elsewhere: that which the scheduler has of the node from which they were started."""
    return os.environ.get("SLURM_LAUNCH_NODE_IPADDR") or socket.gethostname()
