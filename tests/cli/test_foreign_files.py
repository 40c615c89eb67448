"""Files in a store that are not the store's: every verb passes them over, or names the one that is in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from grid_world import Ran, World

from harness.store.store import Store
from harness.studies.study import read_study, study_names

Run = Callable[[list[str]], Ran]
SMALL = ("--methods", "dense", "--tasks", "sst2")  # two stages: dense and its evaluation
FOLDERS = (".", "studies", "records", "attempts", "artifacts", "checkpoints", "leases", "invalidated", "workers")


@pytest.fixture
def ready(run_harness: Run, world: World) -> World:
    assert run_harness(world.grid(*SMALL)).code == 0
    return world


def every_verb(world: World) -> list[list[str]]:
    """A command of each verb that looks into a store, in an order in which all of them have something to do."""
    reading = world.reading
    return [
        *(reading("status"), reading("status", "--json"), reading("tables"), reading("logs", "dense")),
        *(reading("plots", "--out", str(world.folder / "figures")), reading("doctor"), reading("gc")),
        *(world.grid(*SMALL, "--dry-run"), world.grid(*SMALL), reading("invalidate", "dense")),
        *(reading("retry", "failed"), reading("gc", "--keep", "records", "--yes")),
        *(reading("invalidate", "dense", "--yes"), reading("cancel", "dense"), reading("retry", "cancelled")),
        *(world.grid(*SMALL), reading("status")),
    ]


@pytest.mark.parametrize("name", [".DS_Store", "._x.json", "notes", "ab", "study-", "1", "²", "quick copy.json"])
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_is_no_file_of_the_store_is_passed_over(run_harness: Run, ready: World, name: str, kind: str) -> None:
    folders = [ready.store / name for name in FOLDERS]
    (one,) = (ready.store / "leases").glob(f"{read_first(ready)}*")
    folders += [one, ready.store / "attempts" / read_first(ready), *(ready.store / "records").iterdir()]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        stray = folder / name
        if not stray.exists():
            plant(stray, kind)
    for words in every_verb(ready):
        done = run_harness(words)
        assert (done.code, words) == (0, words), done.err


def plant(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_bytes(b"\xff not the harness's\n")
    elif kind == "folder":
        path.mkdir()
        (path / "inside").write_text("x")
    else:
        path.symlink_to("nothing")


def read_first(world: World) -> str:
    return next(iter(read_study(Store(world.store), "slice").plan.stages))


@pytest.mark.parametrize("folder", ["records/..", "attempts", "artifacts", "checkpoints", "leases"])
def test_a_file_where_a_stage_has_its_folder_is_named_where_it_is_in_the_way(
    run_harness: Run, ready: World, folder: str
) -> None:
    stage_id = read_first(ready)
    place = ready.store / "records" / stage_id[:2] if folder == "records/.." else ready.store / folder / stage_id
    if place.exists():
        place.rename(ready.folder / "moved")
    place.write_text("x")
    other_answers = ("nothing to", "no attempt yet", "the artifact of")
    for words in every_verb(ready):
        done = run_harness(words)
        assert done.code in (0, 1, 2, 4), words
        if done.code in (1, 2):
            assert str(place) in done.err or any(answer in done.err for answer in other_answers), done.err


@pytest.mark.parametrize(
    "name", ["._slice.json", "slice copy.json", "slice (1).json", ".slice.json.ab12", "slice.JSON"]
)
def test_a_copy_beside_a_study_is_no_study(run_harness: Run, ready: World, name: str) -> None:
    studies = ready.store / "studies"
    (studies / name).write_bytes((studies / "slice.json").read_bytes())
    assert study_names(Store(ready.store)) == ["slice"]
    assert run_harness(ready.reading("status")).code == 0


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_a_study_that_cannot_be_read_is_named(run_harness: Run, ready: World, kind: str) -> None:
    path = ready.store / "studies" / "slice.json"
    path.rename(ready.folder / "moved.json")
    plant(path, kind)
    for verb in ("status", "tables", "gc"):
        done = run_harness(ready.reading(verb))
        assert (done.code, done.err.startswith(f"error: study {path} is damaged (")) == (1, True), done.err
    assert run_harness(ready.grid(*SMALL, "--dry-run")).code == 1
