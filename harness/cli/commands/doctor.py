"""`harness doctor`: what this machine has, what each thing enables, and the next move for what is missing."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from harness.doctor.checks import all_checks, is_able
from harness.doctor.environment import read_environment
from harness.wording import counted


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 this machine can run something, 3 a check is a problem."""
    checks = all_checks(read_environment(Path(options.store), online=options.online))
    able = is_able(checks)
    if options.json:
        print(json.dumps({"able": able, "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        print(*checks, sep="\n")
        counts = Counter(check.state for check in checks)
        verdict = "this machine can run grids" if able else "solve the problems first"
        notes, problems = counted(counts["note"], "note"), counted(counts["problem"], "problem")
        print(f"{counts['ok']} ok, {notes}, {problems}: {verdict}.")
    return 0 if able else 3
