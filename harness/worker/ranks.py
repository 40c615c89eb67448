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
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.errors import RankFailed, RankLost
from harness.specs import StageSpec, Team
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.worker.rank import LOST
from harness.worker.source_state import source_digest

logger = logging.getLogger("harness")
RANK_COMMAND = (sys.executable, "-P", "-m", "harness.worker.rank")
DEVICES = "HARNESS_RANK_DEVICES"  # of a worker: the CUDA devices of its ranks, which CUDA_VISIBLE_DEVICES has none of
SECONDS_TO_NOTICE = 60.0  # after a rank's death, until this process is killed: it may wait for that rank for ever
SECONDS_TO_END = 60.0  # for ranks after the training
SECONDS_TO_FAIL = 10.0  # for a rank to say why it ended, once its connection is gone
SECONDS_TO_CLOSE = 5.0  # for a rank whose input has ended, before it is asked to end, and again before it is killed
LINES_KEPT = 20
KILLED = 128  # and more: srun's exit code for a task that a signal ended


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
    """The other ranks run within it; at its end they have ended.

    Raises RankFailed in the place of RankLost where a rank ended by an error of its own, with that error.
    """
    ranks = _Others()
    try:
        ranks.start(json.dumps(order), _commands(size, launcher))
        yield
        ranks.is_over = True
        ranks.wait(SECONDS_TO_END)
    except RankLost as lost:
        ranks.wait(SECONDS_TO_FAIL)
        if (error := ranks.error()) is not None:
            raise RankFailed(error) from lost
        raise
    finally:
        ranks.close()


def _commands(size: int, launcher: Sequence[str]) -> list[tuple[list[str], dict[str, str]]]:
    """Commands and their environments: one for all ranks, or one for each but 0."""
    devices = os.environ[DEVICES].split(",") if os.environ.get(DEVICES) else []
    if launcher:
        shown = {"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {}
        return [([*launcher, *RANK_COMMAND], {**os.environ, **shown})]
    own = [{"CUDA_VISIBLE_DEVICES": devices[rank % len(devices)]} if devices else {} for rank in range(size)]
    return [([*RANK_COMMAND, str(rank)], {**os.environ, **own[rank]}) for rank in range(1, size)]


@dataclass
class _Others:
    """The processes of the other ranks. is_over: they may end now. said: by each, the last lines."""

    running: list[subprocess.Popen[str]] = field(default_factory=list)
    said: dict[int, deque[str]] = field(default_factory=dict)
    is_over: bool = False
    _listening: list[threading.Thread] = field(default_factory=list)

    def start(self, order: str, commands: Sequence[tuple[list[str], dict[str, str]]]) -> None:
        for command, environment in commands:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
            )
            self.running.append(process)
            self.said[process.pid] = deque(maxlen=LINES_KEPT)
            listening = threading.Thread(target=self._listen, args=(process, order), daemon=True)
            self._listening.append(listening)
            listening.start()

    def _listen(self, process: subprocess.Popen[str], order: str) -> None:
        """Tells the rank what to do, logs what it says, and ends this process where the rank ends too early."""
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError, ValueError):
            process.stdin.write(order + "\n")
            process.stdin.flush()
        for line in process.stdout:
            if line.strip():
                logger.info("%s", line.rstrip())
                self.said[process.pid].append(line.strip())
        code = process.wait()
        if not self.is_over:
            logger.warning("a rank of this stage ended with %s before its time", _named(code))
            timer = threading.Timer(SECONDS_TO_NOTICE, self._give_up)
            timer.daemon = True
            timer.start()

    def _give_up(self) -> None:
        if not self.is_over:
            logger.error("this process still waits for that rank after %g s: it is killed", SECONDS_TO_NOTICE)
            os.kill(os.getpid(), signal.SIGKILL)

    def wait(self, seconds: float) -> None:
        """For their end, and for what they said."""
        deadline = time.monotonic() + seconds
        for listening in self._listening:
            listening.join(max(0.0, deadline - time.monotonic()))

    def error(self) -> str | None:
        """What ended a rank, in a line, where that was an error of its own and no signal."""
        for process in self.running:
            code = process.poll()
            if code is not None and 0 < code < KILLED and code != LOST:
                said = self.said[process.pid]
                return said[-1] if said else _named(code)
        return None

    def close(self) -> None:
        """End those that still run: they do so by themselves when their input ends."""
        self.is_over = True
        for process in self.running:
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
        for process in self.running:
            for end in (process.terminate, process.kill):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_TO_CLOSE)
                    break
                end()
            process.wait()


def _named(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
