"""The Python interface: the same grids as the command line, records as a frame, and nothing imported too early."""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fake_stages import PERCENT, SHARE, fail, worker_command
from grid_world import ROOT, SLICE, Ran, World, files_below, of_kind, python, write_model

import harness
from harness.errors import UsageError
from harness.execution import local
from harness.execution.outcome import Outcome
from harness.store.store import Store
from harness.studies.study import read_study

Run = Callable[[list[str]], Ran]


def grid(world: World, **changed: Any) -> Any:
    told = {
        "models": {"tiny": world.folder / "model"},
        "preset": SLICE,
        "data": world.folder / "data",
        "store": world.store,
    }
    return harness.plan_grid(**{**told, **changed})


def test_importing_harness_imports_no_other_module_and_its_names_are_found_when_used() -> None:
    code = "import sys; before = set(sys.modules); import harness; new = set(sys.modules) - before; "
    code += "print(*{name for name in new if name.partition('.')[0] not in sys.stdlib_module_names}); "
    code += "harness.plan_grid; print('pandas' in sys.modules, 'torch' in sys.modules, *dir(harness))"
    imported, after = python("-c", code).stdout.splitlines()
    assert imported == "harness"
    assert after == "False False PlannedGrid __version__ load_model load_packed plan_grid records tables"


def test_no_public_name_hides_a_module_and_an_unknown_one_is_told() -> None:
    assert not set(harness.__all__) & {module.name for module in pkgutil.iter_modules(harness.__path__)}
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'recrods'"):
        harness.recrods  # noqa: B018


def test_a_grid_is_the_command_lines_stage_for_stage(run_harness: Run, world: World) -> None:
    words = ["--tasks", "sst2,squad", "--methods", "dense,prune-ofa", "--sparsities", "0.85,0.9", "--seeds", "0,1"]
    words += ["--set", "transfer.epochs=2", "--pruning-seeds", "0,3"]
    told = json.loads(run_harness(world.grid(*words, "--dry-run", "--json")).out)
    before = files_below(world.folder)
    planned = grid(
        world,
        tasks=["sst2", "squad"],
        methods="dense,prune-ofa",
        sparsities=[0.85, 0.9],
        seeds=range(2),
        pruning_seeds=[0, 3],
        set={"transfer.epochs": 2},
    )
    assert [stage["id"] for stage in told["stages"]] == list(planned.plan.stages)
    assert [cell.model for cell in planned.cells] == [cell["model"] for cell in told["cells"]]
    assert planned.plan.counts() == told["counts"]["stages"]
    assert files_below(world.folder) == before


def test_printing_shows_the_dry_run_with_its_notes(run_harness: Run, world: World) -> None:
    shown = run_harness(world.grid("--methods", "prune-ofa", "--sparsities", "0,0.85", "--dry-run")).out
    planned = grid(world, methods="prune-ofa", sparsities=[0, 0.85], set={"task_pruning.epochs": 7})
    assert str(planned) == shown + "note: set task_pruning.epochs=7 changes nothing in this grid: no stage has it."
    assert planned.dropped == ("prune-ofa at sparsity 0: it prunes nothing there; the dense method is that row",)
    assert repr(planned) == f"<PlannedGrid slice: {len(planned.cells)} cells, {len(planned.plan.stages)} stages>"


