"""`harness show`: a stage with and without a record, a cell, and lists of several."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from fake_stages import SHARE, fail
from grid_world import ROOT, Ran, World, of_kind

from harness.cli.commands import show
from harness.planning.graph import Plan
from harness.planning.kept_recipe import recipe_of
from harness.progress import duration
from harness.specs import StageSpec
from harness.store.processes import this_process
from harness.store.store import Store
from harness.studies.description import settings_with_evidence
from harness.studies.study import Study, read_study

Run = Callable[[Sequence[str]], Ran]
QUICK = ["--store", str(ROOT / "results" / "quick"), "--study", "quick"]


@pytest.fixture(scope="module")
def quick() -> Study:
    return read_study(Store(ROOT / "results" / "quick"), "quick")


def row(out: str, title: str) -> str:
    """What stands beside a title, its further lines joined."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"  {title} "))
    more = next((i for i, line in enumerate(lines[start + 1 :], start + 1) if line[:13].strip()), len(lines))
    return " ".join([lines[start][13:], *(line.strip() for line in lines[start + 1 : more])])


def test_a_record_of_the_results_with_its_settings_losses_zeros_and_times(run_harness: Run, quick: Study) -> None:
    (stage_id, *_) = [
        i
        for i, s in of_kind(quick.plan, "student_pruning").items()
        if (s.parameters["model"], s.parameters["sparsity"]) == ("tiny-narrow", 0.9)
    ]
    done = run_harness(["show", stage_id[:8], *QUICK])
    assert (done.code, done.err) == (0, "")
    record = json.loads(Store(ROOT / "results" / "quick").stage(stage_id).record_path.read_text())
    result = record["result"]
    assert done.out.splitlines()[0] == "student_pruning tiny-narrow 0.9 seed 0"
    assert row(done.out, "id") == stage_id
    took = duration(record["times"]["ended"] - record["times"]["started"])
    assert row(done.out, "state").startswith("done: started 20")
    assert row(done.out, "state").endswith(f", took {took}")
    assert row(done.out, "parents").startswith(
        f"pairs: pairs seed 42 ({record['parents']['pairs'][:8]}, done) teacher: "
    )
    assert f"mlm_accuracy {result['metrics']['mlm_accuracy']:.4f}, " in row(done.out, "metrics")
    assert row(done.out, "loss").split() == [
        f"{point['step']}:{point['loss']:.3f}" for point in result["training"]["loss_curve"]
    ]
    zeros = f"{result['sparsity']['encoder_zeros']:,} of {result['sparsity']['encoder_numel']:,} weights"
    assert row(done.out, "zeros") == f"{zeros} of the encoder (90.00%), in 18 matrices"
    assert row(done.out, "artifact").endswith(f"artifacts/{stage_id} gone")
    made = row(done.out, "made with")
    assert made.startswith(f"harness 0.1.0 ({record['provenance']['commit'][:12]}), python 3.11.7, torch 2.13.0+cpu")
    assert made.endswith("AMD EPYC, 2 cores, AVX512, BLAS mkl, 1 thread")
    assert "    kd_weight         0.5          published authors' release, examples\n" in done.out
    assert "    sparsity          0.9          plan\n" in done.out


def test_json_has_the_record_and_each_settings_key(run_harness: Run, quick: Study) -> None:
    stage_id = next(iter(of_kind(quick.plan, "transfer")))
    told = json.loads(run_harness(["show", stage_id, *QUICK, "--json"]).out)
    assert (told["study"], told["cells"]) == ("quick", [])
    (stage,) = told["stages"]
    assert stage["record"]["stage_id"] == stage["id"] == stage_id
    assert {row["name"]: row["value"] for row in stage["settings"]} == dict(quick.plan.stages[stage_id].parameters)
    for setting in stage["settings"]:
        if setting["evidence"] in ("published", "partner", "assumed"):
            value, evidence, source = quick.recipe["settings"][setting["key"]]
            assert (setting["value"], setting["evidence"], setting["source"]) == (value, evidence, source)
        else:
            assert setting["name"] in ("model", "task", "sparsity", "seed")
    assert stage["label"] == quick.plan.label(stage_id)
    cells = [cell for cell, path in quick.plan.paths.items() if stage_id in path]
    assert stage["cells"] == [cell.as_json() for cell in cells]


def test_every_kind_of_stage_fits_a_terminal(run_harness: Run, quick: Study) -> None:
    firsts = {spec.kind: stage_id for stage_id, spec in quick.plan.stages.items()}
    for stage_id in firsts.values():
        for line in run_harness(["show", stage_id, *QUICK]).out.splitlines():
            assert len(line) <= 100 or "artifacts/" in line, line


