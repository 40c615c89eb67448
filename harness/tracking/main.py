"""The process that writes to trackers: `python -m harness.tracking.main`, started by `behind`.

The first line of its standard input is an object: store, study, folder, trackers. While the input stays open it looks
for records that are new; when it ends, so does this process, after a last look. What happened goes to standard output,
an object a line; what the trackers' libraries print goes to a log.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.planning.foreign_code import told as words_of
from harness.store.store import Store
from harness.store.turns import wait_for_lease
from harness.studies.study import read_study
from harness.tracking.writer import Tell, Writer

LOOK_SECONDS = 3.0  # between two looks for new records


def main() -> int:
    tell = os.fdopen(os.dup(1), "w", encoding="utf-8")
    order = json.loads(sys.stdin.readline())
    folder, study = Path(order["folder"]), str(order["study"])
    for name in _QUIET:
        os.environ.setdefault(name, _QUIET[name])

    def told(event: dict[str, Any]) -> None:
        print(json.dumps(event), file=tell, flush=True)

    try:
        _write(Store(Path(order["store"])), study, folder, order["trackers"], told)
    except Exception as error:
        logging.getLogger().error("stopped", exc_info=error)
        for name in order["trackers"]:
            told({"tracker": name, "event": "failed", "reason": words_of(error)})
    return 0


def _write(store: Store, study: str, folder: Path, names: Sequence[str], told: Tell) -> None:
    _send_prints_to(folder / f"{study}.log")
    with wait_for_lease(folder / f"{study}.lease").held():  # two writers would write a stage twice
        writer = Writer(store, read_study(store, study), folder, told)
        writer.open(names)
        while not _is_over():
            writer.catch_up()
        writer.catch_up()
        writer.close()


# Nothing is sent but what was asked for.
_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
}


def _is_over() -> bool:
    """Whether the input has ended; waits a while for that."""
    readable, _, _ = select.select([sys.stdin.fileno()], [], [], LOOK_SECONDS)
    return bool(readable)


def _send_prints_to(path: Path) -> None:
    """Standard output and error go to a file from here on, those of processes that libraries start as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")


if __name__ == "__main__":
    sys.exit(main())
