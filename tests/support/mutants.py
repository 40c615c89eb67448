"""Whether the tests notice a fault: one line of the source is changed in a copy, and the tests named for it must fail.

    make mutants
    python tests/support/mutants.py [--only NAME ..]

The faults are in mutants.toml beside this file, a table each: its name, the file, the text `before` that occurs once in
it, the text `after` that takes its place, what goes wrong (`what`), and the ids of the tests that must turn red
(`tests`, pytest's; one red test of them is enough). All of them are run once without a fault, and must be green.

Exit codes: 0 every fault was killed, 1 one survived, 2 the list is wrong or a test is red without a fault.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = Path(__file__).resolve().parent
FILE = SUPPORT / "mutants.toml"
NOT_COPIED = ("results/", ".ci/")  # large, and no test of a fault reads them
SECONDS = 300  # a fault may make an endless loop: a test that ends by no other way has noticed it


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A change of the source that a test must notice."""

    name: str
    what: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


class FaultyList(Exception):
    """problems: everything that is wrong with a list of faults, a sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def parse_faults(text: str) -> list[Fault]:
    """The faults of a list. Raises FaultyList, with every problem, for what is no such list."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FaultyList([f"not TOML: {error}"]) from None
    names = [field.name for field in fields(Fault)]
    faults, problems, seen = [], [], set()
    for number, table in enumerate(tables.get("fault", []), start=1):
        label = f"fault {number} ({table.get('name', 'without a name')})"
        missing = [name for name in names if not table.get(name) and name != "after"]
        strange = sorted(table.keys() - {*names})
        if missing or strange or "after" not in table:
            missing += [] if "after" in table else ["after"]
            problems.append(f"{label}: missing: {', '.join(missing) or '-'}; unknown: {', '.join(strange) or '-'}.")
            continue
        if table["name"] in seen:
            problems.append(f"{label}: the name is taken. Give each fault its own.")
        seen.add(table["name"])
        if table["before"] == table["after"]:
            problems.append(f"{label}: before and after are the same.")
        faults.append(Fault(**{**table, "tests": tuple(table["tests"])}))
    if not faults and not problems:
        problems.append("no [[fault]] in the list.")
    if problems:
        raise FaultyList(problems)
    return faults


def misfits(faults: Iterable[Fault], root: Path) -> list[str]:
    """What keeps a fault from being planted in the source under `root`, or its tests from being found: sentences.

    A test is looked for as a function of its file; whether pytest finds it as well is seen when it is run.
    """
    problems = []
    for fault in faults:
        path = root / fault.file
        if not path.is_file():
            problems.append(f"{fault.name}: no file {fault.file}.")
        elif (found := path.read_text(encoding="utf-8").count(fault.before)) != 1:
            problems.append(
                f"{fault.name}: {found} times in {fault.file}, expected once: {fault.before!r}. "
                + ("Give more of the lines around it." if found else "The source changed: write the fault anew.")
            )
        for test in fault.tests:
            file, _, function = test.partition("::")
            source = root / file
            name = function.rpartition("::")[2].partition("[")[0]
            if not function or not source.is_file() or f"def {name}(" not in source.read_text(encoding="utf-8"):
                problems.append(f"{fault.name}: no test {test}.")
    return problems


def copy_source(to: Path) -> None:
    """The working tree's tracked files, as they are now, and those that are new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, to / name
        if source.is_file() and not name.startswith(NOT_COPIED):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


@contextmanager
def planted(fault: Fault, root: Path) -> Iterator[None]:
    """The fault is in the source under `root` while the block runs."""
    path = root / fault.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(fault.before, fault.after), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(source, encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """How a run of pytest ended: its exit code, and the tests that failed or the end of what it printed."""

    code: int
    told: str


def run_tests(tests: Sequence[str], root: Path) -> Outcome:
    """pytest on these tests of the copy, until the first that fails, in a process forked from this one.

    Forked, because the libraries take longer to import than most tests to run; this process has them (`preload`), and
    nothing of the project. The child imports the copy's source, and fails where it finds another.
    """
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            _pytest_in_child(tests, root, printed.fileno())
        code = _exit_code(child, SECONDS)
        printed.seek(0)
        lines = printed.read().decode(errors="replace").splitlines()
    if code is None:
        return Outcome(1, f"not done after {SECONDS} s")
    failed = [line.split()[1].rpartition("::")[2] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return Outcome(code, ", ".join(failed) or "\n".join(lines[-15:]))


def _pytest_in_child(tests: Sequence[str], root: Path, printed: int) -> NoReturn:
    """Never returns: ends the process with pytest's exit code, or 70 for another source than the copy's."""
    code = 70
    try:
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.chdir(root)
        sys.path[:] = [str(root), *(path for path in sys.path if Path(path or ".").resolve() not in (ROOT, SUPPORT))]
        os.environ.update({"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"})
        sys.dont_write_bytecode = True  # compiled files are told apart by second and size, and faults often have both
        sys.modules.pop("mutants", None)
        import pytest

        options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-x", "-q", "--no-header", "--tb=line"]
        code = int(pytest.main([*options, *tests]))
        for name in ("harness", "methods"):
            file = getattr(sys.modules.get(name), "__file__", None)
            if file is not None and not Path(file).is_relative_to(root):
                print(f"{name} was imported from {file}, not from the copy")
                code = 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_code(child: int, seconds: float) -> int | None:
    """The child's exit code once it ended; None: it had not after so long, and was killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def preload() -> None:
    """Import what the tests need of other projects, once for all faults; nothing that starts a thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in ("torch", "datasets", "evaluate", "sklearn.metrics", "transformers"):
        importlib.import_module(name)
    for name in ("Trainer", "BertForPreTraining", "DistilBertForMaskedLM", "AutoTokenizer"):
        getattr(importlib.import_module("transformers"), name)


def report(faults: Sequence[Fault], root: Path) -> int:
    """Run every fault, print how each ended, and return the exit code."""
    every = sorted({test for fault in faults for test in fault.tests})
    print(f"{len(every)} tests without a fault ..", flush=True)
    clean = run_tests(every, root)
    if clean.code:
        print(f"red without a fault, so that nothing can be said: {clean.told}", file=sys.stderr)
        return 2
    survived, width = [], max(len(fault.name) for fault in faults)
    for fault in faults:
        started = time.monotonic()
        with planted(fault, root):
            outcome = run_tests(fault.tests, root)
        killed = outcome.code == 1
        if not killed:
            survived.append(fault.name)
        verdict = f"killed by {outcome.told}" if killed else f"SURVIVED (pytest: {outcome.code}) {outcome.told}"
        print(f"{fault.name:{width}}  {time.monotonic() - started:4.0f} s  {verdict}", flush=True)
    print(f"{len(faults) - len(survived)} of {len(faults)} faults killed" + "".join(f"\n  {name}" for name in survived))
    return 1 if survived else 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="plant each fault of the list in a copy and run its tests")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults alone")
    wanted = parser.parse_args(arguments).only
    try:
        faults = parse_faults(FILE.read_text(encoding="utf-8"))
        if unknown := {*(wanted or ())} - {fault.name for fault in faults}:
            raise FaultyList([f"no fault {name!r}." for name in sorted(unknown)])
        faults = [fault for fault in faults if not wanted or fault.name in wanted]
        if problems := misfits(faults, ROOT):
            raise FaultyList(problems)
    except FaultyList as error:
        print(error, file=sys.stderr)
        return 2
    preload()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_source(Path(folder))
        return report(faults, Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