def test_a_cell_is_its_path_and_its_metrics(run_harness: Run, world: World, fakes: ModuleType) -> None:
    run_harness(world.grid("--tasks", "sst2", "--seeds", "0,1"))
    plan = read_study(Store(world.store), "slice").plan
    words = "method=prune-ofa,seed=1,quantization=int8"
    done = run_harness(world.reading("show", words))
    (cell,) = [c for c in plan.paths if (c.method, c.seed, c.quantization) == ("prune-ofa", 1, "int8")]
    head, *lines = done.out.splitlines()
    assert head == f"cell {cell}"
    assert row(done.out, "metrics") == f"sst2: accuracy {SHARE:.4f}"
    path = lines[lines.index("  stages") + 1 :]
    assert [line.split("  ")[-1] for line in path] == [f"{plan.label(i)} ({i[:8]})" for i in plan.paths[cell]]
    run_harness(world.grid("--tasks", "sst2", "--seeds", "1", "--pruning-seeds", "5"))
    listed = run_harness(world.reading("show", words)).out.splitlines()
    assert [line.split(":")[0] for line in listed[1:]] == [f"  done      {cell}", f"  done      {cell} pruning seed 5"]
    told = json.loads(run_harness(world.reading("show", words, "--json")).out)
    assert [stage["id"] for stage in told["cells"][0]["stages"]] == list(plan.paths[cell])
    assert told["cells"][0]["cell"] == cell.as_json()


def test_several_are_listed_and_counted(run_harness: Run, world: World, fakes: ModuleType) -> None:
    run_harness(world.grid("--tasks", "sst2", "--seeds", ",".join(map(str, range(8)))))
    cells = run_harness(world.reading("show", "task=sst2")).out.splitlines()
    assert cells[0] == "40 cells; name one to see all of it:"
    assert cells[-1] == "  and 20 more (--json has all)"
    assert len(cells) == 22
    assert all(len(line) <= 100 for line in cells)
    assert cells[1] == "  done      tiny dense sst2 none seed 0: sst2: accuracy 0.5000"
    stages = run_harness(world.reading("show", "kind=dense,task=sst2")).out.splitlines()
    assert stages[0] == "8 stages; name one to see all of it:"
    assert len(stages) == 9
    one = run_harness(world.reading("show", "dense,seed=3"))
    assert one.out.splitlines()[0] == "dense tiny sst2 seed 3"


def test_a_stage_without_a_record_says_its_state_and_why(run_harness: Run, world: World, fakes: ModuleType) -> None:
    words = world.grid("--tasks", "sst2", "--methods", "dense,finetune-pruning", "--seeds", "0")
    fakes.ACTIONS["dense"] = fail
    run_harness(words)
    failed = run_harness(world.reading("show", "dense")).out
    assert row(failed, "state") == "failed: ValueError: made to fail"
    store = Store(world.store)
    (dense,) = of_kind(read_study(store, "slice").plan, "dense")
    attempt = row(failed, "attempts")
    assert attempt.startswith("1: failed in 0 s: ValueError: made to fail ")
    assert str(store.stage(dense).log_path(1)) in attempt
    assert "  settings\n" in failed
    assert "artifact" not in failed
    waits = run_harness(world.reading("show", "task_pruning")).out
    assert row(waits, "state") == "blocked: waits for dense tiny sst2 seed 0"
    run_harness(world.reading("cancel", "task_pruning"))
    assert row(run_harness(world.reading("show", "task_pruning")).out, "state") == "cancelled"
    run_harness(world.reading("retry", "dense"))
    assert row(run_harness(world.reading("show", "dense")).out, "state") == "pending: retried"
    (other,) = [
        i for i, s in of_kind(read_study(store, "slice").plan, "evaluation").items() if dense in s.parents.values()
    ]
    told = json.loads(run_harness(world.reading("show", other, "--json")).out)["stages"][0]
    assert (told["state"], told["record"], told["attempts"]) == ("pending", None, [])


def test_settings_are_told_as_the_plan_found_them() -> None:
    """The oracle is the planner: whose value a stage has is what `Recipe.parameters` took."""
    settings = {
        "common.learning_rate": [1.0, "assumed", "all kinds"],
        "transfer.max_length": [3, "assumed", "no stage has it: it is the task's"],
        "task.sst2.max_length": [4, "published", "the task's"],
        "acme:lab.learning_rate": [2.0, "assumed", "its own"],
        "common.epochs": [5.0, "assumed", "not shared with it"],
    }
    recipe = recipe_of({"settings": settings})
    named = {"task": "sst2", "learning_rate": 1.0, "max_length": 4}
    rows = settings_with_evidence(StageSpec(kind="transfer", parameters=named), Plan(), recipe)
    assert {row["name"]: row["key"] for row in rows} == {
        "learning_rate": "common.learning_rate",
        "max_length": "task.sst2.max_length",
        "task": None,
    }
    own = StageSpec(kind="acme:lab", parameters={**named, "learning_rate": 2.0, "draws": 3})
    rows = settings_with_evidence(own, Plan(), recipe)
    assert {row["name"]: (row["key"], row["evidence"]) for row in rows} == {
        "draws": (None, "plan"),
        "learning_rate": ("acme:lab.learning_rate", "assumed"),
        "max_length": ("task.sst2.max_length", "published"),
        "task": (None, "plan"),
    }


