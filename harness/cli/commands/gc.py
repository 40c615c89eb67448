"""`harness gc`: removes folders that nobody needs. Records, attempts and logs are never removed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.errors import UsageError
from harness.store.store import Store
from harness.studies.garbage import CATEGORIES, Garbage, find_garbage, folder_bytes, remove_garbage
from harness.studies.study import study_names
from harness.wording import counted


def run(options: argparse.Namespace) -> int:
    """Exit code 0; without --yes nothing is removed. Raises UsageError for a store without studies."""
    store = Store(Path(options.store))
    store.check_is_folder()
    if not study_names(store):
        raise UsageError(f"no study in {store.root}, so that all of it would be garbage. Name the store with --store.")
    found = [(item, folder_bytes(item.path)) for item in find_garbage(store, options.keep)]
    removed = set(remove_garbage(store, options.keep, [item for item, _ in found])) if options.yes else set()
    totals = _totals([(item, size) for item, size in found if item in removed] if options.yes else found)
    if options.json:
        print(
            json.dumps(
                {
                    "keep": options.keep,
                    "acted": options.yes,
                    "categories": totals,
                    "folders": [
                        {"id": item.stage_id, "path": str(item.path), "category": item.category, "bytes": size}
                        for item, size in found
                    ],
                    "removed": sorted(str(item.path) for item in removed),
                },
                indent=1,
            )
        )
        return 0
    rows = [[category, total["count"], f"{total['bytes']:,}"] for category, total in totals.items()]
    print(
        tabulate(rows, headers=["what", "folders", "bytes"], disable_numparse=True, colalign=("left", *["right"] * 2))
    )
    if options.yes:
        in_use = f" {len(found) - len(removed)} came into use meanwhile." if len(found) > len(removed) else ""
        print(f"removed {counted(len(removed), 'folder')}.{in_use}")
    else:
        print("nothing was removed; add --yes to do it." if found else "nothing to free.")
    return 0


def _totals(found: Sequence[tuple[Garbage, int]]) -> dict[str, dict[str, Any]]:
    """Number of folders and their bytes by category, and in all."""
    totals = {}
    for category in (*CATEGORIES, "all"):
        sizes = [size for item, size in found if category in (item.category, "all")]
        totals[category] = {"count": len(sizes), "bytes": sum(sizes)}
    return totals
