"""The built wheel, installed into an environment of its own and used from a folder with misleading names.

Nothing is downloaded: the wheel is built with the setuptools that is here and installed without its dependencies, which
the new environment finds through a .pth file. That file also leaves this checkout's own editable installation behind.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_world import STUDY, grid_arguments

import harness

pytestmark = pytest.mark.slow
ROOT = Path(harness.__file__).parents[1]
ROOMS = ("harness", "methods", "paper_tables", "slurm")


class Installed(NamedTuple):
    """folder: where the user stands; it holds folders named like packages of ours that raise when imported."""

    wheel: Path
    bin: Path
    folder: Path

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return _run([str(self.bin / words[0]), *words[1:]], cwd or self.folder)


def _run(command: list[str], cwd: Path, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    left_out = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV")
    variables = {name: value for name, value in os.environ.items() if name not in left_out}
    variables |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **(more or {})}
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=1200)


EXAMPLE = Path(__file__).parents[1] / "support" / "example_method"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for room in ("tests", "results"):  # they stand in a checkout, and must not be taken along
        (source / room).mkdir()
        (source / room / "__init__.py").write_text("")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    built = _run([*pip, "wheel", "--no-build-isolation", *offline, "--wheel-dir", str(folder), str(source)], folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    made = _run([sys.executable, "-m", "venv", "--without-pip", str(folder / "environment")], folder)
    assert made.returncode == 0, made.stderr
    where = folder / "environment" / "bin"
    done = _run([*pip, "--python", str(where / "python"), "install", *offline, str(wheel)], folder)
    assert done.returncode == 0, done.stderr
    (packages,) = (folder / "environment" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    user = folder / "user"
    for room in ROOMS:
        (user / room).mkdir(parents=True)
        (user / room / "__init__.py").write_text(f"raise RuntimeError('the folder {room} of the user was imported')\n")
    return Installed(wheel, where, user)


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(installed: Installed) -> None:
    packed = {name for name in zipfile.ZipFile(installed.wheel).namelist() if ".dist-info/" not in name}
    there = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert packed == there
    assert {"equivalents.toml", "presets/paper.toml"} <= {name.removeprefix("harness/planning/") for name in packed}
    assert "paper_tables/numbers/reported.csv" in packed


def test_what_is_imported_is_what_was_installed(installed: Installed) -> None:
    code = "import harness, methods, paper_tables, slurm; print(harness.__file__, methods.__file__, slurm.__file__)"
    done = installed.run("python", "-P", "-c", code)
    assert done.returncode == 0, done.stderr
    assert all(Path(word).is_relative_to(installed.bin.parent) for word in done.stdout.split())


def test_a_grid_runs_from_a_folder_of_misleading_names(installed: Installed, tiny: tuple[Path, Path]) -> None:
    model, data = tiny
    words = grid_arguments(model, data, Path("runs"), dense__epochs=1.0)
    words[words.index("--executor") + 1] = "local"
    words += ["--tasks", "sst2", "--methods", "dense", "--workers", "1"]
    done = installed.run("harness", *words)
    assert done.returncode == 0, done.stderr
    assert "2 stages done, 0 failed, 0 blocked." in done.stdout
    tables = installed.run("harness", "tables", "--study", STUDY)
    assert tables.returncode == 0, tables.stderr
    assert "dense" in tables.stdout
    record = json.loads(next((installed.folder / "runs" / "records").rglob("*.json")).read_text())
    assert record["provenance"]["commit"] is None  # what is installed has no commit


def test_the_demo_runs_from_there_with_nothing_given_but_its_name(installed: Installed) -> None:
    """Preset, world and encoders are in the wheel: a grid of every stage kind, with far too few steps."""
    words = ["grid", "--preset", "quick", "--models", "tiny-narrow", "--tasks", "sst2", "--seeds", "0"]
    words += ["--methods", "dense,finetune-pruning,prune-ofa", "--sparsities", "0.85"]
    words += ["--quantization", "none,int8", "--store", "demo"]
    short = {"teacher_preparation.steps": 3, "student_pruning.steps": 8, "common.evaluation_pairs": 16}
    short |= {"task.sst2.train_examples": 256}
    words += [word for key, value in short.items() for word in ("--set", f"{key}={value}")]
    done = installed.run("harness", *words)
    assert done.returncode == 0, done.stderr
    # Corpus, pairs, two of pre-training; dense, pruned and transferred; each of these quantized; six evaluations.
    assert "16 stages done, 0 failed, 0 blocked." in done.stdout
    drawn = installed.run("harness", "plots", "--store", "demo", "--out", "figures")
    assert drawn.returncode == 0, drawn.stderr
    assert (installed.folder / "figures" / "quick-tiny-narrow.png").stat().st_size > 10_000
    reported = installed.run("harness", "report", "--store", "demo")
    assert (reported.returncode, reported.stdout) == (0, "quick-report.html\n"), reported.stderr
    assert (installed.folder / "quick-report.html").stat().st_size > 50_000  # with its script and style


def test_a_method_of_another_package_runs_beside_the_wheel(
    installed: Installed, tiny: tuple[Path, Path], tmp_path: Path
) -> None:
    """The example of docs/new-method.md, installed by its entry point: listed, checked, run by workers, tabulated."""
    source = shutil.copytree(EXAMPLE, tmp_path / "example")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(installed.bin / "python")]
    words = ["install", "--no-deps", "--no-index", "--no-build-isolation", str(source)]
    done = _run([*pip, *words], tmp_path)
    assert done.returncode == 0, done.stderr
    checked = installed.run("harness", "ls", "methods", "random-pruning", "--check")
    assert checked.returncode == 0, checked.stdout
    model, data = tiny
    store = tmp_path / "runs"
    words = grid_arguments(model, data, store, dense__epochs=1.0, **{"random-pruning:pruning__epochs": 1.0})
    words[words.index("--executor") + 1] = "local"
    words += ["--tasks", "sst2", "--methods", "random-pruning", "--sparsities", "0.85", "--workers", "1"]
    done = installed.run("harness", *words)
    assert done.returncode == 0, done.stderr
    assert "3 stages done, 0 failed, 0 blocked." in done.stdout  # the teacher, the pruning, its evaluation
    tables = installed.run("harness", "tables", "--store", str(store))
    assert tables.returncode == 0, tables.stderr
    assert "random-pruning" in tables.stdout
    gone = _run([*pip, "uninstall", "--yes", "random-pruning"], tmp_path)  # the other tests list what the wheel has
    assert gone.returncode == 0, gone.stderr
    shown = installed.run("harness", "show", "sparsity=0.85,task=sst2", "--store", str(store))  # without the package
    # floor(0.85 * 1024) = 870 of 1,024 and 1,740 of 2,048: 84.96 % counted zeros
    assert "84.96% of the encoder's weights" in shown.stdout, shown.stderr


@pytest.mark.parametrize("words", [["ls", "presets"], ["ls", "presets", "paper"], ["ls", "methods"], ["--help"]])
def test_the_lists_are_the_checkouts(installed: Installed, words: list[str]) -> None:
    done = installed.run("harness", *words)
    assert done.returncode == 0, done.stderr
    here = _run([sys.executable, "-P", "-m", "harness", *words], ROOT, {"PYTHONPATH": str(ROOT)})
    assert done.stdout == here.stdout


def test_doctor_compares_with_the_wheels_own_metadata(installed: Installed) -> None:
    done = installed.run("harness", "doctor", "--json")
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["packages"]["state"] == "ok"
    assert checks["source"]["found"] == "installed, not a git checkout"
    assert "tested" not in checks


def test_a_notebook_in_such_a_folder_is_told_what_shadows_ours(installed: Installed, tiny: tuple[Path, Path]) -> None:
    """Without -P, as a notebook's Python, the folder one stands in comes first."""
    for name in ("harness", "paper_tables"):
        shutil.rmtree(installed.folder / name, ignore_errors=True)
    (installed.folder / "methods" / "__init__.py").write_text("")
    model, data = tiny
    asked = f"models='tiny={model}', preset='reduced', tasks='sst2', data={str(data)!r}"
    code = f"import harness; harness.plan_grid({asked})"
    done = installed.run("python", "-c", code)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("harness.errors.UsageError: ")
    assert f"{installed.folder / 'methods'} hides the package methods of the harness" in last
    assert "start Python with -P or from another folder" in last
