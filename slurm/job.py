"""A task of the cluster: `python -P -u -m slurm.job STORE UUID`, with its index in SLURM_ARRAY_TASK_ID.

Here it only learns to listen to signals, before the imports that take time; `slurm.task` says what it does.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """The exit code of the task, as `slurm.task` has them."""
    stops: list[int] = []
    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, lambda number, _: stops.append(number))
    from pathlib import Path

    from harness.store.store import Store
    from slurm.task import run_task

    store, uuid = sys.argv[1:3]
    return run_task(Store(Path(store)), uuid, int(os.environ["SLURM_ARRAY_TASK_ID"]), lambda: bool(stops))


if __name__ == "__main__":
    sys.exit(main())
