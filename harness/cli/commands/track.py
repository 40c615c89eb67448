"""`harness track`: the finished stages of a study, written to trackers; what is there already is not written again."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from harness.errors import Problems
from harness.grids.options import read_names
from harness.store.store import Store
from harness.studies.study import only_study, read_study
from harness.studies.verification import verified_records
from harness.tracking.behind import in_words, tracked
from harness.tracking.trackers import default_folder, track_problems


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every stage of the study is there, 1 a tracker failed, 4 some stages are not finished.

    Raises UsageError for what cannot be written to, StoreError when a record cannot be trusted.
    """
    store, problems = Store(Path(options.store)), Problems()
    names = read_names("to", ",".join(options.to), problems)
    folder = Path(options.out) if options.out else default_folder(store)
    problems.extend(track_problems(names, folder, of="to"))
    study = problems.attempt(lambda: read_study(store, options.study or only_study(store)), None, "study")
    problems.check()
    assert study is not None
    finished = len(verified_records(study.plan, store))
    with tracked(store, study.name, names, folder) as behind:
        pass
    assert behind is not None
    if options.json:
        found = [{"name": name, **asdict(told)} for name, told in behind.trackers.items()]
        stages = {"finished": finished, "total": len(study.plan.stages)}
        print(json.dumps({"study": study.name, "stages": stages, "trackers": found}, indent=1))
    else:
        for name, told in behind.trackers.items():
            print(in_words(name, told))
            if told.view:
                print(f"  to look at it: {told.view}")
    if any(told.reason is not None for told in behind.trackers.values()):
        return 1
    return 0 if finished == len(study.plan.stages) else 4
