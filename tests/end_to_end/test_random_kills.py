"""kill -9 of the driver and its workers at random moments of a real (tiny) run, then the plain command again.

Each trial must end with the same records and bit-equal metrics as an undisturbed run, redo no finished stage and need
no flag. HARNESS_KILL_TRIALS=20 makes twenty trials; five by default. The moments are drawn from a seed of the trial.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_world

from harness.processes import process_start
from harness.store import Store
from harness.study import read_study

TRIALS = int(os.environ.get("HARNESS_KILL_TRIALS", "5"))
KILLS_PER_TRIAL = 2


def command(world: Any, store: Path) -> list[str]:
    arguments = tiny_world.grid_arguments(world.model, world.data, store, student_pruning__steps=60)
    options = ["--tasks", "sst2", "--quantization", "none,int8", "--executor", "local", "--workers", "2"]
    return [sys.executable, "-P", "-m", "harness.cli", *arguments, *options, "--resource", "checkpoint_minutes=0"]


def start(world: Any, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(world, store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def results(store: Path) -> dict[str, Any]:
    """What must not depend on how the run went: results and artifact digests, without clocks."""
    opened = Store(store)
    found = {}
    for stage_id in read_study(opened, tiny_world.STUDY).plan.stages:
        record = opened.read_record(stage_id)
        record["result"].get("training", {}).pop("seconds", None)
        found[stage_id] = (record["kind"], record["result"], record["artifact"])
    return found


def finished(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.glob("records/*/*.json")}


def live_workers(store: Path) -> set[int]:
    """Processes of this machine that hold a stage: those of the last attempts that did not say how they ended."""
    opened = Store(store)
    last = [opened.attempts(folder.name)[-1] for folder in store.glob("attempts/*") if opened.attempts(folder.name)]
    return {a.process for a in last if a.outcome is None and process_start(a.process) == a.process_started}


def kill_everything(process: subprocess.Popen[bytes], store: Path) -> int:
    """The driver first, then every worker at a stage, all with SIGKILL; returns how many workers."""
    process.kill()
    workers = live_workers(store)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    process.wait()
    return len(workers)


@pytest.fixture(scope="module")
def undisturbed(world: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """Results of a run in peace, and its length in seconds."""
    store = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    subprocess.run(command(world, store), check=True, capture_output=True, timeout=600)
    return results(store), time.monotonic() - began


@pytest.mark.slow
@pytest.mark.oracle("O45")
@pytest.mark.parametrize("trial", range(TRIALS))
def test_killed_at_random_moments_a_run_ends_as_an_undisturbed_one(
    world: Any, undisturbed: tuple[dict[str, Any], float], tmp_path: Path, trial: int
) -> None:
    expected, seconds = undisturbed
    draw = random.Random(trial)
    told = []
    for _ in range(KILLS_PER_TRIAL):
        process = start(world, tmp_path)
        moment = draw.uniform(0.1, 0.9) * seconds / KILLS_PER_TRIAL
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            workers = kill_everything(process, tmp_path)
            told.append(f"after {moment:.1f} s, {workers} workers, {len(finished(tmp_path))} stages done")
    before = finished(tmp_path)
    done = subprocess.run(command(world, tmp_path), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a finished stage was done again"
    assert results(tmp_path) == expected
    store = Store(tmp_path)
    endings = [[a.outcome for a in store.attempts(stage_id)] for stage_id in expected]
    assert all(outcomes.count("done") == 1 for outcomes in endings)
    print(f"trial {trial}: {'; '.join(told)}; tries of a stage: {max(map(len, endings))}")
