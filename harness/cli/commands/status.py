"""`harness status`: the states of a study's stages and cells."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.progress import StageProgress
from harness.store.store import Store
from harness.studies.state_table import count_table
from harness.studies.status import read_status
from harness.studies.study import only_study, read_study
from harness.wording import counted

WATCH_SECONDS = 2.0


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every cell is done, 1 a stage failed, 4 some cells are not done (a stage is cancelled, perhaps).

    Raises StoreError for records that cannot be trusted.

    --watch repeats it until no stage is running or queued.
    """
    store = Store(Path(options.store))
    name = options.study or only_study(store)
    while True:
        found = read_status(store, read_study(store, name))
        if options.json:
            print(json.dumps(found, indent=1))
        else:
            print(status_text(found), flush=True)
        if not options.watch or not any(stage["state"] in ("running", "queued") for stage in found["stages"]):
            break
        time.sleep(WATCH_SECONDS)
        print()
    if found["failed"]:
        return 1
    return 0 if found["cells"]["done"] == found["cells"]["total"] else 4


def status_text(found: Mapping[str, Any]) -> str:
    """`read_status` for people."""
    labels = {stage["id"]: stage["label"] for stage in found["stages"]}
    cells = found["cells"]
    lines = [f"study {found['study']}: {cells['done']} of {counted(cells['total'], 'cell')} done"]
    lines.append(count_table((stage["kind"], stage["state"]) for stage in found["stages"]))
    for stage in found["running"]:
        progress = f": {StageProgress(**stage['progress'])}" if stage["progress"] else ""
        lines.append(f"running: {labels[stage['id']]} ({stage['id']}){progress}")
    for word in ("failed", "cancelled"):
        for stage in found[word]:
            lines.append(f"{word}: {labels[stage['id']]} ({stage['id']}): {stage['message']}")
            lines.append(f"        log: {stage['log']}")
    return "\n".join(lines)
