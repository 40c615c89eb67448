"""Whether the process that holds a lease is still alive: by machine, boot, namespace, process id and start time.

From Linux' /proc; of a process in a task of a cluster also from how often the task was restarted, and from squeue.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.store.leases import Holder
from harness.store.slurm_command import cluster_settings
from harness.store.squeue import THE_QUEUE, has_squeue

ALLOCATION = "HARNESS_ALLOCATION"  # the variable that names the task, set by its batch file
FIRST_PID_NAMESPACE = 0xEFFFFFFC  # of the machine itself: PROC_PID_INIT_INO in Linux' proc_ns.h


def process_start(process: int) -> str:
    """Boot id and start tick of a process, so that a reused id differs; "" when there is no such process."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot}:{fields[19]}"


@cache
def _here() -> dict[str, str | int]:
    """What distinguishes this machine and container from others with the same host name; "" or 0: unknown.

    machine: a digest, since the id itself is not for publication (machine-id(5)).
    """
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    try:
        machine = hashlib.sha256(b"harness " + Path("/etc/machine-id").read_bytes().strip()).hexdigest()[:16]
    except OSError:
        machine = ""
    return {"host": socket.gethostname(), "machine": machine, "pid_namespace": namespace}


def this_process() -> dict[str, str | int]:
    """Identity of this process, for a lease and for an attempt's first event."""
    return {**_here(), "process": os.getpid(), "process_started": process_start(os.getpid()), **_this_allocation()}


def _this_allocation() -> dict[str, str | int]:
    """The cluster's task in which this process runs, where it is one of ours (see `submissions`).

    allocation: its name, UUID_INDEX. restart: how often SLURM has requeued it. cluster, user: for squeue.
    """
    if not (name := os.environ.get(ALLOCATION)):
        return {}
    restart = os.environ.get("SLURM_RESTART_COUNT", "0")
    return {
        "allocation": name,
        "restart": int(restart) if restart.isdigit() else 0,
        "cluster": os.environ.get("SLURM_CLUSTER_NAME", ""),
        "user": os.getuid(),
    }


def is_gone(holder: Holder) -> bool:
    """True for a lease's holder whose process ran on this machine and runs no more, or whose task of a cluster is over.

    A task that SLURM has restarted since has no process of before; one that it does not list any more has none at all.
    squeue is asked of this user's tasks alone and never from within a task, of which there may be thousands; where it
    does not answer, nothing is known.

    Of a holder on another machine, or in another container of this one, only its heartbeat is known here (see
    `HeartbeatMonitor`): its process has no entry in our /proc. Host names are not unique, so the boot and the namespace
    of process ids must be ours; or else it ran outside of any container before this machine was booted.

    An owner without a namespace was written by an earlier version, which knew host and process alone, and is judged by
    those. It is the leftover of a kill: versions do not run side by side.
    """
    owner, here = holder.owner, this_process()
    if _is_over(holder, here):
        return True
    started = str(owner.get("process_started", ""))
    process = owner.get("process")
    if owner.get("host") != here["host"] or not started or not isinstance(process, int):
        return False
    if "pid_namespace" in owner:
        if _boot(started) != _boot(str(here["process_started"])):
            return (
                _outside_of_containers(owner)
                and _outside_of_containers(here)
                and owner.get("machine") == here["machine"]
            )
        if not owner["pid_namespace"] or owner["pid_namespace"] != here["pid_namespace"]:
            return False
    return process_start(process) != started


def _is_over(holder: Holder, here: Mapping[str, Any]) -> bool:
    """Whether the cluster's task in which the holder ran has ended, or was restarted since."""
    owner = holder.owner
    task, restart = owner.get("allocation"), owner.get("restart")
    if not isinstance(task, str) or not isinstance(restart, int):
        return False
    if "allocation" in here:
        return task == here["allocation"] and restart < here["restart"]
    if owner.get("user") != os.getuid() or not has_squeue():
        return False
    queue = THE_QUEUE.on(task, restart, holder.seen)
    if not queue.answers or owner.get("cluster") != this_cluster():  # which asks too: nobody who is silent already
        return False
    now = queue.tasks.get(task)
    return now is None or now.restarts > restart


def this_cluster() -> str:
    """The name of the cluster whose commands this machine has; "" where they do not tell."""
    return cluster_settings().get("ClusterName", "")


def _boot(started: str) -> str:
    return started.partition(":")[0]


def _outside_of_containers(owner: Mapping[str, Any]) -> bool:
    return owner["pid_namespace"] == FIRST_PID_NAMESPACE and bool(owner.get("machine"))


def is_live(holder: Holder | None) -> bool:
    """Whether the lease is held: neither released nor left by a process that is known to be gone.

    Of many leases read all holders first, since each that is read later may be another question to squeue.
    """
    return holder is not None and not holder.released and not is_gone(holder)
