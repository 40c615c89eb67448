"""What a grid says at its end of a store, a study or a record that somebody removed while it ran."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from grid_world import HERE, Ran, World, python

from harness.store.store import Store

Run = Callable[[list[str]], Ran]


@pytest.mark.parametrize("executor", ["debug", "local"])
@pytest.mark.parametrize("last", ["dense", "evaluation"])
def test_a_store_that_is_removed_while_a_grid_runs_is_a_failure_with_a_reason(
    world: World, executor: str, last: str
) -> None:
    """Removed in the last stage, or in one that another depends on."""
    words = world.grid("--tasks", "sst2", "--methods", "dense", "--executor", executor, "--workers", "1")
    done = python(str(HERE / "fake_stages.py"), f"{last}=remove_store", "--", *words)
    assert done.returncode == 1, done.stdout
    assert "next: harness tables" not in done.stdout
    *_, reason = done.stderr.splitlines()
    assert reason.startswith("error: ")
    assert str(world.store) in reason
    assert "removed or renamed" in reason
    assert "give the same command again" in reason
    assert "Traceback" not in done.stderr


def grid_in_which(action: str, world: World, executor: str) -> tuple[int, str]:
    """Exit code and standard error of a grid of three stages, the first of which (dense) does that."""
    words = world.grid("--tasks", "sst2", "--methods", "dense", "--executor", executor, "--workers", "1")
    done = python(str(HERE / "fake_stages.py"), f"dense={action}", "--", *words)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_removed_folder_of_leases_is_the_reason_and_nobody_took_the_stage(world: World) -> None:
    code, said = grid_in_which("remove_leases", world, "debug")
    assert code == 1
    (failed,) = (line for line in said.splitlines() if line.startswith("failed:"))
    assert f"{world.store / 'leases'} was removed or renamed while the stage ran" in failed
    assert "give the same command again" in failed
    assert "taken over" not in said
    assert grid_in_which("fail", world, "debug")[0] == 1, "nothing was published"


def test_worker_processes_run_a_stage_again_whose_lease_was_removed(world: World) -> None:
    code, said = grid_in_which("remove_once", world, "local")
    assert code == 0
    assert "taken over" not in said


@pytest.mark.parametrize("executor", ["debug", "local"])
def test_a_removed_folder_of_artifacts_is_the_reason_with_a_next_move(world: World, executor: str) -> None:
    code, said = grid_in_which("remove_artifacts", world, executor)
    assert code == 1
    (failed,) = (line for line in said.splitlines() if line.startswith("failed:"))
    assert f"{world.store / 'artifacts'} was removed or renamed while the stage ran" in failed
    assert "Bring it back and give the same command again" in failed
    assert "FileNotFoundError" not in said


@pytest.mark.parametrize("executor", ["debug", "local"])
def test_a_removed_folder_of_attempts_costs_no_result(world: World, executor: str) -> None:
    code, said = grid_in_which("remove_attempts", world, executor)
    assert (code, "taken over" in said) == (0, False)


def test_a_study_that_is_removed_while_its_grid_runs_is_a_failure_too(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    fakes.ACTIONS["evaluation"] = lambda context: (world.store / "studies" / "slice.json").unlink()
    done = run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    assert done.code == 1
    assert f"error: study 'slice' is gone ({world.store / 'studies' / 'slice.json'})" in done.err
    assert "next: " not in done.out


def test_what_is_invalidated_under_a_grid_that_does_not_look_again_is_said_at_its_end(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    words = world.grid("--tasks", "sst2", "--methods", "dense")

    def invalidate_the_first(context: object) -> None:
        (path,) = Store(world.store).records_path.glob("*/*.json")
        path.unlink()

    fakes.ACTIONS["evaluation"] = invalidate_the_first
    done = run_harness(words)
    assert done.code == 1
    assert "1 stage that this run finished has no record in" in done.err
