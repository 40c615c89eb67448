"""The committed record of the source of the harness's own stage kinds.

As a program (`make code-versions REASON="..."`) it records the source as it is. A kind whose source changed under the
same version needs the reason why no number did.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.planning.kinds import KINDS
from harness.worker.code_closure import project_tree
from harness.worker.code_versions import read_current, write_current

FILE = Path(__file__).with_name("code_versions.toml")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="record the source of every stage kind as it is")
    parser.add_argument("--reason", default="", help="why a source that changed under the same version gives the same")
    reason = parser.parse_args(arguments).reason
    try:
        write_current(FILE, read_current(project_tree(), KINDS), reason)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
