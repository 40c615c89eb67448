"""The scheduler of one machine: a few long-lived worker processes, each running one bundle at a time.

Workers live as long as the scheduler, because importing the libraries takes seconds. They are sessions of their own, so
that Ctrl-C reaches the driver alone, and they end when the driver does, however it ends: their input closes.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.execution.bundles import Bundle
from harness.execution.scheduler import JobStatus, Limits
from harness.stages.context import Resources, Sources
from harness.store.intervals import OFTEN, Intervals
from harness.store.store import Store
from harness.worker.ranks import DEVICES as RANK_DEVICES
from harness.worker.source_state import source_digest
from harness.worker.stop_request import STOPPING, held_back

# -P: a folder named methods/ in the user's directory must not shadow ours.
WORKER_COMMAND = (sys.executable, "-P", "-m", "harness.worker.main")
LAST_LINE_BYTES = 2000
UNREAD_SECONDS = 2.0  # how long closing waits for a worker to read what was sent
_REPORT = re.compile(r"[-\d]+ [:,\d]+ (DEBUG|INFO) ")  # as `harness.worker.serve` has it logged
HIDDEN = ("",)  # in the place of CUDA devices: the workers see none
NOT_STARTED = "cancelled before it started"


@dataclass
class _Worker:
    """One process. job: what it runs, None while it is idle. leaving: it is to end.

    A thread of its own writes its orders: a worker that does not read yet, with an order larger than the pipe, keeps
    nobody else waiting.
    """

    process: subprocess.Popen[str]
    log: Path
    job: str | None = None
    leaving: bool = False
    _orders: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)
    _writer: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._writer = threading.Thread(target=self._write, name=f"orders-{self.process.pid}", daemon=True)
        self._writer.start()

    def send(self, message: Mapping[str, Any]) -> None:
        self._orders.put(json.dumps(message) + "\n")

    def close_input(self) -> None:
        """Its input ends after what was sent so far."""
        self._orders.put(None)

    def has_read(self, seconds: float) -> bool:
        """Whether it has read all that was sent, to the end, within `seconds`."""
        self._writer.join(seconds)
        return not self._writer.is_alive()

    def tidy(self) -> None:
        """Remove its log, unless it died and printed something; attempts have logs of their own."""
        code = self.process.wait()
        in_order = code == 0 or (self.leaving and -code in STOPPING)
        if in_order or not self.has_printed():
            with suppress(OSError):
                self.log.unlink()

    def has_printed(self) -> bool:
        with suppress(OSError):
            return self.log.stat().st_size > 0
        return False

    def _write(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # that of a dead worker; its listener reports it
            while (line := self._orders.get()) is not None:
                self.process.stdin.write(line)
                self.process.stdin.flush()
        with suppress(OSError):
            self.process.stdin.close()

    def terminate(self, number: int = signal.SIGTERM) -> None:
        self.leaving = True
        self.process.send_signal(number)

    def is_free(self) -> bool:
        return self.job is None and not self.leaving

    def last_words(self) -> str:
        """The last line of its log that may be the reason of its death: none in which it reported its work."""
        try:
            lines = self.log.read_bytes()[-LAST_LINE_BYTES:].decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return next((line for line in reversed(lines) if not _REPORT.match(line)), "")


@dataclass
class LocalScheduler:
    """Implements `Scheduler` with `workers` processes on this machine.

    devices: CUDA devices, given to the workers in turn, one for each rank; empty: none is hidden or chosen; `HIDDEN`:
    all are.
    intervals: how often the workers touch the store.
    """

    store: Store
    sources: Sources
    resources: Resources
    workers: int
    devices: Sequence[str] = ()
    command: Sequence[str] = field(default_factory=lambda: WORKER_COMMAND)
    intervals: Intervals = OFTEN
    _bundles: dict[str, tuple[Bundle, dict[str, int]]] = field(default_factory=dict)
    _status: dict[str, JobStatus] = field(default_factory=dict)
    _pool: dict[int, _Worker] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stopping: bool = False
    _source: str = field(default_factory=source_digest)

    # -- the port

    def submit(self, bundle: Bundle, expired_leases: Mapping[str, int]) -> str:
        job = uuid.uuid4().hex
        with self._changed:
            self._bundles[job] = (bundle, dict(expired_leases))
            self._status[job] = JobStatus("queued")
            self._start_queued()
        return job

    def snapshot(self) -> Mapping[str, JobStatus]:
        """Raises OSError where a worker cannot be started in the place of one that died."""
        with self._changed:
            self._start_queued()
            return dict(self._status)

    def limits(self) -> Limits:
        return Limits(jobs=self.workers)

    # -- beyond the port: the life of the processes

    def wait(self, seconds: float) -> bool:
        """Return True when a job has ended, False after `seconds`."""
        with self._changed:
            return self._changed.wait(seconds)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Make every worker stop at its next checkpoint; starts nothing any more. number: the signal, of `STOPPING`."""
        with self._changed:
            self._stopping = True
            self._start_queued()
            for worker in self._pool.values():
                worker.terminate(number)

    def close(self, *, kill: bool = False) -> None:
        """End the workers: the idle at once, the busy at their next checkpoint, or all of them hard with `kill`."""
        with self._changed:
            self._stopping = True
            self._start_queued()
            workers = list(self._pool.values())
        for worker in workers:
            if kill:
                worker.process.kill()
            else:
                worker.close_input()
        for worker in workers:
            if not kill and not worker.has_read(UNREAD_SECONDS):  # so it runs none of it yet
                worker.terminate()
            worker.tidy()

    def _start_queued(self) -> None:
        """Give queued jobs to idle workers, starting workers up to their number. The caller holds the lock.

        When stopping, ends them instead: nobody would start them.
        """
        for job, status in self._status.items():
            if status.state != "queued":
                continue
            if self._stopping:
                self._status[job] = JobStatus("ended", NOT_STARTED)
                self._changed.notify_all()
                continue
            slot = next((i for i in range(self.workers) if i not in self._pool or self._pool[i].is_free()), None)
            if slot is None:
                return
            self._give(slot, job)

    def _start_queued_if_possible(self) -> None:
        """For a thread to which nobody listens: the next snapshot tries again, and tells the driver."""
        with suppress(OSError):
            self._start_queued()

    def _give(self, slot: int, job: str) -> None:
        if slot not in self._pool:
            self._pool[slot] = self._start_worker(slot)
        worker = self._pool[slot]
        bundle, expired_leases = self._bundles[job]
        worker.job = job
        self._status[job] = JobStatus("running")
        stages = [spec.order() for spec in bundle.stages]
        worker.send({"job": job, "stages": stages, "expired_leases": expired_leases})

    def _start_worker(self, slot: int) -> _Worker:
        environment = dict(os.environ)
        if self.devices:
            ranks = self.resources.ranks
            own = [self.devices[(slot * ranks + rank) % len(self.devices)] for rank in range(ranks)]
            environment["CUDA_VISIBLE_DEVICES"] = own[0]
            if ranks > 1:
                environment[RANK_DEVICES] = ",".join(own)
        self.store.workers_path.mkdir(parents=True, exist_ok=True)
        log = self.store.workers_path / f"{uuid.uuid4().hex}.log"
        with log.open("w") as errors, held_back():
            process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
                env=environment,
                start_new_session=True,
            )
        worker = _Worker(process, log)
        worker.send(
            {
                "store": str(self.store.root.absolute()),
                "sources": self.sources.as_json(),
                "resources": asdict(self.resources),
                "intervals": asdict(self.intervals),
                "source": self._source,
            }
        )
        threading.Thread(target=self._listen, args=(slot, worker), name=f"worker-{slot}", daemon=True).start()
        return worker

    def _listen(self, slot: int, worker: _Worker) -> None:
        """Notes when a worker's job has ended, and when the worker has."""
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            reply = _reply(line)
            if reply is None:
                continue
            with self._changed:
                worker.leaving |= reply["leaving"]
                self._end(worker, reply["job"], JobStatus("ended", problems=reply["problems"]))
                if reply["problems"]:  # whatever a failed stage left in the process must not reach the next one
                    worker.terminate()
                self._start_queued_if_possible()
        code = worker.process.wait()
        worker.close_input()
        with self._changed:
            if self._pool.get(slot) is worker:
                del self._pool[slot]
            if worker.job is not None:
                self._end(worker, worker.job, JobStatus("ended", _reason(code, worker)))
            worker.tidy()
            self._start_queued_if_possible()

    def _end(self, worker: _Worker, job: str, status: JobStatus) -> None:
        self._status[job] = status
        worker.job = None
        self._changed.notify_all()


def _reply(line: str) -> dict[str, Any] | None:
    """A worker's message that a job has ended; None for anything else that a library or the site printed there."""
    try:
        reply = json.loads(line)
    except ValueError:
        return None
    return reply if isinstance(reply, dict) and {"job", "problems", "leaving"} <= reply.keys() else None


def _reason(code: int, worker: _Worker) -> str:
    if code < 0:
        known = {member.value: member.name for member in signal.Signals}
        name = known.get(-code, f"signal {-code}")
        memory = " (is the machine out of memory?)" if code == -signal.SIGKILL else ""
        return f"its worker process was ended by {name}{memory}"
    ended = f"its worker process ended by itself with code {code}"
    if code == 0:  # its log goes, as that of every worker which ends in order
        return ended
    reason = worker.last_words()
    return f"{ended}{f': {reason}' if reason else ''}" + (f" (log: {worker.log})" if worker.has_printed() else "")
