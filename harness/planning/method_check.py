"""Whether a method of another package can be used: its declaration is loaded in a process of its own.

What that code does there, hanging or leaving included, harms nobody else. As a program it is that process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

from harness.errors import UsageError
from harness.planning.method_entry_points import PackagedMethod
from harness.planning.method_registry import find_method, find_packaged

LIMIT_SECONDS = 60.0  # a declaration takes milliseconds; one that imports torch from a cold disk takes many seconds
# What a declaration must not import: planning and reading would pay for it.
HEAVY = ("torch", "transformers", "datasets", "accelerate", "evaluate")


def check_method(found: PackagedMethod, limit_seconds: float = LIMIT_SECONDS) -> str | None:
    """What is wrong with the method, in a sentence; None when it can be used."""
    if found.problem:
        return f"{found}: {found.problem}."
    command = [sys.executable, "-P", "-m", "harness.planning.method_check", found.name]
    # It looks for packages where this process does.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_seconds,
        )
    except subprocess.TimeoutExpired:
        return f"{found}: {found.target} was not loaded within {limit_seconds:g} seconds. Expected a plain declaration."
    if done.returncode or not done.stdout:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"{found}: loading {found.target} ended the process with code {done.returncode} ({last})."
    problem: str | None = json.loads(done.stdout)
    return problem


def loading_problem(name: str) -> str | None:
    """Loads the method in this process; what is wrong with it, or with what came along."""
    before = set(sys.modules)
    try:
        kinds = find_method(name).method.kinds
    except UsageError as error:
        return str(error)
    for kind in kinds:
        if not _is_there(module := kind.run.partition(":")[0]):
            return f"{find_packaged(name)}: stage kind {kind.name!r} is run by {kind.run}, and there is no {module}."
    heavy = [package for package in HEAVY if package in sys.modules and package not in before]
    if heavy:
        return (
            f"{find_packaged(name)}: its declaration imports {', '.join(heavy)}, which planning does without. Import "
            "it inside the functions that need it."
        )
    return None


def _is_there(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # a package above it is not there
        return False


def main(name: str) -> None:
    with os.fdopen(os.dup(1), "w") as answer:  # what the loaded code prints goes elsewhere
        os.dup2(2, 1)
        json.dump(loading_problem(name), answer)


if __name__ == "__main__":
    main(sys.argv[1])
