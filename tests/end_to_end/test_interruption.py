"""A run that is killed or asked to stop, and started again with the same command, ends as an undisturbed one.

What comes before the disturbed stage is taken from the undisturbed run's store.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import forked
import pytest
import tiny_world
from part_of_a_store import copy_without

from harness.store.store import Store
from harness.studies.study import read_study


def command(tiny: Any, store: Path) -> list[str]:
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, store, student_pruning__steps=60)
    options = ["--tasks", "sst2", "--methods", "prune-ofa-no-kd", "--quantization", "int8", "--resource"]
    return ["-m", "harness", *arguments, *options, "checkpoint_minutes=0"]


def results(store: Path) -> dict[str, Any]:
    """What must not depend on how the run went: results and artifact digests, without clocks."""
    found = {}
    opened = Store(store)
    for stage_id in read_study(opened, tiny_world.STUDY).plan.stages:
        record = opened.stage(stage_id).read_record()
        record["result"].get("training", {}).pop("seconds", None)
        found[stage_id] = (record["kind"], record["result"], record["artifact"])
    return found


def run_until(tiny: Any, store: Path, happened: Callable[[], bool], send: signal.Signals) -> int:
    """Start the grid, send a signal as soon as `happened`, and return the exit code."""
    process = forked.Forked(command(tiny, store), store.with_name("first.txt"))
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, f"the run ended with {process.poll()} before the moment came"
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.01)
    process.send_signal(send)
    return process.wait(timeout=120)


def run_on(tiny: Any, store: Path) -> str:
    """Give the same command again and return what it printed."""
    done = forked.run(command(tiny, store), store.with_name("again.txt"))
    assert done.poll() == 0, done.printed()
    return done.printed()


def checkpointed(store: Path, kind: str, steps: int) -> Callable[[], bool]:
    """True once a stage of this kind has a checkpoint at or after `steps`."""

    def look() -> bool:
        if not (store / "studies" / f"{tiny_world.STUDY}.json").is_file():
            return False
        opened = Store(store)
        stages = read_study(opened, tiny_world.STUDY).plan.stages
        found = [
            p
            for i, s in stages.items()
            if s.kind == kind
            for p in opened.stage(i).checkpoints_path.glob("checkpoint-*")
        ]
        return any(int(path.name.partition("-")[2]) >= steps for path in found)

    return look


class Undisturbed(NamedTuple):
    store: Path
    results: dict[str, Any]

    def up_to(self, kind: str, store: Path) -> Path:
        """A store in which everything is done but the stages of this kind and what depends on them."""
        copy_without(self.store, store, tiny_world.STUDY, kind)
        return store


@pytest.fixture(scope="module")
def undisturbed(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    store = tmp_path_factory.mktemp("undisturbed") / "runs"
    done = forked.run(command(tiny, store), store.with_name("printed.txt"))
    assert done.poll() == 0, done.printed()
    return Undisturbed(store, results(store))


@pytest.mark.slow
@pytest.mark.oracle("O45")
@pytest.mark.parametrize(
    ("kind", "steps"),
    [("teacher_preparation", 5), ("student_pruning", 12), ("student_pruning", 45), ("quantization", 3)],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(
    tiny: Any, undisturbed: Undisturbed, tmp_path: Path, kind: str, steps: int
) -> None:
    """kill -9 before, in and after the ramp and in QAT: the plain command again gives bit-equal results."""
    store = undisturbed.up_to(kind, tmp_path / "runs")
    assert run_until(tiny, store, checkpointed(store, kind, steps), signal.SIGKILL) == -signal.SIGKILL
    finished = {p: p.stat().st_mtime_ns for p in (store / "records").rglob("*.json")}
    assert "resuming from checkpoint-" in run_on(tiny, store)
    assert {p: p.stat().st_mtime_ns for p in finished} == finished, "a finished stage was done again"
    assert results(store) == undisturbed.results


@pytest.mark.slow
@pytest.mark.parametrize("send", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_leaves_a_checkpoint_and_exits_with_130(
    tiny: Any, undisturbed: Undisturbed, tmp_path: Path, send: signal.Signals
) -> None:
    folder = undisturbed.up_to("student_pruning", tmp_path / "runs")
    assert run_until(tiny, folder, checkpointed(folder, "student_pruning", 12), send) == 130
    store = Store(folder)
    stages = read_study(store, tiny_world.STUDY).plan.stages
    (stopped,) = [i for i, s in stages.items() if s.kind == "student_pruning"]
    assert [attempt.outcome for attempt in store.stage(stopped).attempts()] == ["interrupted"]
    run_on(tiny, folder)
    assert [attempt.outcome for attempt in store.stage(stopped).attempts()] == ["interrupted", "done"]
    assert results(folder) == undisturbed.results
    assert not any(os.scandir(folder / "checkpoints")), "checkpoints of finished stages are left behind"
