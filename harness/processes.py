"""Whether the process behind an attempt is still alive, told by host, process id and start time (Linux /proc)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from harness.plan import Plan
from harness.state import Snapshot
from harness.store import Attempt, Store


def process_start(process: int) -> str:
    """Boot id and start tick of a process, so that a reused id is told apart; "" when there is no such process."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot}:{fields[19]}"


def this_process() -> dict[str, str | int]:
    """Identity of this process for an attempt's first event."""
    return {"host": socket.gethostname(), "process": os.getpid(), "process_started": process_start(os.getpid())}


def is_alive(attempt: Attempt) -> bool:
    """True for an attempt that has not ended and whose process runs on this host."""
    if attempt.outcome is not None or attempt.host != socket.gethostname():
        return False
    return bool(attempt.process_started) and process_start(attempt.process) == attempt.process_started


def local_snapshot(plan: Plan, store: Store) -> Snapshot:
    """Stages under way on this machine."""
    running = [
        stage for stage in plan.stages if not store.has_record(stage) and any(map(is_alive, store.attempts(stage)[-1:]))
    ]
    return Snapshot(running=frozenset(running))
