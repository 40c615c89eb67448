"""`harness doctor`: what this machine has, what each thing enables, and the next move where one is missing."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from harness.doctor.checks import all_checks, is_able
from harness.doctor.environment import read_environment


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 the basics to run something here are there, 3 they are not."""
    checks = all_checks(read_environment(Path(options.store), online=options.online))
    able = is_able(checks)
    if options.json:
        print(json.dumps({"able": able, "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        print(*checks, sep="\n")
        counts = Counter(check.state for check in checks)
        verdict = "the basics are there" if able else "mend the problems first"
        print(f"{counts['ok']} ok, {counts['note']} to note, {counts['problem']} problems: {verdict}.")
    return 0 if able else 3
