"""A stage that counts as done and whose record is not sound: every verb gives one answer, and `invalidate` mends it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from grid_world import Ran, World

import harness
from harness.errors import StoreError
from harness.store.store import Store
from harness.studies.study import read_study

Run = Callable[[list[str]], Ran]
SMALL = ("--methods", "dense", "--tasks", "sst2")  # two stages: dense and its evaluation


def edit(path: Path, other: Path) -> None:
    path.write_text(path.read_text().replace('"attempt": 1', '"attempt": 2'))


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def be_a_folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def point_nowhere(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to("gone.json")


def point_to_itself(path: Path, other: Path) -> None:
    """As good as one that may not be read, for whoever runs the tests: root may read everything."""
    path.unlink()
    path.symlink_to(path.name)


def be_anothers(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def nest(path: Path, other: Path) -> None:
    """Deeper than a parser follows."""
    path.write_text("[" * 100_000)


DAMAGES = [edit, empty, be_a_folder, point_nowhere, point_to_itself, be_anothers, nest]


@pytest.fixture
def ready(run_harness: Run, world: World) -> World:
    assert run_harness(world.grid(*SMALL)).code == 0
    return world


def ends(world: World) -> tuple[str, str]:
    """The ids of dense and of its evaluation."""
    dense, evaluation = read_study(Store(world.store), "slice").plan.stages
    return dense, evaluation


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_verb_names_it_with_the_next_move_which_mends_it(
    run_harness: Run, ready: World, fakes: ModuleType, damage: Callable[[Path, Path], None]
) -> None:
    store, (dense, evaluation) = Store(ready.store), ends(ready)
    path = store.stage(evaluation).record_path
    damage(path, store.stage(dense).record_path)
    fakes.CALLS.clear()
    mend = f"harness invalidate {evaluation} --store {ready.store}"
    for words in (
        ready.reading("tables"),
        ready.reading("plots"),
        ready.reading("gc"),
        ready.grid(*SMALL, "--dry-run"),
        ready.grid(*SMALL, "--dry-run", "--json"),
        ready.grid(*SMALL),
        [*ready.grid(*SMALL), "--executor", "local"],
    ):
        done = run_harness(words)
        assert (done.code, words[0]) == (1, words[0]), done
        (line,) = done.err.splitlines()
        assert line.startswith(f"error: record {path} ")
        assert line.endswith(mend)
        assert "--json" in words or done.out == ""
    for read in (harness.records, harness.tables):
        with pytest.raises(StoreError, match=str(path)):
            read(ready.store)
    assert fakes.CALLS == []
    assert run_harness([*mend.split()[1:], "--yes"]).code == 0
    assert run_harness(ready.grid(*SMALL)).code == 0
    assert list(fakes.CALLS) == [evaluation]
    assert run_harness(ready.reading("tables")).code == 0


def test_a_stage_does_not_start_from_a_record_that_is_not_sound(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    """The record of the parent is changed after the grid looked at it, and before the child starts."""
    store = Store(world.store)

    def change_what_is_there(context: object) -> None:
        (path,) = store.records_path.glob("*/*.json")
        edit(path, path)

    fakes.ACTIONS["evaluation"] = lambda context: None
    assert run_harness(world.grid(*SMALL)).code == 0
    dense, evaluation = ends(world)
    assert run_harness(world.reading("invalidate", evaluation, "--yes")).code == 0
    fakes.ACTIONS["evaluation"] = change_what_is_there
    done = run_harness(world.grid(*SMALL))
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(f"error: record {store.stage(dense).record_path} was changed")
    assert "next: " not in done.out


def test_with_json_it_is_data(run_harness: Run, ready: World) -> None:
    _, evaluation = ends(ready)
    be_a_folder(Store(ready.store).stage(evaluation).record_path, Path(os.devnull))
    done = run_harness(ready.reading("tables", "--json"))
    (problem,) = json.loads(done.out)["problems"]
    assert (done.code, "cannot be read (Is a directory)" in problem["message"]) == (1, True)
