"""docs/faq.md: every message that it quotes is printed, by a case that a reader may meet."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import fake_stages
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filled_stores import finish, make_study
from grid_world import ROOT, Ran, World

from harness.cli.main import main
from harness.errors import UsageError
from harness.execution import local
from harness.planning import method_registry
from harness.runtimes.onnx_graph import require_packages
from harness.store.store import Store
from harness.studies.study import read_study
from slurm import task

PAGE = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^### (.+?)\n\n```text\n(.+?)\n```$", PAGE, re.MULTILINE | re.DOTALL))
SMALL = ("--methods", "dense", "--tasks", "sst2", "--seeds", "0")


class Here(NamedTuple):
    """What a case has: it prints, or returns what is printed elsewhere."""

    world: World
    fakes: ModuleType
    monkeypatch: pytest.MonkeyPatch

    def grid(self, *more: str) -> int:
        return main(self.world.grid(*SMALL, *more))

    def reading(self, *words: str) -> int:
        return main(self.world.reading(*words))

    def fails_by(self, error: Exception) -> None:
        def fail(context: object) -> None:
            raise error

        self.fakes.ACTIONS["dense"] = fail

    def table(self, name: str, **columns: list[object]) -> None:
        pq.write_table(pa.table(columns), self.world.folder / "data" / f"{name}.parquet")

    @property
    def store(self) -> Store:
        return Store(self.world.store)

    def stage_of(self, kind: str) -> str:
        plan = read_study(self.store, "slice").plan
        return next(stage_id for stage_id, spec in plan.stages.items() if spec.kind == kind)


Case = Callable[[Here], str | int | None]
CASES: dict[str, Case] = {}


def case(heading: str) -> Callable[[Case], Case]:
    def noted(function: Case) -> Case:
        CASES[heading] = function
        return function

    return noted


@case("The installation takes gigabytes")
def _(here: Here) -> int:
    return main(["doctor"])


@case("A format needs a package")
def _(here: Here) -> str:
    here.monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError) as refused:
        require_packages("onnx", "onnxruntime")
    return str(refused.value)


@case("A folder hides ours")
def _(here: Here) -> str:
    (here.world.folder / "methods").mkdir()
    (here.world.folder / "methods" / "__init__.py").touch()
    here.monkeypatch.setattr("importlib.util.find_spec", lambda name: Hiding(here.world.folder / "methods"))
    method_registry._check_not_hidden.cache_clear()
    with pytest.raises(UsageError) as refused:
        method_registry._check_not_hidden("methods")
    method_registry._check_not_hidden.cache_clear()
    return str(refused.value)


class Hiding:
    """What Python finds where the folder of a notebook comes first."""

    def __init__(self, folder: Path) -> None:
        self.submodule_search_locations = [str(folder)]
        self.origin = None


@case("A name is not known")
def _(here: Here) -> int:
    return here.grid("--methods", "prune-off")


@case("A setting is not known")
def _(here: Here) -> int:
    return here.grid("--set", "dense.epoch=2")


@case("A sparsity in percent")
def _(here: Here) -> int:
    return here.grid("--methods", "prune-ofa", "--sparsities", "90")


@case("More than a day of a GPU")
def _(here: Here) -> int:
    return here.grid("--set", "dense.epochs=1e15")


@case("The study has another recipe")
def _(here: Here) -> int:
    assert here.grid() == 0
    return here.grid("--set", "dense.epochs=2")


@case("It is not in the hub's cache")
def _(here: Here) -> int:
    here.monkeypatch.setenv("HF_HUB_CACHE", str(here.world.folder / "hub"))
    return here.grid("--models", "bert-base")


@case("The columns of a data file")
def _(here: Here) -> int:
    here.table("sst2/train", text=["a"], label=[0])
    return here.grid()


@case("A file of data is missing")
def _(here: Here) -> int:
    (here.world.folder / "data" / "sst2" / "validation.parquet").unlink()
    return here.grid()


@case("A label that the task does not have")
def _(here: Here) -> int:
    here.table("sst2/train", sentence=["a", "b"], label=[0, 2])
    return here.grid()


@case("The demo's encoders and my data")
def _(here: Here) -> int:
    return here.grid("--models", "tiny-narrow")


@case("A stage failed")
def _(here: Here) -> int:
    here.fails_by(ValueError("made to fail"))
    return here.grid()


@case("The disk is full")
def _(here: Here) -> int:
    here.fails_by(OSError(errno.ENOSPC, "No space left on device"))
    return here.grid()


@case("A stage is killed again and again")
def _(here: Here) -> int:
    here.monkeypatch.setattr(local, "WORKER_COMMAND", fake_stages.worker_command("dense=die"))
    return here.grid("--executor", "local", "--workers", "1")


@case("Another process is at a stage")
def _(here: Here) -> int:
    here.fails_by(ValueError("first"))
    here.grid()
    assert here.store.stage(here.stage_of("dense")).acquire_lease()
    return here.grid()


@case("Stages are cancelled")
def _(here: Here) -> int:
    here.fails_by(ValueError("first"))
    here.grid()
    here.reading("cancel", "dense")
    return here.grid()


@case("The source was changed")
def _(here: Here) -> None:
    task._refuse(here.store, [])


@case("A table ends with exit code 4")
def _(here: Here) -> int:
    here.fails_by(ValueError("first"))
    here.grid()
    code = here.reading("tables")
    assert code == 4
    return code


@case("The store has several studies")
def _(here: Here) -> int:
    for name in ("slice", "other"):
        here.grid("--study", name)
    return here.reading("tables")


@case("A record was changed")
def _(here: Here) -> int:
    here.grid()
    path = here.store.stage(here.stage_of("evaluation")).record_path
    path.write_text(path.read_text().replace("0.5", "0.9"))
    return here.reading("tables")


@case("The store is of another version")
def _(here: Here) -> int:
    here.grid()
    path = here.world.store / "studies" / "slice.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    return here.reading("tables")


@case("Two stores disagree")
def _(here: Here) -> int:
    for who, accuracy in (("ann", 0.25), ("eve", 0.75)):
        metrics = {"metrics": {"mlm_accuracy": accuracy, "mlm_correct": int(4 * accuracy), "mlm_positions": 4}}
        study = make_study(Path(who), seeds=(0,))
        finish(Path(who), study, who=who, result=lambda s, m=metrics: m if s.kind == "student_pruning" else {})
    return main(["merge", "ann", "eve", "--into", "both"])


@case("The gate has no file")
def _(here: Here) -> int:
    here.grid()
    return here.reading("check")


@case("A model is not kept")
def _(here: Here) -> int:
    here.grid()
    shutil.rmtree(here.store.stage(here.stage_of("dense")).artifact_path)
    return here.reading("export", "method=dense", "--out", "out")


def test_there_is_a_case_for_every_entry() -> None:
    headings = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert len(headings) >= 25
    assert headings == list(ENTRIES)  # each quotes one message, first of all
    assert set(headings) == set(CASES)


@pytest.mark.parametrize("heading", ENTRIES)
def test_what_the_page_quotes_is_printed(
    heading: str, world: World, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world.folder)
    told = CASES[heading](Here(world, fakes, monkeypatch))
    captured: Ran = Ran(0, *capsys.readouterr())
    printed = f"{told}\n{captured.out}\n{captured.err}"
    message = " ".join(ENTRIES[heading].split())  # on the page it is broken into lines
    pattern = ".*".join(re.escape(part) for part in message.split(".."))
    assert re.search(pattern, printed), printed
