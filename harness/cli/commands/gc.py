"""`harness gc`: removes what nobody needs. Records, attempts and their logs are never removed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.errors import UsageError
from harness.store.store import Store
from harness.studies.garbage import CATEGORIES, Garbage, bytes_of, find_garbage, remove_garbage
from harness.studies.study import study_names
from harness.wording import counted


def run(options: argparse.Namespace) -> int:
    """Exit code 0; without --yes nothing is removed. Raises UsageError for a store without studies."""
    store = Store(Path(options.store))
    store.check_is_folder()
    if not study_names(store):
        raise UsageError(f"no study in {store.root}, so that all of it would be garbage. Name the store with --store.")
    found = [(item, bytes_of(item)) for item in find_garbage(store, options.keep)]
    removed = set(remove_garbage(store, options.keep, [item for item, _ in found])) if options.yes else set()
    totals = _totals([(item, size) for item, size in found if item in removed] if options.yes else found)
    if options.json:
        print(
            json.dumps(
                {
                    "keep": options.keep,
                    "acted": options.yes,
                    "categories": totals,
                    "folders": [_as_json(item, size) for item, size in found if not item.is_file],
                    "files": [_as_json(item, size) for item, size in found if item.is_file],
                    "removed": sorted(str(item.path) for item in removed),
                },
                indent=1,
            )
        )
        return 0
    rows = [[category, total["count"], f"{total['bytes']:,}"] for category, total in totals.items()]
    print(tabulate(rows, headers=["what", "number", "bytes"], disable_numparse=True, colalign=("left", *["right"] * 2)))
    if options.yes:
        in_use = f" {len(found) - len(removed)} came into use meanwhile." if len(found) > len(removed) else ""
        files = sum(item.is_file for item in removed)
        and_files = f" and {counted(files, 'file')} of old submissions" if files else ""
        print(f"removed {counted(len(removed) - files, 'folder')}{and_files}.{in_use}")
    else:
        print("nothing was removed; add --yes to do it." if found else "nothing to free.")
    return 0


def _as_json(item: Garbage, size: int) -> dict[str, Any]:
    """id: of a stage; of a file, the uuid of its submission."""
    return {"id": item.stage_id, "path": str(item.path), "category": item.category, "bytes": size}


def _totals(found: Sequence[tuple[Garbage, int]]) -> dict[str, dict[str, Any]]:
    """Number of folders or files and their bytes by category, and in all."""
    totals = {}
    for category in (*CATEGORIES, "all"):
        sizes = [size for item, size in found if category in (item.category, "all")]
        totals[category] = {"count": len(sizes), "bytes": sum(sizes)}
    return totals
