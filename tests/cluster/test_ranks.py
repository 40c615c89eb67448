"""A stage that is trained by a process on each of two nodes of a real SLURM: to its end, and when something fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cluster_grid import ClusterGrid

from slurm.devcluster.cluster import Cluster

DENSE = "dense tiny sst2 seed 0"
ONE = ("--methods", "dense", "--tasks", "sst2")
TWO_NODES = {"time": 6, "work.training": {"nodes": 2, "tasks": 1, "cpus": 2}}
PATIENCE_S = 240.0  # two processes import torch, on one machine


@pytest.fixture
def make_real(cluster: Cluster, tiny: Any, tmp_path: Any) -> Callable[..., ClusterGrid]:
    import tiny_world

    inputs = ("--models", f"tiny={tiny.model}", "--data", str(tiny.data))
    settings = [word for key, value in tiny_world.SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return lambda **keys: ClusterGrid(cluster, tmp_path, (*inputs, *ONE, *settings), {**TWO_NODES, **keys})


def begun(make_real: Callable[..., ClusterGrid], slow: float) -> tuple[ClusterGrid, str]:
    """A grid whose dense stage is being trained, and the stage."""
    grid = make_real()
    grid.act("--real", f"dense=slow:{slow}")
    grid.grid()
    dense = grid.id_of(DENSE)
    grid.wait(lambda: bool(grid.store.stage(dense).attempts()) and grid.progress(dense) != "", PATIENCE_S)
    return grid, dense


def ended(grid: ClusterGrid, dense: str, *outcomes: str) -> None:
    grid.act("--real")
    grid.wait_until_empty(PATIENCE_S)
    assert grid.outcomes(dense) == list(outcomes)
    told = grid.cluster.job(grid.job_of(dense))
    assert (told["JobState"], told["NumNodes"]) == ("COMPLETED", "2")
    training = grid.store.stage(dense).read_record()["result"]["training"]
    assert training["ranks"] == 2
    assert not ranks_of(grid), "a rank outlived its task"


def ranks_of(grid: ClusterGrid) -> dict[str, list[int]]:
    """The processes of ranks other than 0, by node; without the srun that started them."""

    def is_rank(command: str) -> bool:
        return "harness.worker.rank" in command and "srun" not in command

    found = {
        node: [each.pid for each in grid.cluster.processes(node) if is_rank(each.command)] for node in ("n1", "n2")
    }
    return {node: pids for node, pids in found.items() if pids}


def test_a_stage_is_trained_on_two_nodes_at_once(make_real: Any) -> None:
    grid = make_real()
    grid.act("--real")
    grid.grid()
    dense = grid.id_of(DENSE)
    ended(grid, dense, "done")
    first, other = grid.last(dense).host, {"n1": "n2", "n2": "n1"}[grid.last(dense).host]
    assert first != other
    assert f"rank 1 of 2 on {other}" in grid.log(dense)
    assert grid.states()["evaluation of " + DENSE] == "done"


def test_after_a_rank_was_killed_the_task_goes_on(make_real: Any) -> None:
    grid, dense = begun(make_real, 0.3)
    ((_, (rank,)),) = ranks_of(grid).items()
    grid.kill(rank)
    ended(grid, dense, "killed", "done")
    first, last = grid.store.stage(dense).attempts()
    assert "another rank of this stage is gone" in first.message
    assert (first.restart, last.restart) == (0, 0), "the task itself was not started again"


def test_ahead_of_the_limit_all_ranks_stop_with_a_checkpoint(make_real: Any) -> None:
    grid, dense = begun(make_real, 0.3)
    grid.cluster.run("scancel", "--signal=USR2", grid.job_of(dense))
    grid.wait(lambda: grid.store.stage(dense).attempts()[0].outcome is not None, PATIENCE_S)
    kept = grid.store.stage(dense).attempts()[0].checkpoint
    ended(grid, dense, "time-limit", "done")
    assert kept != ""
    assert f"resuming from {kept}" in grid.log(dense)


def test_a_requeued_task_goes_on_with_its_ranks(make_real: Any) -> None:
    grid, dense = begun(make_real, 0.3)
    grid.cluster.run("scontrol", "requeue", grid.job_of(dense))
    ended(grid, dense, "interrupted", "done")
    assert grid.store.stage(dense).attempts()[0].checkpoint != ""