def test_a_folder_that_hides_a_package_of_ours_is_named(tmp_path: Path) -> None:
    """A notebook's Python looks in its own folder first. One without __init__.py hides nothing."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from harness.planning.method_registry import get_method; get_method('dense')"
    )
    (tmp_path / "methods").mkdir()
    assert python("-c", code, str(tmp_path)).returncode == 0
    (tmp_path / "methods" / "__init__.py").write_text("raise RuntimeError('it was imported')")
    last = python("-c", code, str(tmp_path)).stderr.splitlines()[-1]
    assert f"UsageError: {tmp_path / 'methods'} hides the package methods of the harness ({ROOT / 'methods'})" in last


def test_settings_in_the_command_lines_form_are_told_the_form_of_here() -> None:
    with pytest.raises(UsageError) as told:
        harness.plan_grid(preset="quick", set="transfer.epochs=2", resource=["micro_batch_size=1"])
    assert list(map(str, told.value.problems)) == [
        "set='transfer.epochs=2': expected a mapping of names to values, as {'transfer.epochs': 2}.",
        "resource=['micro_batch_size=1']: expected a mapping of names to values, as {'transfer.epochs': 2}.",
    ]


def test_every_problem_is_told_at_once_in_the_words_of_the_arguments(world: World) -> None:
    with pytest.raises(UsageError) as raised:
        grid(
            world,
            methods=["prun-ofa"],
            sparsities=[85, "x"],
            seeds=-1,
            pruning_seeds=[],
            set={"no.such": True},
            resource={"micro_batch_size": -3},
            max_gpu_hours=0,
        )
    told = str(raised.value)
    assert len(raised.value.problems) == 8
    for words in (
        "method 'prun-ofa' is not known. Did you mean 'prune-ofa'",
        "sparsities x: expected a number.",
        "For 85 percent write 0.85",
        "seed -1: expected 0 or more.",
        "pruning_seeds is empty. Give at least one.",
        "set no.such=true: ",
        "resource micro_batch_size=-3: expected a whole number",
        "max_gpu_hours 0: expected a number of hours above 0.",
    ):
        assert words in told
    assert "--" not in told


def test_values_are_taken_as_they_are_and_never_read_as_text(world: World) -> None:
    """A comma or "=" splits text alone; a number of NumPy's is a number; a text is none where a number is expected."""
    folder, epochs = write_model(world.folder / "a=b,c"), {"transfer.epochs": np.float32(2)}
    planned = grid(world, models={"a,b=c": folder}, tasks=["sst2"], set=epochs, seeds=np.arange(2))
    assert {cell.model for cell in planned.cells} == {"a,b=c"}
    assert {cell.seed for cell in planned.cells} == {0, 1}
    assert {spec.parameters["epochs"] for spec in of_kind(planned.plan, "transfer").values()} == {2.0}
    methods, batch = ["dense,prune-ofa"], {"micro_batch_size": 2.5}
    with pytest.raises(UsageError) as raised:
        grid(world, methods=methods, seeds=[0.5, True], set={"transfer.epochs": "2"}, resource=batch)
    begins = ("seeds 0.5: ", "seeds True: ", "set transfer.epochs=2: '2' is str, expected float.")
    begins += ("method 'dense,prune-ofa' is not known.", "resource micro_batch_size=2.5: ")
    for problem, begin in zip(map(str, raised.value.problems), begins, strict=True):
        assert problem.startswith(begin)


def test_text_is_read_as_on_the_command_line(world: World) -> None:
    text = grid(world, models=f"tiny={world.folder / 'model'}", tasks="sst2, squad", seeds="0,1", sparsities="0.85")
    values = grid(world, tasks=["sst2", "squad"], seeds=range(2), sparsities=0.85)
    assert text.plan == values.plan
    assert text.options == values.options


def test_a_problem_names_the_option_it_concerns_and_each_surface_spells_it(run_harness: Run, world: World) -> None:
    with pytest.raises(UsageError) as raised:
        grid(world, sparse_from={"two words": "DIR"}, pruning_seeds="x", data="nowhere", tasks="sst", study="a/b")
    assert {problem.option for problem in raised.value.problems} == {
        *("sparse-from", "pruning-seeds", "data", "tasks", "study")
    }
    (problem,) = (problem for problem in raised.value.problems if problem.option == "sparse-from")
    assert str(problem).startswith("sparse_from two words=DIR: 'two words' is no name.")
    said = str(problem).replace("sparse_from", "--sparse-from")
    assert said in run_harness([*world.grid(), "--sparse-from", "two words=DIR"]).err


def test_what_is_left_out_names_options_as_the_surface_does(run_harness: Run, world: World) -> None:
    models = ["bert-base", f"tiny={world.folder / 'model'}"]
    planned = harness.plan_grid(models=models, data="hub", store=world.store)
    (reason,) = planned.dropped
    assert reason == "tiny: preset 'paper' has no rows for it; name methods, or another preset"
    assert f"dropped: {reason}\n" in str(planned)
    words = ["--models", models[0], "--models", models[1], "--data", "hub", "--store", str(world.store), "--dry-run"]
    assert "has no rows for it; name --methods, or another --preset\n" in run_harness(["grid", *words]).out


def test_how_it_is_run_is_checked_before_anything_is_written(world: World) -> None:
    planned = grid(world)
    with pytest.raises(UsageError) as raised:
        planned.run(executor="lokal", workers=0)
    assert len(raised.value.problems) == 2
    executor, workers = map(str, raised.value.problems)
    assert "Did you mean 'local'" in executor
    assert workers == "workers 0: expected 1 or more."
    assert not world.store.exists()


