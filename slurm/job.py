"""A task of the cluster: `python -P -u -m slurm.job STORE UUID`, with its index in SLURM_ARRAY_TASK_ID.

Here it only learns to listen to signals, before the imports that take time; `slurm.task` says what it does.
"""

from __future__ import annotations

import os
import sys

from harness.worker.stop_request import StopRequest
from slurm.exit_codes import FAILED, NO_STORE, USAGE


def main() -> int:
    """The exit code of the task. What it cannot go on from is a line in its log."""
    stop = StopRequest()
    stop.listen()
    from pathlib import Path

    from harness.errors import HarnessError, is_disk_full, system_problem
    from harness.identity import is_stage_id
    from harness.store.store import Store
    from slurm.task import run_task, say

    index = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    if len(sys.argv) != 3 or not index.isdigit() or not is_stage_id(sys.argv[2]):
        say("usage: python -m slurm.job STORE UUID, by a batch file of harness grid, which sets SLURM_ARRAY_TASK_ID")
        return USAGE
    try:
        return run_task(Store(Path(sys.argv[1])), sys.argv[2], int(index), stop)
    except OSError as error:
        if is_disk_full(error):
            say(system_problem(error))
            return FAILED
        say(f"{system_problem(error)} The store did not answer; the task is to be started again.")
        return NO_STORE
    except HarnessError as error:
        say(str(error))
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
