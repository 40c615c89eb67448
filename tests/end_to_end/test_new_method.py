"""The package of docs/new-method.md: written from the page, installed for real, planned, run, tabulated and watched."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tutorial
from grid_world import ROOT
from tiny_world import ENCODER_WEIGHTS, grid_arguments

from harness.compression.mask import num_zeros
from harness.store.store import Store
from harness.studies.study import read_study
from harness.studies.verification import verified_records

KIND = "random-pruning:pruning"


class Installed(NamedTuple):
    """source: the package as the page has it. site: where it is installed. done: each command of the page as it ran."""

    source: Path
    site: Path

    def run(self, *words: str, path: Path | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, path or self.site)))}
        environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return subprocess.run(
            [sys.executable, "-P", "-m", *words], env=environment, cwd=cwd, capture_output=True, text=True, timeout=600
        )


def test_the_page_has_the_example_package_word_for_word() -> None:
    files = tutorial.files()
    there = {path.relative_to(tutorial.EXAMPLE).as_posix(): path for path in tutorial.EXAMPLE.rglob("*.*")}
    there = {
        name: path for name, path in there.items() if "__pycache__" not in name and not path.name.startswith("code_")
    }
    assert files.keys() == there.keys()
    for name, path in there.items():
        assert files[name] == path.read_text(encoding="utf-8"), name
    assert sum(len(text.splitlines()) for text in files.values()) <= 120


def test_the_pages_commands_are_those_that_are_run_below() -> None:
    assert [" ".join(command.split()[:4]) for command in tutorial.commands()] == [
        "python -m harness.testing random_pruning:METHOD",
        "pip install --no-deps --no-build-isolation",
        "harness ls methods random-pruning",
        "harness grid --methods dense,random-pruning",
        "harness tables --study quick",
    ]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("new-method")
    made = Installed(tutorial.write_package(folder / "source"), folder / "site")
    record, install, *_ = tutorial.commands()
    recorded = made.run(*shlex.split(record)[2:], path=made.source)
    assert recorded.returncode == 0, recorded.stderr
    done = made.run(*shlex.split(install)[:-1], "--target", str(made.site), str(made.source), path=made.source)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.slow
def test_it_is_found_and_can_be_used(installed: Installed) -> None:
    *_, check, _, _ = tutorial.commands()
    done = installed.run(*shlex.split(check), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"name": "random-pruning", "package": "random-pruning 1.0", "problem": None}]


@pytest.mark.slow
def test_the_grid_of_the_page_is_planned(installed: Installed, tmp_path: Path) -> None:
    *_, grid, _ = tutorial.commands()
    done = installed.run(*shlex.split(grid), "--dry-run", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    # quick: one model, 3 tasks, 3 seeds, 2 sparsities: 9 dense cells and 18 of the method; seed 0 of dense teaches.
    assert found["counts"]["cells"] == 27
    assert found["counts"]["stages"][KIND] == 18
    assert found["counts"]["stages"]["dense"] == 9


@pytest.mark.slow
def test_it_is_run_and_tabulated_on_the_tiny_setup(installed: Installed, tiny: Any, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    grid = grid_arguments(tiny.model, tiny.data, store)
    grid += ["--methods", "random-pruning", "--tasks", "sst2", "--sparsities", "0.5", "--quantization", "none,int8"]
    grid += ["--set", f"{KIND}.epochs=2", "--executor", "local", "--workers", "1"]
    done = installed.run("harness", *grid)
    assert done.returncode == 0, done.stderr
    study = read_study(Store(store), "slice")
    records = verified_records(study.plan, Store(store))
    (record,) = (record for record in records.values() if record["kind"] == KIND)
    # Every matrix has its own count: 8 of 32 x 32 and 4 of 32 x 64, all even.
    assert record["result"]["sparsity"]["encoder_zeros"] == num_zeros(0.5, ENCODER_WEIGHTS)
    assert record["provenance"]["kind_version"] == 1
    assert "locked 12 of 12 encoder matrices" in record["result"]["did"]
    tables = installed.run("harness", "tables", "--store", str(store))
    assert tables.returncode == 0, tables.stderr
    assert tables.stdout.count("random-pruning") >= 2


@pytest.mark.slow
def test_its_own_tests_pass_and_its_source_is_watched(installed: Installed, tmp_path: Path) -> None:
    words = ["pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", "--import-mode=importlib"]
    tests = str(installed.source / "test_random_pruning.py")
    done = installed.run(*words, tests, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    stage = installed.site / "random_pruning" / "stage.py"
    before = stage.read_text(encoding="utf-8")
    try:
        stage.write_text(before.replace("] = 0.0", "] = -0.0"), encoding="utf-8")
        changed = installed.run(*words, tests, "-k", "source", cwd=tmp_path)
    finally:
        stage.write_text(before, encoding="utf-8")
    assert changed.returncode == 1
    assert "changed: random_pruning.stage:zero_at_random" in changed.stdout
    assert "raise the version of random-pruning:pruning where it is declared" in changed.stdout
