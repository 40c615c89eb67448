"""kill -9 of the driver and its workers at random moments of a real (tiny) run, then the plain command again.

Every run must end with the same records and bit-equal metrics as an undisturbed one, redo no finished stage and need
no flag. Five moments by default; HARNESS_KILL_MOMENTS=20 asks for twenty.
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

from harness.store.processes import process_start
from harness.store.store import Store
from harness.studies.study import read_study

MOMENTS = int(os.environ.get("HARNESS_KILL_MOMENTS", "5"))


def command(tiny: Any, store: Path) -> list[str]:
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, store, student_pruning__steps=60)
    options = ["--tasks", "sst2", "--quantization", "none,int8", "--executor", "local", "--workers", "2"]
    return [sys.executable, "-P", "-m", "harness", *arguments, *options, "--resource", "checkpoint_minutes=0"]


def start(tiny: Any, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(tiny, store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def results(store: Path) -> dict[str, Any]:
    """What must not depend on how the run went: results and artifact digests, without clocks."""
    opened = Store(store)
    found = {}
    for stage_id in read_study(opened, tiny_world.STUDY).plan.stages:
        record = opened.stage(stage_id).read_record()
        record["result"].get("training", {}).pop("seconds", None)
        found[stage_id] = (record["kind"], record["result"], record["artifact"])
    return found


def finished(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.glob("records/*/*.json")}


def live_workers(store: Path) -> set[int]:
    """Processes of this machine that hold a stage: those of the last attempts that did not say how they ended."""
    opened = Store(store)
    last = [
        opened.stage(folder.name).last_attempt()
        for folder in store.glob("attempts/*")
        if opened.stage(folder.name).attempts()
    ]
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
def undisturbed(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """Results of a run in peace, and its length in seconds."""
    store = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    subprocess.run(command(tiny, store), check=True, capture_output=True, timeout=600)
    return results(store), time.monotonic() - began


@pytest.mark.slow
@pytest.mark.oracle("O45")
def test_killed_at_random_moments_a_run_ends_as_an_undisturbed_one(
    tiny: Any, undisturbed: tuple[dict[str, Any], float], tmp_path: Path
) -> None:
    """A run is killed and started again with the same command until it is done; then the next one, until all moments
    are used up. Every run that was killed ends as the undisturbed one."""
    expected, seconds = undisturbed
    draw = random.Random(0)
    kills, runs, most_tries = 0, 0, 0
    while kills < MOMENTS:
        runs += 1
        store = tmp_path / f"run-{runs}"
        before: dict[Path, int] = {}
        while kills < MOMENTS:
            process = start(tiny, store)
            moment = draw.uniform(0.02, 0.7) * seconds
            try:
                assert process.wait(timeout=moment) == 0
                break
            except subprocess.TimeoutExpired:
                workers = kill_everything(process, store)
                kills += 1
            after = finished(store)
            assert {path: after.get(path) for path in before} == before, "a finished stage was done again"
            before = after
            print(f"kill {kills} (run {runs}): after {moment:.1f} s, {workers} workers, {len(before)} stages done")
        done = subprocess.run(command(tiny, store), capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        after = finished(store)
        assert {path: after.get(path) for path in before} == before, "a finished stage was done again"
        assert results(store) == expected
        opened = Store(store)
        endings = [[attempt.outcome for attempt in opened.stage(stage_id).attempts()] for stage_id in expected]
        # A kill between a record and the last line of its attempt leaves that line out; twice done it is never.
        assert all(outcomes.count("done") <= 1 for outcomes in endings)
        most_tries = max(most_tries, *map(len, endings))
    print(f"{kills} kills in {runs} runs of {len(expected)} stages; most tries of one stage: {most_tries}")
