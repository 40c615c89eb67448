"""Records name the source that computed a kind of another package; a page tells two sources of one version apart."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from grid_world import Ran, World

import harness
from harness.planning import method_entry_points
from harness.planning.kinds import KINDS
from harness.planning.method_registry import find_method
from harness.store.store import Store
from harness.studies.study import read_study
from harness.studies.verification import verified_records
from harness.worker import source_state
from harness.worker.code_versions import own_source

DECLARATION = """
from harness.plugin import Method, StageKind

KIND = StageKind(name="acme:lab", version=3, run="acme_source.stage:run", recipe={}, work="training",
                 identity=("model", "task", "sparsity", "seed"))

def stages(chain):
    return chain.fine_tuning(KIND, start=chain.pretrained_model(), sparsity=chain.cell.sparsity)

METHOD = Method(name="acme", title="Acme", stages=stages, kinds=(KIND,), sparse=True, transfer_kd="no", note="n")
"""
STAGE = '''
"""What it does."""
from acme_source.constants import FACTOR
from harness.stages.context import StageResult

def run(context):
    (context.artifact / "config.json").touch()
    (context.artifact / "model.safetensors").write_text(str(FACTOR))
    return StageResult(metrics={}, did=["ran"], details={"training": {"tokens_seen": 1}})
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site" / "acme_source"
    folder.mkdir(parents=True)
    for name, text in (("__init__", DECLARATION), ("stage", STAGE), ("constants", "FACTOR = 1\n"), ("unused", "")):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(method_entry_points, "distributions", lambda: iter(()))
    as_new_process(monkeypatch)
    return folder


def as_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_state, "_OWNED", {})
    method_entry_points.packaged_methods.cache_clear()
    method_entry_points.load_method.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_source"]:
        monkeypatch.delitem(sys.modules, name)


def test_the_source_is_what_the_kind_uses_of_its_package_without_wording(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source() -> str | None:
        as_new_process(monkeypatch)
        return own_source(find_method("acme_source:METHOD").method.kinds[0])

    before = source()
    assert before is not None
    (package / "unused.py").write_text("x = 1\n")
    (package / "stage.py").write_text(STAGE.replace("What it does.", "Other words."))
    assert source() == before
    (package / "constants.py").write_text("FACTOR = 2\n")
    assert source() not in (None, before)
    kind = find_method("acme_source:METHOD").method.kinds[0]
    (package / "stage.py").unlink()
    as_new_process(monkeypatch)
    assert own_source(kind) is None
    assert own_source(KINDS["transfer"]) is None


@pytest.mark.parametrize("edit", [True, False])
def test_two_sources_under_one_version_are_told_on_the_page(
    package: Path,
    run_harness: Callable[[Sequence[str]], Ran],
    world: World,
    fakes: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    edit: bool,
) -> None:
    grid = world.grid("--methods", "acme_source:METHOD", "--tasks", "sst2", "--sparsities", "0.5")
    assert run_harness([*grid, "--seeds", "0"]).code == 0
    as_new_process(monkeypatch)
    if edit:
        (package / "constants.py").write_text("FACTOR = 2\n")
    assert run_harness([*grid, "--seeds", "0,1"]).code == 0
    store = Store(world.store)
    records = verified_records(read_study(store, "slice").plan, store).values()
    sources = [record["provenance"].get("kind_source") for record in records if record["kind"] == "acme:lab"]
    assert (len(sources), len(set(sources))) == (2, 2 if edit else 1)
    assert not any("kind_source" in record["provenance"] for record in records if record["kind"] == "evaluation")
    told = "- acme:lab: its stages were computed by 2 different sources under version 3, so rows of it may not compare"
    assert (told in harness.tables(world.store)) is edit
