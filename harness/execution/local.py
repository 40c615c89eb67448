"""The scheduler of one machine: a few long-lived worker processes, each running one bundle at a time.

Workers live as long as the scheduler, because importing the libraries takes seconds. They are sessions of their own, so
that Ctrl-C reaches the driver alone, and they end when the driver does, however it ends: their input closes.
"""

from __future__ import annotations

import json
import os
import queue
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
from harness.store.store import Store
from harness.worker.source_state import source_digest

# -P: a folder named methods/ in the user's directory must not shadow ours.
WORKER_COMMAND = (sys.executable, "-P", "-m", "harness.worker.main")
LAST_WORDS_BYTES = 2000
UNREAD_SECONDS = 2.0  # how long closing waits for a worker to read what it was told
NOT_STARTED = "cancelled before it started"


@dataclass
class _Worker:
    """One process. job: what it is at, None while it waits for work. leaving: it was asked to end.

    What it is told is written by a thread of its own: a worker that does not read yet, with an order larger than the
    pipe, keeps nobody else waiting.
    """

    process: subprocess.Popen[str]
    log: Path
    job: str | None = None
    leaving: bool = False
    _told: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)
    _writer: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._writer = threading.Thread(target=self._write, name=f"orders-{self.process.pid}", daemon=True)
        self._writer.start()

    def tell(self, message: Mapping[str, Any]) -> None:
        self._told.put(json.dumps(message) + "\n")

    def tell_no_more(self) -> None:
        """Its input ends after what it was told so far."""
        self._told.put(None)

    def has_read(self, seconds: float) -> bool:
        """Whether within `seconds` it has taken all it was told, to the end."""
        self._writer.join(seconds)
        return not self._writer.is_alive()

    def tidy(self) -> None:
        """Remove its log, unless it ended unasked and said something; attempts have logs of their own."""
        code = self.process.wait()
        as_asked = code == 0 or (self.leaving and code == -signal.SIGTERM)
        with suppress(OSError):
            if as_asked or not self.log.stat().st_size:
                self.log.unlink()

    def _write(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # one that died is no error here: its listener says so
            while (line := self._told.get()) is not None:
                self.process.stdin.write(line)
                self.process.stdin.flush()
        with suppress(OSError):
            self.process.stdin.close()

    def ask_to_leave(self) -> None:
        self.leaving = True
        self.process.terminate()

    def is_free(self) -> bool:
        return self.job is None and not self.leaving

    def last_words(self) -> str:
        """The last line of its log, for the reason of its death."""
        try:
            lines = self.log.read_bytes()[-LAST_WORDS_BYTES:].decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""


@dataclass
class LocalScheduler:
    """Implements `Scheduler` with `workers` processes on this machine.

    devices: CUDA devices, dealt out to the workers in turn; empty: none is hidden or chosen.
    """

    store: Store
    sources: Sources
    resources: Resources
    workers: int
    devices: Sequence[str] = ()
    command: Sequence[str] = field(default_factory=lambda: WORKER_COMMAND)
    _bundles: dict[str, tuple[Bundle, dict[str, int]]] = field(default_factory=dict)
    _status: dict[str, JobStatus] = field(default_factory=dict)
    _pool: dict[int, _Worker] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stopping: bool = False
    _source: str = field(default_factory=source_digest)

    # -- the port

    def submit(self, bundle: Bundle, silent: Mapping[str, int]) -> str:
        job = uuid.uuid4().hex
        with self._changed:
            self._bundles[job] = (bundle, dict(silent))
            self._status[job] = JobStatus("queued")
            self._start_queued()
        return job

    def snapshot(self) -> Mapping[str, JobStatus]:
        with self._changed:
            return dict(self._status)

    def cancel(self, job: str) -> None:
        with self._changed:
            if self._status[job].state == "queued":
                self._status[job] = JobStatus("ended", NOT_STARTED)
            for worker in self._pool.values():
                if worker.job == job:
                    worker.ask_to_leave()

    def requeue(self, job: str) -> None:
        with self._changed:
            if self._status[job].state != "ended":
                raise ValueError(f"job {job} has not ended ({self._status[job].state}).")
            self._status[job] = JobStatus("queued")
            self._start_queued()

    def limits(self) -> Limits:
        return Limits(jobs=self.workers)

    # -- beyond the port: the life of the processes

    def wait(self, seconds: float) -> None:
        """Return when a job has ended, or after `seconds`."""
        with self._changed:
            self._changed.wait(seconds)

    def stop(self) -> None:
        """Ask every worker to stop at its next checkpoint; nothing is started any more."""
        with self._changed:
            self._stopping = True
            self._start_queued()
            for worker in self._pool.values():
                worker.ask_to_leave()

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
                worker.tell_no_more()
        for worker in workers:
            if not kill and not worker.has_read(UNREAD_SECONDS):  # so it is at nothing of it yet
                worker.ask_to_leave()
            worker.tidy()

    def _start_queued(self) -> None:
        """Give queued jobs to idle workers, starting workers up to their number. The caller holds the lock.

        When stopping they end instead: nobody would start them.
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

    def _give(self, slot: int, job: str) -> None:
        if slot not in self._pool:
            self._pool[slot] = self._start_worker(slot)
        worker = self._pool[slot]
        bundle, silent = self._bundles[job]
        worker.job = job
        self._status[job] = JobStatus("running")
        worker.tell({"job": job, "stages": [spec.order() for spec in bundle.stages], "silent": silent})

    def _start_worker(self, slot: int) -> _Worker:
        environment = dict(os.environ)
        if self.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
        self.store.workers_path.mkdir(parents=True, exist_ok=True)
        log = self.store.workers_path / f"{uuid.uuid4().hex}.log"
        with log.open("w") as errors:
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
        told = {"store": str(self.store.root.absolute()), "sources": self.sources.as_json()}
        worker.tell({**told, "resources": asdict(self.resources), "source": self._source})
        threading.Thread(target=self._listen, args=(slot, worker), name=f"worker-{slot}", daemon=True).start()
        return worker

    def _listen(self, slot: int, worker: _Worker) -> None:
        """Hears when a worker's job has ended, and when the worker has."""
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            told = _reply(line)
            if told is None:
                continue
            with self._changed:
                worker.leaving |= told["leaving"]
                self._end(worker, told["job"], JobStatus("ended", problems=told["problems"]))
                if told["problems"]:  # whatever a failed stage left in the process must not reach the next one
                    worker.ask_to_leave()
                self._start_queued()
        code = worker.process.wait()
        worker.tell_no_more()
        with self._changed:
            if self._pool.get(slot) is worker:
                del self._pool[slot]
            if worker.job is not None:
                self._end(worker, worker.job, JobStatus("ended", _reason(code, worker)))
            worker.tidy()
            self._start_queued()

    def _end(self, worker: _Worker, job: str, status: JobStatus) -> None:
        self._status[job] = status
        worker.job = None
        self._changed.notify_all()


def _reply(line: str) -> dict[str, Any] | None:
    """A worker's word that a job has ended; None for anything else that a library or the site printed there."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and {"job", "problems", "leaving"} <= told.keys() else None


def _reason(code: int, worker: _Worker) -> str:
    if code < 0:
        known = {member.value: member.name for member in signal.Signals}
        name = known.get(-code, f"signal {-code}")
        memory = " (is the machine out of memory?)" if code == -signal.SIGKILL else ""
        return f"its worker process was ended by {name}{memory}"
    words = worker.last_words()
    return f"its worker process ended with code {code}" + (f": {words} (log: {worker.log})" if words else "")
