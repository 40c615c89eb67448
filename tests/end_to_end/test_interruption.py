"""A run that is killed or asked to stop, and started again with the same command, ends as an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_world

from harness.store.store import Store
from harness.studies.study import read_study

KEPT_KINDS = ("corpus", "pairs", "teacher_preparation")


def command(tiny: Any, store: Path) -> list[str]:
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, store, student_pruning__steps=60)
    options = ["--tasks", "sst2", "--methods", "prune-ofa-no-kd", "--quantization", "int8", "--resource"]
    return [sys.executable, "-P", "-m", "harness", *arguments, *options, "checkpoint_minutes=0"]


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
    process = subprocess.Popen(command(tiny, store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, f"the run ended with {process.returncode} before the moment came"
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.01)
    process.send_signal(send)
    return process.wait(timeout=120)


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


@pytest.fixture(scope="module")
def undisturbed(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(tiny, store), check=True, capture_output=True, timeout=300)
    return results(store)


@pytest.mark.slow
@pytest.mark.oracle("O45")
@pytest.mark.parametrize(
    ("kind", "steps"),
    [("teacher_preparation", 5), ("student_pruning", 12), ("student_pruning", 45), ("quantization", 3)],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(
    tiny: Any, undisturbed: dict[str, Any], tmp_path: Path, kind: str, steps: int
) -> None:
    """kill -9 before, in and after the ramp and in QAT: the plain command again gives bit-equal results."""
    code = run_until(tiny, tmp_path, checkpointed(tmp_path, kind, steps), signal.SIGKILL)
    assert code == -signal.SIGKILL
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "records").rglob("*.json")}
    done = subprocess.run(command(tiny, tmp_path), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "resuming from checkpoint-" in done.stderr
    assert {p: p.stat().st_mtime_ns for p in finished} == finished, "a finished stage was done again"
    assert results(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("send", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_leaves_a_checkpoint_and_exits_with_130(
    tiny: Any, undisturbed: dict[str, Any], tmp_path: Path, send: signal.Signals
) -> None:
    assert run_until(tiny, tmp_path, checkpointed(tmp_path, "student_pruning", 12), send) == 130
    store = Store(tmp_path)
    stages = read_study(store, tiny_world.STUDY).plan.stages
    (stopped,) = [i for i, s in stages.items() if s.kind == "student_pruning"]
    assert [attempt.outcome for attempt in store.stage(stopped).attempts()] == ["interrupted"]
    done = subprocess.run(command(tiny, tmp_path), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert [attempt.outcome for attempt in store.stage(stopped).attempts()] == ["interrupted", "done"]
    assert results(tmp_path) == undisturbed
    assert not any(os.scandir(tmp_path / "checkpoints")), "checkpoints of finished stages are left behind"
