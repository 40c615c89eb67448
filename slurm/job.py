"""A task of the cluster: `python -P -u -m slurm.job STORE UUID`, with its index in SLURM_ARRAY_TASK_ID.

Here it only learns to listen to signals, before the imports that take time; `slurm.task` says what it does.
"""

from __future__ import annotations

import os
import sys

from harness.worker.stop_request import StopRequest


def main() -> int:
    """The exit code of the task, as `slurm.task` has them."""
    stop = StopRequest()
    stop.listen()
    from pathlib import Path

    from harness.store.store import Store
    from slurm.task import run_task

    store, uuid = sys.argv[1:3]
    return run_task(Store(Path(store)), uuid, int(os.environ["SLURM_ARRAY_TASK_ID"]), stop)


if __name__ == "__main__":
    sys.exit(main())
