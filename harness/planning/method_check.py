"""Whether a method of another package can be used: in a process of its own it is loaded, and toy cells are planned.

What that code does there, hanging or leaving included, harms nobody else. As a program it is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product

from harness.errors import UsageError
from harness.planning.method_entry_points import PackagedMethod
from harness.planning.method_needs import StandIn, needs
from harness.planning.method_registry import FoundMethod, find_method
from harness.tasks import TASKS

LIMIT_SECONDS = 60.0  # a declaration takes milliseconds; one that imports torch from a cold disk takes many seconds
TOY_SPARSITIES = (0.1, 0.5, 0.85, 0.9, 0.95)
# What a declaration must not import: planning and reading would pay for it.
HEAVY = ("torch", "transformers", "datasets", "accelerate", "evaluate")


def check_method(found: PackagedMethod, limit_seconds: float = LIMIT_SECONDS) -> str | None:
    """What is wrong with the method, in a sentence; None when it can be used."""
    if found.problem:
        return f"{found}: {found.problem}."
    return _checked_apart(found.name, found.target, str(found), limit_seconds)


def check_target(target: str, limit_seconds: float = LIMIT_SECONDS) -> str | None:
    """The same of a method that is named by its place, package.module:METHOD."""
    return _checked_apart(target, target, f"method {target}", limit_seconds)


def _checked_apart(name: str, target: str, origin: str, limit_seconds: float) -> str | None:
    command = [sys.executable, "-P", "-m", "harness.planning.method_check", name]
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
        late = f"{target} was not loaded and planned within {limit_seconds:g} seconds"
        return f"{origin}: {late}. Expected a plain declaration."
    if done.returncode or not done.stdout:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"{origin}: loading {target} ended the process with code {done.returncode} ({last})."
    problem: str | None = json.loads(done.stdout)
    return problem


def loading_problem(name: str) -> str | None:
    """Loads the method in this process; what is wrong with it, or with what came along."""
    before = set(sys.modules)
    try:
        found = find_method(name)
        _plan_toy_cells(found)
    except UsageError as error:
        return str(error)
    heavy = [package for package in HEAVY if package in sys.modules and package not in before]
    if heavy:
        return (
            f"{found.origin}: its declaration imports {', '.join(heavy)}, which planning does without. Import "
            "it inside the functions that need it."
        )
    return None


def _plan_toy_cells(found: FoundMethod) -> None:
    """Raises UsageError for the first cell that cannot be planned, or that reads the corpus where `needs` says no."""
    method = found.method
    for released in (False, True):
        known = needs(method, released=released)
        cells = product(TASKS, method.quantization, TOY_SPARSITIES if method.sparse else (0.0,), (0, 1))
        for task, quantization, sparsity, pruning_seed in cells:
            stand_in = StandIn(method, released=released, name=found.origin)
            stand_in.add(task, quantization, sparsity=sparsity, pruning_seed=pruning_seed)
            if stand_in.reads_corpus and not known.corpus:
                raise UsageError(
                    f"{found.origin}: its stages read the corpus at sparsity {sparsity:g} and pruning seed "
                    f"{pruning_seed}, and not at {0.5:g} and 0, where a grid finds out what they need. Let all of its "
                    "cells read it, or none."
                )


def main(name: str) -> None:
    with os.fdopen(os.dup(1), "w") as answer:  # what the loaded code prints goes elsewhere
        os.dup2(2, 1)
        json.dump(loading_problem(name), answer)


if __name__ == "__main__":
    main(sys.argv[1])
