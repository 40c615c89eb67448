"""Drivers started together on one store run no stage twice (on stages without torch)."""

import subprocess
import sys

import pytest
from grid_world import HERE, World, environment

from harness.store.store import Store
from harness.studies.study import read_study

DRIVERS, GRIDS = 8, 5  # with each executor


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "codes"), [("local", {0}), ("debug", {0, 4})])
def test_8_drivers_at_once_on_5_grids_run_no_stage_twice(world: World, executor: str, codes: set[int]) -> None:
    """Each grid has a seed of its own, so that grids share stages. Local drivers wait for each other and all end well;
    a debug driver that finds the rest taken ends with 4."""
    store = Store(world.store)
    for seed in range(GRIDS):
        arguments = world.grid("--tasks", "sst2", "--seeds", str(seed), "--executor", executor)
        command = [sys.executable, "-P", str(HERE / "fake_stages.py"), "--", *arguments]
        started = [
            subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(DRIVERS)
        ]
        ended = [(process.communicate(timeout=300)[1], process.returncode) for process in started]
        assert {code for _, code in ended} <= codes, ended
        if executor == "debug":
            last = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
            assert last.returncode == 0, last.stderr
    stages = read_study(store, "slice").plan.stages
    assert len(stages) > GRIDS * 8
    tries = {stage_id: [attempt.outcome for attempt in store.stage(stage_id).attempts()] for stage_id in stages}
    assert all(outcomes == ["done"] for outcomes in tries.values()), {i: o for i, o in tries.items() if o != ["done"]}
