"""One plan through the executors debug, local and slurm: the same records, attempts and states in the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grid_world import HERE, ROOT, Ran, World, make_world
from stub_cluster import StubCluster

from harness.execution import local
from harness.store.intervals import OFTEN
from harness.store.processes import ALLOCATION
from harness.store.store import Store
from harness.studies.state import read_states
from harness.studies.study import read_study
from harness.worker.stop_request import StopRequest
from slurm.task import run_task

Run = Callable[[Sequence[str]], Ran]
# What a kind of stage does wrong.
MISDEEDS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "a stage that fails with stages downstream": ("student_pruning=fail",),
    "an evaluation that fails": ("evaluation=fail",),
    "a stage that leaves the process": ("dense=leave",),
}


def content(store: Store) -> dict[str, Any]:
    """What must not depend on who ran it: records but for when and where, how attempts ended, states."""
    plan = read_study(store, "slice").plan
    records = {}
    for stage_id in store.finished(plan.stages):
        record = dict(store.stage(stage_id).read_record())
        records[stage_id] = {
            key: value
            for key, value in record.items()
            if key not in ("times", "provenance", "digest", "parent_digests")  # of records that differ in these
        }
    attempts = {i: [attempt.outcome for attempt in store.stage(i).attempts()] for i in plan.stages}
    return {"records": records, "attempts": attempts, "states": read_states(plan, store)}


@pytest.fixture
def through(
    run_harness: Run, stub: StubCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """through(executor, misdeeds) -> the content of a store that the executor filled."""
    import fake_stages

    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{HERE}")
    profile = tmp_path / "p.toml"
    profile.write_text("[default]\ntime = 20\n")
    (tmp_path / "world").mkdir()
    world = make_world(tmp_path / "world")

    def fill(executor: str, misdeeds: Sequence[str]) -> dict[str, Any]:
        own = World(world.folder)
        words = own.grid("--tasks", "sst2", "--seeds", "0")
        words[words.index("debug")] = executor
        store = Store(tmp_path / executor)
        words[words.index("--store") + 1] = str(store.root)
        monkeypatch.setattr(local, "WORKER_COMMAND", fake_stages.worker_command(*misdeeds))
        fake_stages.ACTIONS.update({w.partition("=")[0]: fake_stages.WORDS[w.partition("=")[2]] for w in misdeeds})
        run_harness([*words, *(("--profile", str(profile)) if executor == "slurm" else ())])
        if executor == "slurm":
            _run_tasks(store)
        return content(store)

    def _run_tasks(store: Store) -> None:
        """As SLURM would: a task once those that it waits for have ended with 0; others are cancelled with it."""
        codes: dict[str, int] = {}
        for name, task in sorted(stub.tasks.items(), key=lambda item: (int(item[1]["job"]), item[1]["index"])):
            stub.remove(name)
            if any(codes.get(parent) != 0 for parent in task["after"]):
                continue
            monkeypatch.setenv(ALLOCATION, name)
            codes[f"{task['job']}_{task['index']}"] = run_task(
                store, task["name"], task["index"], StopRequest(), intervals=replace(OFTEN, cancel=0.05), patience=0.2
            )
            monkeypatch.delenv(ALLOCATION)

    return fill


@pytest.mark.parametrize("name", MISDEEDS)
def test_the_same_plan_leaves_the_same_store(through: Callable[..., dict[str, Any]], name: str) -> None:
    debug, local_, slurm = (through(executor, MISDEEDS[name]) for executor in ("debug", "local", "slurm"))
    assert debug == local_
    assert local_ == slurm
    assert debug["records"]
    if name == "nothing":
        assert set(debug["states"].values()) == {"done"}
