"""Whether the process that holds a lease is still alive, told by host, process id and start time (Linux /proc)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from harness.leases import Holder, current_holder
from harness.plan import Plan
from harness.state import Snapshot
from harness.store import Store


def process_start(process: int) -> str:
    """Boot id and start tick of a process, so that a reused id is told apart; "" when there is no such process."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot}:{fields[19]}"


def this_process() -> dict[str, str | int]:
    """Identity of this process, for a lease and for an attempt's first event."""
    return {"host": socket.gethostname(), "process": os.getpid(), "process_started": process_start(os.getpid())}


def is_gone(holder: Holder) -> bool:
    """True for a lease's holder whose process ran on this machine and runs no more.

    Of a holder on another machine nothing is known here but its heartbeat; see `SilenceWatch`.
    """
    owner = holder.owner
    if owner.get("host") != socket.gethostname() or not owner.get("process_started"):
        return False
    return process_start(int(owner["process"])) != owner["process_started"]


def is_live(holder: Holder | None) -> bool:
    """Whether somebody is at the stage: its lease is neither released nor held by a process that is gone."""
    return holder is not None and not holder.released and not is_gone(holder)


def local_snapshot(plan: Plan, store: Store) -> Snapshot:
    """Stages under way: their lease is neither released nor held by a process that is gone."""
    leased, finished = store.leased(), store.finished(plan.stages)
    unfinished = (stage for stage in plan.stages if stage in leased and stage not in finished)
    holders = {stage: current_holder(store.lease_path(stage)) for stage in unfinished}
    return Snapshot(running=frozenset(stage for stage, holder in holders.items() if is_live(holder)))
