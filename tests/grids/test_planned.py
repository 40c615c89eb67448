"""What a planned grid notes about itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from grid_world import Ran, World, of_kind, plan

from harness.execution.hardware import Machine

Run = Callable[[Sequence[str]], Ran]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.grids.planned.this_machine", lambda: Machine(gpus=(), cores=2))


@pytest.mark.usefixtures("two_cores")
def test_more_threads_than_cores_are_noted_and_are_no_error(run_harness: Run, world: World) -> None:
    words = world.grid("--dry-run", "--methods", "dense", "--tasks", "sst2")
    assert "cores" not in run_harness([*words, "--set", "common.threads=2"]).err
    done = run_harness([*words, "--set", "common.threads=3"])
    assert done.code == 0
    assert "note: 2 stages with 3 threads, and this machine has 2 cores: " in done.err  # the training, its evaluation


@pytest.mark.parametrize(("threads", "code"), [("1024", 0), ("1025", 2), ("10000", 2), ("0", 2)])
def test_threads_that_no_machine_has_are_refused(run_harness: Run, world: World, threads: str, code: int) -> None:
    done = run_harness(world.grid("--dry-run", "--tasks", "sst2", "--set", f"common.threads={threads}"))
    assert done.code == code
    assert (f"--set common.threads={threads}: {threads}: expected a number in (0, 1024]." in done.err) == (code == 2)


def _edit_stage(tree: dict[str, Any]) -> None:
    (dense,) = (fields for fields in tree["stages"].values() if fields["kind"] == "dense")
    dense["parameters"]["epochs"] = 9.0


def _edit_cell(tree: dict[str, Any]) -> None:
    tree["cells"][0]["sparsity"] = 0.5


def _edit_recipe(tree: dict[str, Any]) -> None:
    tree["recipe"]["settings"]["dense.epochs"][0] = 77.0


def _drop_stage(tree: dict[str, Any]) -> None:
    tree["stages"].popitem()


@pytest.mark.parametrize("edit", [_edit_stage, _edit_cell, _edit_recipe, _drop_stage])
def test_a_dry_run_refuses_the_study_that_the_run_refuses(
    run_harness: Run, world: World, edit: Callable[[dict[str, Any]], None]
) -> None:
    words = world.grid("--methods", "dense", "--tasks", "sst2", "--seeds", "0")
    assert run_harness(words).code == 0
    path = world.store / "studies" / "slice.json"
    tree = json.loads(path.read_text())
    edit(tree)
    path.write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n")
    for more in (["--dry-run"], ["--dry-run", "--json"], []):
        done = run_harness([*words, *more])
        assert done.code == 1, more
        assert "Move it away and give its grid's command again: finished stages stay finished." in done.out + done.err
        assert "to run" not in done.out
    assert run_harness(world.reading("tables")).code == 1


def test_the_bound_of_threads_is_in_no_identity() -> None:
    """As it was before there was one."""
    (stage,) = of_kind(plan("common.threads=4", methods=["dense"], tasks=["sst2"], seeds=[0]), "dense")
    assert stage == "0dc84042688437e14df8e707f386ba77"
