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
