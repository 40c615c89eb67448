"""The switch teacher_logits: whom it gives another parent, what it leaves as it was, and what pages and plans say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from grid_world import Ran, World, inputs, of_kind, plan, preset, with_descendants

from harness.planning.chain import Chain
from harness.planning.graph import Plan
from harness.planning.grid import Axes, expand
from harness.planning.method_template import templates
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.planning.reach import reach_of
from harness.specs import TEACHER_LOGITS, Cell
from harness.store.store import Store
from harness.studies.cell_check import cell_problem
from harness.studies.garbage import kept_artifacts
from harness.studies.study import read_study
from harness.tasks import get_task
from harness.wording import for_command_line

Run = Callable[[Sequence[str]], Ran]
STORED = "common.teacher_logits=stored"
AXES: dict[str, Any] = {
    "methods": ["dense", "finetune-pruning", "prune-ofa", "prune-ofa-no-kd"],
    "quantization": ["none", "int8"],
    "sparsities": [0.5, 0.9],
    "seeds": [0, 1],
}


def test_the_default_gives_every_stage_that_there_was() -> None:
    usual = plan(**AXES)
    assert plan("common.teacher_logits=online", **AXES).stages == usual.stages
    assert TEACHER_LOGITS not in usual.counts()
    assert not any(TEACHER_LOGITS in {*spec.parameters, *spec.parents} for spec in usual.stages.values())


def test_one_stage_of_a_task_serves_all_methods_sparsities_precisions_and_seeds() -> None:
    """2 tasks: 2 stages. Distilled are, of each: 2 sparsities x 2 seeds, pruned on the task or transferred, and QAT."""
    stored = plan(STORED, **AXES)
    logits = of_kind(stored, TEACHER_LOGITS)
    assert {spec.parameters["task"] for spec in logits.values()} == {"sst2", "squad"}
    assert len(logits) == 2
    students = [spec for spec in stored.stages.values() if TEACHER_LOGITS in spec.parents]
    assert len(students) == 2 * (2 * 4 * 2)
    for spec in students:
        stage = logits[spec.parents[TEACHER_LOGITS]]
        assert spec.parameters[TEACHER_LOGITS] == "stored"
        assert stage.parents == {"model": spec.parents["teacher"]}
        assert stage.inputs == {"train": spec.inputs["train"]}
        for name in ("max_length", "train_examples", "train_subset_seed", "task"):
            assert stage.parameters[name] == spec.parameters[name]
    distilled = {i for i, spec in stored.stages.items() if "teacher" in spec.parents and "task" in spec.parameters}
    assert {spec.stage_id for spec in students} == distilled
    (teacher,) = {spec.parents["teacher"] for spec in students if spec.parameters["task"] == "sst2"}
    assert stored.label(next(i for i, s in logits.items() if s.parents["model"] == teacher)) == (
        "teacher_logits of dense tiny sst2 seed 0"
    )


def test_what_does_not_distil_on_a_task_stays_as_it_is() -> None:
    usual, stored = plan(**AXES), plan(STORED, **AXES)
    distilled = [i for i, spec in usual.stages.items() if "teacher" in spec.parents and "task" in spec.parameters]
    assert usual.stages.keys() - stored.stages.keys() == with_descendants(usual, distilled)
    assert of_kind(usual, "student_pruning") == of_kind(stored, "student_pruning")


def test_one_kind_alone_may_read_stored_logits() -> None:
    found = plan("transfer.teacher_logits=stored", **AXES)
    assert {spec.kind for spec in found.stages.values() if TEACHER_LOGITS in spec.parents} == {"transfer"}


def test_a_stage_without_a_teacher_or_a_task_has_none() -> None:
    """As a method may add one: the setting speaks of nothing there, and enters no identity."""
    cell = Cell(model="tiny", method="prune-ofa", sparsity=0.5, task="sst2", quantization="none", seed=0)
    chain = Chain(plan=Plan(), cell=cell, recipe=preset(STORED).recipe, inputs=inputs())
    added = chain.stage("transfer", parents={"model": chain.student_pruning()}, task="sst2", model="tiny", seed=0)
    assert TEACHER_LOGITS not in {*added.parameters, *added.parents}


def test_the_settings_of_the_stage_reach_it_and_the_students() -> None:
    stored = plan(STORED, **AXES)
    other = plan(STORED, "teacher_logits.batch_size=5", **AXES)
    assert {spec.parameters["batch_size"] for spec in of_kind(other, TEACHER_LOGITS).values()} == {5}
    assert not of_kind(other, "transfer").keys() & {
        i for i, spec in of_kind(stored, "transfer").items() if "teacher" in spec.parents
    }


@pytest.mark.parametrize("value", ["stored", "online"])
def test_the_setting_reaches_every_distilled_stage_on_a_task(value: str) -> None:
    """The 32 students. Online, the default, too: such a stage does not say it, and has it all the same."""
    given = f"common.teacher_logits={value}"
    found = reach_of("common.teacher_logits", preset(given).recipe, plan(given, **AXES))
    assert (len(found.reached), len(found.concerned)) == (32, 32)


def test_back_to_the_default_is_a_change() -> None:
    """Preset paper stores them: 2 transfers of one model and task lose a parent, and are not told as out of reach."""
    paper = load_preset("paper").changed({"common.teacher_logits": "online"})
    axes = Axes(models=["bert-base"], methods=["prune-ofa"], sparsities=[0.85], tasks=["sst2"], seeds=[0, 1])
    cells = expand(axes, paper).cells
    found = reach_of("common.teacher_logits", paper.recipe, plan_cells(cells, paper.recipe, inputs(["bert-base"])))
    assert found.changes
    assert for_command_line(found.sentence()) == "--set common.teacher_logits=online reaches all 2 transfer stages."


def test_cells_with_stored_logits_are_their_methods_own() -> None:
    stored = plan(STORED, **AXES)
    assert [problem for cell in stored.paths if (problem := cell_problem(stored, cell))] == []
    assert templates("prune-ofa", get_task("sst2"), "none")


def test_finished_students_need_the_logits_no_more() -> None:
    """gc: kept for a student that waits; an artifact of an intermediate stage once all are done."""
    stored = plan(STORED, **AXES)
    logits = set(of_kind(stored, TEACHER_LOGITS))
    students = {i for i, spec in stored.stages.items() if TEACHER_LOGITS in spec.parents}
    everything = set(stored.stages)
    for keep in ("records", "final"):
        assert not logits & kept_artifacts([stored], everything, keep)
        assert logits <= kept_artifacts([stored], everything - students, keep)
    assert logits <= kept_artifacts([stored], everything, "all")


def test_a_dry_run_shows_the_shared_stage(run_harness: Run, world: World) -> None:
    grid = world.grid(
        "--tasks", "sst2", "--methods", "prune-ofa", "--sparsities", ".5,.9", "--set", STORED, "--dry-run"
    )
    done = run_harness(grid)
    assert done.code == 0, done.err
    assert re.search(r"^teacher_logits +1$", done.out, re.MULTILINE)
    assert "new: teacher_logits of dense" in done.out
    assert f"--set {STORED} reaches all 2 transfer stages." in done.err


def test_a_grid_runs_the_stage_before_its_students_and_once(run_harness: Run, world: World, fakes: ModuleType) -> None:
    axes = ["--tasks", "sst2", "--methods", "finetune-pruning,prune-ofa", "--sparsities", ".5,.9", "--seeds", "0,1"]
    done = run_harness(world.grid(*axes, "--set", STORED))
    assert done.code == 0, done.err
    stages = read_study(Store(world.folder / "runs"), "slice").plan.stages
    kinds = [stages[stage_id].kind for stage_id in fakes.CALLS]
    assert kinds.count(TEACHER_LOGITS) == 1
    assert kinds.index(TEACHER_LOGITS) < min(kinds.index("transfer"), kinds.index("task_pruning"))


def test_a_word_that_is_neither_is_refused(run_harness: Run, world: World) -> None:
    done = run_harness(world.grid("--tasks", "sst2", "--set", "common.teacher_logits=cached", "--dry-run"))
    assert done.code == 2
    assert "expected one of online, stored" in done.err
