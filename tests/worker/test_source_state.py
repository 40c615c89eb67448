"""A process whose source changes under it publishes nothing more; a touch, or what does not compute, is let be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from grid_world import HERE, ROOT

from harness.worker import source_state
from harness.worker.source_state import SourceState, watched_files

# Runs a plan on fakes from a copy of the package; the first stage does to the copy what the test says.
DRIVER = """
import sys
from pathlib import Path
import harness
import fake_stages
from grid_world import plan
from harness.execution.executors import run_in_process
from harness.planning.kinds import KINDS
from harness.store.store import Store
from harness.stages.context import Resources, Sources

package, store = Path(harness.__file__).parent, Store(Path(sys.argv[1]))
assert package == Path(sys.argv[1]).parent / "copy" / "harness"
KINDS.update(fake_stages.FAKE_KINDS)

def act(context):
    {action}

fake_stages.ACTIONS["{kind}"] = act
planned = plan(tasks=["sst2"], methods=["prune-ofa-no-kd"])
outcome = run_in_process(planned, store, Sources(models={{}}, data=None), Resources(), lambda line: None)
for stage_id, spec in planned.stages.items():
    for attempt in store.stage(stage_id).attempts():
        print(spec.kind, store.stage(stage_id).has_record(), attempt.outcome, attempt.message, sep="|")
"""


def drive(folder: Path, action: str, kind: str = "corpus") -> list[list[str]]:
    """kind, whether it has a record, outcome and message of every attempt."""
    copy = folder / "copy"
    for package in ("harness", "methods"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-P", "-c", DRIVER.format(action=action, kind=kind), str(folder / "runs")],
        env={**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{HERE}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [line.split("|") for line in done.stdout.splitlines()]


EDIT = "with (package / 'compression' / 'mask.py').open('a') as file: file.write('# more')"


def test_a_stage_after_a_change_fails_and_says_to_start_again(tmp_path: Path) -> None:
    first, second = drive(tmp_path, EDIT)
    # The running stage had its modules in memory; its record is right.
    assert first == ["corpus", "True", "done", ""]
    message = "the source of harness.compression.mask changed since this worker started; start it again."
    assert second == ["pairs", "False", "code", message]


def test_a_module_that_changed_before_its_first_import_fails_the_stage_that_imported_it(tmp_path: Path) -> None:
    (only,) = drive(tmp_path, f"{EDIT}\n    sys.modules['harness.compression.mask'] = sys")  # as an import does
    assert only[:3] == ["corpus", "False", "code"]
    assert "harness.compression.mask changed since this worker started" in only[3]


@pytest.mark.parametrize(
    "action",
    [
        "(package / 'compression' / 'mask.py').touch()",
        "(package / 'study.py').write_text('# planning')",
        "path = package / 'tasks.py'; text = path.read_text(); path.write_text(text + '#'); path.write_text(text)",
    ],
    ids=["touched", "does not compute", "put back"],
)
def test_what_is_no_other_source_is_let_be(tmp_path: Path, action: str) -> None:
    attempts = drive(tmp_path, action)
    assert [attempt[0] for attempt in attempts] == [
        "corpus",
        "pairs",
        "teacher_preparation",
        "student_pruning",
        "transfer",
        "evaluation",
    ]
    assert {attempt[2] for attempt in attempts} == {"done"}


def test_what_computes_and_the_worker_are_watched() -> None:
    files = watched_files()
    assert {
        "harness.worker.run",
        "harness.inputs.models",
        "harness.metrics.squad.squad",
        "harness.inputs.data_sources",
    } <= files.keys()
    assert not files.keys() & {"harness.cli.main", "harness.studies.study", "harness.cli.commands.grid"}
    assert all(path.is_file() for path in files.values())


# -- one file, by hand


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text("x = 1\n")
    return path


def test_a_change_of_the_same_size_and_a_loss_are_seen(file: Path) -> None:
    state = SourceState({"m": file})
    assert state.changed() == []
    status = file.stat()
    file.write_text("x = 2\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert state.changed() == ["m"]
    file.unlink()
    assert state.changed() == ["m"]


def test_a_file_that_changed_before_the_first_check_is_not_trusted(file: Path) -> None:
    """Its content at the start was never seen."""
    state = SourceState({"m": file})
    os.utime(file, ns=(0, 1))
    assert state.changed() == ["m"]
    assert state.changed() == ["m"]


def test_the_package_of_a_methods_own_kind_is_watched_from_its_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "acme_watched"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "stage.py").write_text("CONSTANT = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source_state, "_OWNED", {})
    source_state.watch("acme_watched.stage:run")
    source_state.watch("harness.stages.fine_tuning:dense")
    source_state.check_source()
    (package / "stage.py").write_text("CONSTANT = 20\n")
    with pytest.raises(source_state.SourceChanged, match=r"the source of acme_watched\.stage changed"):
        source_state.check_source()
    source_state.watch("acme_watched.stage:run")  # a second stage does not take the change for the start
    with pytest.raises(source_state.SourceChanged):
        source_state.check_source()
