"""The command line, killed in the middle of a submission: `python dying_submitter.py MOMENT ARGUMENTS`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from harness.cli.main import main
from harness.store.submissions import Ledger
from slurm import submission


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def and_then_die(function: Callable[..., Any]) -> Callable[..., None]:
    return lambda *arguments: (function(*arguments), die())[1]


MOMENTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "before-the-entry": (Ledger, "write", die),
    "before-sbatch": (submission, "sbatch", die),
    "before-the-id": (Ledger, "note_job", die),
    "between-arrays": (Ledger, "note_job", and_then_die(Ledger.note_job)),
}

if __name__ == "__main__":
    owner, name, instead = MOMENTS[sys.argv[1]]
    setattr(owner, name, instead)
    sys.exit(main(sys.argv[2:]))
