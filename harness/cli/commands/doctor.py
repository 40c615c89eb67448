"""`harness doctor`: what this machine has, what each thing enables, and the next move for what is missing."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.doctor.checks import all_checks, is_able
from harness.doctor.environment import read_environment
from harness.store.store import Store
from harness.wording import counted

if TYPE_CHECKING:
    from slurm.preview import BatchFile


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 this machine can run something, 3 a check is a problem, or SLURM refuses a profile.

    Raises UsageError for a profile that cannot be read.
    """
    store = Path(options.store)
    files = _batch_files(store, options.profile) if options.profile is not None else []
    checks = all_checks(read_environment(store, online=options.online))
    refused = [file.profile.place for file in files if file.tested.accepted is False]
    able = is_able(checks) and not refused
    if options.json:
        tried = {"batch_files": {file.profile.name: file.as_json() for file in files}} if files else {}
        print(json.dumps({"able": able, "checks": [asdict(check) for check in checks], **tried}, indent=1))
    else:
        for file in files:
            print(f"{file.as_text()}\n")
        print(*checks, sep="\n")
        counts = Counter(check.state for check in checks)
        verdict = "this machine can run grids" if able else "solve the problems first"
        if refused and is_able(checks):
            verdict = f"SLURM refuses the batch file of {', '.join(refused)}"
        notes, problems = counted(counts["note"], "note"), counted(counts["problem"], "problem")
        print(f"{counts['ok']} ok, {notes}, {problems}: {verdict}.")
    return 0 if able else 3


def _batch_files(store: Path, profile: str) -> list[BatchFile]:
    from slurm.preview import tried_profiles
    from slurm.profiles import load_profiles

    return tried_profiles(Store(store), load_profiles(profile))