def test_what_is_missing_is_shown_and_keeps_a_grid_from_running(world: World) -> None:
    planned = grid(world, models="bert-base", methods="dense", sparsities=None)
    assert "warning: model 'bert-base': google-bert/bert-base-uncased at 86b5e0934494 is not in the hub" in str(planned)
    with pytest.raises(UsageError, match="use a local folder: models bert-base=DIR"):
        planned.run(executor="debug")
    assert not world.store.exists()


def test_records_before_and_after_a_run(world: World, fakes: ModuleType) -> None:
    planned = grid(world, methods=["dense", "prune-ofa"], sparsities=[0.85], seeds=[0])
    fakes.ACTIONS["quantization"] = fail
    assert planned.run(executor="debug").failed == {}
    both = grid(world, methods="prune-ofa", sparsities=0.85, quantization="none,int8", seeds=0)
    failed = both.run(executor="debug")
    assert len(failed.failed) == 2
    frame = harness.records(world.store)
    assert list(frame.columns) == [
        *("study", "model", "method", "sparsity", "task", "quantization", "seed", "pruning_seed"),
        *("transfer_kd", "metric", "value", "measured_sparsity", "state", "stage_id"),
    ]
    # sst2 has accuracy, squad exact match and F1: 3 numbers for each of dense, prune-ofa and its int8
    assert frame.groupby(["method", "quantization"]).size().to_dict() == {
        ("dense", "none"): 3,
        ("prune-ofa", "int8"): 3,
        ("prune-ofa", "none"): 3,
    }
    done = frame[frame["state"] == "done"]
    assert dict(zip(done["metric"], done["value"], strict=True)) == {
        "accuracy": 100 * SHARE,
        "exact_match": PERCENT,
        "f1": PERCENT,
    }
    missing = frame[frame["quantization"] == "int8"]
    assert set(missing["state"]) == {"blocked"}
    assert missing["value"].isna().all()
    assert missing["measured_sparsity"].isna().all()
    assert frame["pruning_seed"].isna().tolist() == (frame["method"] == "dense").tolist()
    assert frame["seed"].tolist() == [0] * 9
    ends = {row.stage_id for row in frame.itertuples()}
    study = read_study(Store(world.store), "slice")
    assert ends == {study.plan.endpoint(cell) for cell in study.plan.paths}


def test_a_second_run_starts_nothing(world: World, fakes: ModuleType) -> None:
    planned = grid(world, methods="dense", tasks="sst2", seeds=0)
    assert len(planned.run(executor="debug").done) == 2
    assert planned.run(executor="debug") == Outcome()
    assert "0 to run" in str(planned)


def test_the_tables_are_those_of_the_command_line(run_harness: Run, world: World) -> None:
    grid(world, tasks="sst2").run(executor="debug")
    assert harness.tables(world.store) == run_harness(world.reading("tables")).out


@pytest.mark.parametrize("read", [harness.records, harness.tables])
def test_reading_says_what_is_not_there(read: Callable[..., Any], world: World, fakes: ModuleType) -> None:
    with pytest.raises(UsageError, match="holds no study. Start one with harness grid"):
        read(world.store)
    for name in ("first", "second"):
        grid(world, study=name, tasks="sst2", methods="dense").run(executor="debug")
    with pytest.raises(UsageError, match="holds several studies: first, second. Name one with study.$"):
        read(world.store)
    with pytest.raises(UsageError, match="study 'secnd' is not known. Did you mean 'second'"):
        read(world.store, "secnd")
    assert len(read(world.store, "second"))


def test_the_notebook_of_the_readme_runs(
    world: World, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its ten lines as they stand, but for the preset: the tiny world's model, data and recipe."""
    (block,) = re.findall(r"```python\n(import harness\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    assert block.count('preset="quick"') == 1
    tiny = f'preset="{SLICE}", models="tiny={world.folder / "model"}", data="{world.folder / "data"}"'
    block = block.replace('preset="quick"', tiny)
    monkeypatch.chdir(world.folder)
    monkeypatch.setattr(local, "WORKER_COMMAND", worker_command())
    told: dict[str, Any] = {}
    exec(block, told)
    assert told["outcome"].done
    assert not told["outcome"].failed
    assert told["means"].loc[("tiny", "dense", 0.0, "none", "sst2", "accuracy")].tolist() == [100 * SHARE, 1]
    shown = capsys.readouterr().out
    assert shown.startswith("study slice: 2 cells, ")
    assert harness.tables("runs") in shown
