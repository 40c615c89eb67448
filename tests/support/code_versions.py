"""The committed record of the source of the harness's own stage kinds.

As a program (`make code-versions`) it records the source of kinds that are new or whose version was raised. A kind
whose source changed under the same version is excused by its output alone: `make same-numbers BASE=REV` records it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.planning.kinds import KINDS
from harness.planning.method_registry import BUILT_IN, owned_kinds
from harness.worker.code_closure import project_tree
from harness.worker.code_versions import read_current, write_current

FILE = Path(__file__).with_name("code_versions.toml")
WATCHED = {**KINDS, **owned_kinds(BUILT_IN)}  # the harness's own and those of its built-in methods


def save(proof: str = "") -> None:
    """Record the source as it is. Raises ValueError for a change without proof, or a version that went back."""
    write_current(FILE, read_current(project_tree(), WATCHED), proof)


def main(arguments: list[str]) -> int:
    argparse.ArgumentParser(description="record the source of new stage kinds and versions").parse_args(arguments)
    try:
        save()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
