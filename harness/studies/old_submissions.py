"""Old submissions: those of which nothing is in the queue, nothing is left to do, and no file has changed for a day."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Set
from pathlib import Path

from harness.identity import STAGE_ID_HEX_DIGITS
from harness.store.processes import ALLOCATION, this_cluster
from harness.store.squeue import THE_QUEUE
from harness.store.store import Store
from harness.store.submissions import Submission, uuid_of

OLD_SECONDS = 86400.0
_FILE = re.compile(rf"([0-9a-f]{{{STAGE_ID_HEX_DIGITS}}})(?:\.json|\.job|\.sh|_\d+\.log)")


def files_of_old_submissions(store: Store, named: Set[str], finished: Set[str], clock: float) -> dict[str, list[Path]]:
    """uuid -> the files that may go, the entry last; of this user's on this cluster, and none where squeue is silent.

    named: the stages of all studies. clock: seconds since the epoch. The entry stays while a study names one of its
    stages, since `harness status --hours` reads it.
    """
    if os.environ.get(ALLOCATION):
        return {}
    files = _files(store.ledger.folder)
    old = [uuid for uuid, paths in files.items() if max(map(_changed, paths)) < clock - OLD_SECONDS]
    unfinished = named - finished
    over = [each for each in store.ledger.read_sound(old) if unfinished.isdisjoint(_stages(each))]
    over = [each for each in over if each.user == os.getuid()]
    if not over or not (queue := THE_QUEUE.queue()).answers:
        return {}
    queued = {uuid_of(task) for task in queue.tasks}
    found = {}
    for each in over:
        if each.uuid in queued or each.cluster != this_cluster():
            continue
        entry = store.ledger.entry_path(each.uuid)
        kept = [] if named.isdisjoint(_stages(each)) else [entry]
        if going := sorted(set(files[each.uuid]) - set(kept), key=lambda path: (path == entry, path)):
            found[each.uuid] = going
    return found


def _stages(submission: Submission) -> Set[str]:
    return {stage_id for stage_id, _ in submission.stages()}


def _files(folder: Path) -> dict[str, list[Path]]:
    """uuid -> all files of a submission."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := _FILE.fullmatch(path.name):
            found[match[1]].append(path)
    return found


def _changed(path: Path) -> float:
    """When a file last changed; never long ago where it is gone."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return float("inf")
