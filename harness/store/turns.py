"""Taking turns at what only one process may do at a time: changing a study, submitting."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness.store.leases import HeartbeatMonitor, Lease, acquire
from harness.store.processes import is_gone, this_process

POLL_SECONDS = 0.1


def wait_for_lease(folder: Path, on_wait: Callable[[], None] = lambda: None) -> Lease:
    """The lease in `folder`; waits until its holder releases it, dies or lets it expire.

    on_wait: called once, where it has to wait.
    """
    monitor, waited = HeartbeatMonitor(), False
    while True:
        lease = acquire(folder, this_process(), lambda holder: is_gone(holder) or monitor.is_expired(folder, holder))
        if lease is not None:
            return lease
        if not waited:
            on_wait()
            waited = True
        time.sleep(POLL_SECONDS)