def test_what_was_cancelled_says_so_once_and_examples_are_those_of_the_training_set() -> None:
    attempt = {"number": 1, "label": "cancelled", "started": 0.0, "ended": 16.0, "log": None, "retried": False}
    said = show._attempt({**attempt, "message": "cancelled; stopped after step 3 of 8"})
    assert said == ["1: cancelled in 16 s: stopped after step 3 of 8"]
    training = {"steps": 8, "examples": 14_161, "tokens_seen": 4_096}
    assert show._training({"training": training}) == ["8 steps, 4,096 tokens of 14,161 examples"]


def test_a_running_stage_says_how_far_it_is(run_harness: Run, world: World, fakes: ModuleType) -> None:
    def stop(context: Any) -> None:
        raise KeyboardInterrupt

    fakes.ACTIONS["dense"] = stop
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    store = Store(world.store)
    (dense,) = of_kind(read_study(store, "slice").plan, "dense")
    lease = store.stage(dense).acquire_lease()
    assert lease is not None
    with lease.held():
        number = store.stage(dense).begin_attempt({**this_process()})
        store.stage(dense).progress_path(number).write_text('{"step": 3, "steps": 5, "seconds_left": 200.0}')
        out = run_harness(world.reading("show", "dense")).out
        assert row(out, "state") == "running: step 3 of 5, about 3 min left"
        assert "2: not ended" in row(out, "attempts")


def test_what_cannot_be_shown(run_harness: Run, world: World, fakes: ModuleType) -> None:
    run_harness(world.grid("--tasks", "sst2"))
    for what, told in (
        ("method=prun-ofa", "method 'prun-ofa' is not known. Did you mean 'prune-ofa'"),
        ("method=dense,quantization=int8", "no cell of this study is method=dense,quantization=int8."),
        ("trnsfer", "kind, state or stage id 'trnsfer' is not known. Did you mean 'transfer'"),
        ("sparsity=high", "sparsity 'high' is not known. Known: 0, 0.85."),
        ("", "WHAT is empty"),
        ("seed=", "seed '' is not known"),
    ):
        done = run_harness(world.reading("show", what))
        assert (done.code, done.out) == (2, ""), what
        assert done.err.startswith(f"error: {told}"), done.err
    store = Store(world.store)
    stage_id = next(iter(read_study(store, "slice").plan.stages))
    path = store.stage(stage_id).record_path
    path.write_text(path.read_text().replace('"sentences"', '"words"').replace("ran", "run"))
    done = run_harness(world.reading("show", stage_id))
    assert done.code == 1
    assert "was changed after it was written" in done.err


def test_a_value_that_the_method_fixes_is_no_setting_of_the_recipe(quick: Study) -> None:
    spec = next(iter(of_kind(quick.plan, "transfer").values()))
    other = StageSpec(kind="transfer", parameters={**spec.parameters, "epochs": 99.0}, parents=spec.parents)
    rows = {row["name"]: row for row in settings_with_evidence(other, quick.plan, recipe_of(quick.recipe))}
    assert rows["epochs"]["evidence"] == "method"
    assert rows["epochs"]["source"].startswith("fixed by the method; the recipe has ")
    settings = recipe_of(
        {
            "settings": {
                "transfer.epochs": [1.0, "assumed", "a"],
                "transfer.tasks.sst2.epochs": [99.0, "published", "b"],
            }
        }
    )
    sst2 = StageSpec(kind="transfer", parameters={"task": "sst2", "epochs": 99.0})
    (_, epochs) = sorted(settings_with_evidence(sst2, quick.plan, settings), key=lambda row: row["name"] == "epochs")
    assert (epochs["key"], epochs["evidence"], epochs["source"]) == ("transfer.tasks.sst2.epochs", "published", "b")


def test_an_id_in_full_needs_no_study_where_the_store_holds_several(run_harness: Run, quick: Study) -> None:
    stage_id = next(iter(of_kind(quick.plan, "transfer")))
    store = ["--store", str(ROOT / "results" / "quick")]
    assert run_harness(["show", stage_id, *store]).out == run_harness(["show", stage_id, *QUICK]).out
    done = run_harness(["show", stage_id[:8], *store])
    assert (done.code, "several studies" in done.err) == (2, True)


def test_a_path_stays_in_one_line_whatever_it_holds(run_harness: Run, world: World, fakes: ModuleType) -> None:
    where = world.folder / " ".join(["a store with a name of many words"] * 5)
    words = [*world.grid("--tasks", "sst2", "--methods", "dense", "--seeds", "0"), "--store", str(where)]
    run_harness(words)
    store = Store(where)
    (dense,) = of_kind(read_study(store, "slice").plan, "dense")
    lines = [line[13:] for line in run_harness(["show", "dense", "--store", str(where)]).out.splitlines()]
    assert str(store.stage(dense).log_path(1)) in lines
    assert str(store.stage(dense).artifact_path) in lines
