"""What is printed to be done next can be pasted into a shell, and is true of the verb that prints it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from grid_world import Ran, World

from harness.store.store import Store
from harness.studies.study import read_study

Run = Callable[[list[str]], Ran]


def test_printed_commands_can_be_pasted_whatever_the_store_is_called(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    store = world.folder / "my runs; $(x)"
    words = [*world.grid("--tasks", "sst2", "--methods", "dense"), "--store", str(store)]

    def fail(context: object) -> None:
        raise RuntimeError("weights exploded")

    def pasted(text: str, begin: str, end: str = "\n") -> Ran:
        line = f"{begin}{text.partition(begin)[2].partition(end)[0]}"
        first, *rest = shlex.split(line)
        assert first == "harness"
        assert str(store) in rest
        return run_harness(rest)

    fakes.ACTIONS["dense"] = fail
    assert "weights exploded" in pasted(run_harness(words).out, "harness logs").out.splitlines()[0]
    fakes.ACTIONS.clear()
    run_harness(["cancel", "evaluation", "--store", str(store)])
    assert pasted(run_harness(words).out, "harness retry", " clears").code == 0
    assert pasted(run_harness(words).out, "harness tables").code == 0
    path = Store(store).stage(one_of(store, "evaluation")).record_path
    path.write_text(path.read_text().replace("0.5", "0.9"))
    assert pasted(run_harness(["tables", "--store", str(store)]).err, "harness invalidate").code == 0


def one_of(store: Path, kind: str) -> str:
    (stage_id,) = (i for i, spec in read_study(Store(store), "slice").plan.stages.items() if spec.kind == kind)
    return stage_id


def test_a_command_on_a_stage_can_be_pasted_where_the_store_has_several_studies(run_harness: Run, world: World) -> None:
    for study in ("one", "two"):
        assert run_harness(world.grid("--tasks", "sst2", "--methods", "dense", "--study", study)).code == 0
    stage_id = next(iter(read_study(Store(world.store), "two").plan.stages))
    path = Store(world.store).stage(stage_id).record_path
    path.write_text(path.read_text().replace('"attempt": 1', '"attempt": 2'))
    printed = run_harness(world.reading("tables", "--study", "two")).err.partition("harness ")[2]
    done = run_harness([*shlex.split(printed), "--yes"])
    assert (done.code, "2 records moved" in done.out) == (0, True)
    for what in ("dense", "f" * 32):
        refused = run_harness(world.reading("invalidate", what))
        assert (refused.code, "holds several studies: one, two. Name one with --study" in refused.err) == (2, True)


def test_commands_leave_out_the_store_that_is_looked_in_anyway(
    run_harness: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)
    words = world.grid("--tasks", "sst2", "--methods", "dense")
    words[words.index("--store") + 1] = "runs"
    assert run_harness(words).out.splitlines()[-1] == "next: harness tables --study slice"
    assert run_harness(["tables", "--study", "slice"]).code == 0


def test_fetch_of_nothing_says_so(run_harness: Run) -> None:
    done = run_harness(["fetch", "--preset", "quick"])
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "nothing to fetch: the models (tiny-narrow) are generated or installed, and the data are "
        "synthetic, not the hub's.\n"
    )


def test_several_problems_say_what_was_not_done_by_the_verb(run_harness: Run, world: World, fakes: ModuleType) -> None:
    grid = world.grid("--tasks", "sst2", "--methods", "dense", "--seeds", "0,1")
    run_harness(grid)
    refused = run_harness([*grid, "--seeds", "x", "--tasks", "nothing"])
    assert "problems; nothing was started:" in refused.err
    leases = [Store(world.store).stage(i).acquire_lease() for i in read_study(Store(world.store), "slice").plan.stages]
    assert None not in leases
    busy = run_harness(world.reading("invalidate", "dense", "--yes"))
    assert busy.code == 2
    assert busy.err.startswith("4 problems; nothing was changed:")
    assert busy.err.count("stop it with harness cancel ") == busy.err.count(f" --store {world.store}.") == 4


@pytest.mark.parametrize("where", ["study", "sparse-from"])
def test_a_name_that_no_file_can_have_is_refused_when_it_is_read(run_harness: Run, world: World, where: str) -> None:
    name = "x" * 300
    value = name if where == "study" else f"{name}={world.folder / 'model'}"
    for words in (world.grid(f"--{where}", value), world.grid(f"--{where}", value, "--dry-run")):
        done = run_harness(words)
        assert done.code == 2
        assert f"{name!r}" in done.err
        assert "at most 100 letters" in done.err
    assert not world.store.exists()
    fits = run_harness(world.grid("--tasks", "sst2", "--methods", "dense", "--study", "x" * 100))
    assert fits.code == 0
