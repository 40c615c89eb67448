"""A stop that is requested while a stage of any kind computes: it ends soon, and what it makes later is equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny_world

from harness.cli import main as cli
from harness.errors import Interrupted
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import FolderData
from harness.inputs.models import find_models
from harness.inputs.sparse_checkpoints import find_own
from harness.planning.kinds import KINDS
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.studies.study import read_study
from harness.worker import run as worker_run
from harness.worker.run import run_stage

# Kinds, and the tasks of those that read one: the data of a classification and of question answering are made apart.
CASES = [
    *[(kind, None) for kind in ("corpus", "pairs", "teacher_preparation", "student_pruning", "sparse_checkpoint")],
    *[(kind, task) for kind in ("dense", "teacher_logits", "quantization", "evaluation") for task in ("sst2", "squad")],
    *[("packing", task) for task in ("sst2", "squad")],
    *[(kind, "sst2") for kind in ("task_pruning", "transfer")],
]


class Ready(NamedTuple):
    store: Store
    stages: dict[str, StageSpec]
    sources: Any

    def stage(self, kind: str, task: str | None) -> StageSpec:
        found = (spec for spec in self.stages.values() if spec.kind == kind)
        return next(spec for spec in found if task is None or spec.parameters["task"] == task)


@pytest.fixture(scope="module")
def ready(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """A store in which stages of every kind are done."""
    root, hashes = tmp_path_factory.mktemp("stops"), ContentHashes()
    folder = tiny_world.make_sparse(tmp_path_factory.mktemp("sparse") / "mine", tiny.model, 0.7)
    arguments = tiny_world.grid_arguments(
        tiny.model, tiny.data, root, transfer__epochs=1, common__teacher_logits="stored"
    )
    arguments += ["--sparse-from", f"mine={folder}", "--methods", "prune-ofa,finetune-pruning"]
    assert cli.main([*arguments, "--tasks", "sst2,squad", "--quantization", "none,int8", "--measures", "packing"]) == 0
    store = Store(root)
    models = find_models([("tiny", tiny.model)], hashes).models
    own = find_own({"mine": folder}, models["tiny"], hashes, lambda name: False).found
    sources = Sources(
        models=models,
        data=FolderData(tiny.data),
        checkpoints={checkpoint.content_id: checkpoint for checkpoint in own.values()},
    )
    return Ready(store, read_study(store, tiny_world.STUDY).plan.stages, sources)


def beside(ready: Ready, spec: StageSpec, root: Path) -> Store:
    """A store in which nothing but the stage's parents is done."""
    again = Store(root)
    for parent in spec.parents.values():
        again.stage(parent).record_path.parent.mkdir(parents=True, exist_ok=True)
        again.stage(parent).record_path.write_bytes(ready.store.stage(parent).record_path.read_bytes())
        again.stage(parent).artifact_path.parent.mkdir(parents=True, exist_ok=True)
        again.stage(parent).artifact_path.symlink_to(ready.store.stage(parent).artifact_path)
    return again


class Polls:
    """A flag that is set from its `last`-th poll on, and counts."""

    def __init__(self, last: float = float("inf")) -> None:
        self.last, self.made = last, 0

    def __call__(self) -> bool:
        self.made += 1
        return self.made >= self.last


def test_every_kind_is_here() -> None:
    """But latency, which makes other numbers whenever it runs: tests/stages/test_latency.py."""
    assert {kind for kind, _ in CASES} == KINDS.keys() - {"latency"}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "task"), CASES)
def test_a_stop_ends_a_stage_of_any_kind_at_once_and_changes_nothing_of_what_it_makes(
    ready: Ready, tmp_path: Path, kind: str, task: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_run, "_check_artifact", lambda *_: None)  # which polls too: only the kind's own count
    spec = ready.stage(kind, task)

    def run(store: Store, polls: Polls) -> bool:
        return run_stage(spec, store, ready.sources, Resources(), polls)

    expected, counted = ready.store.stage(spec.stage_id).read_record(), Polls()
    run(beside(ready, spec, tmp_path / "undisturbed"), counted)
    assert counted.made >= 3, "a stage of any kind polls"
    store = beside(ready, spec, tmp_path / "stopped")
    stage = store.stage(spec.stage_id)
    for number, last in enumerate(sorted({1, 2, counted.made // 2}), start=1):
        polls = Polls(last)
        with pytest.raises(Interrupted, match=r"^stopped after .*\d.* .*\.$"):
            run(store, polls)
        assert polls.made <= last + 3, "it does next to nothing once it knows"
        attempt = stage.last_attempt()
        assert (attempt.number, attempt.outcome) == (number, "interrupted")
        assert attempt.message.startswith("stopped after ")
        assert not stage.has_record()
        assert not stage.has_artifact()
    assert run(store, Polls())
    record = stage.read_record()
    assert record["artifact"] == expected["artifact"]
    for name in ("metrics", "did"):
        assert record["result"][name] == expected["result"][name]
