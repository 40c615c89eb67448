"""Declared tasks in plans: identity, settings, what stages of a regression lack; one declaration in a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from grid_world import SLICE, inputs, settings

from harness.errors import StoreError, UsageError
from harness.planning.graph import Plan
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import Preset, load_preset
from harness.planning.reach import reach_of
from harness.store.store import Store
from harness.studies.merging.contents import read_contents
from harness.studies.merging.studies import united
from harness.studies.study import add_to_study, read_study
from harness.task_files.form import parse_task
from harness.tasks import DECLARATION, TASKS, Task, get_task
from harness.wording import for_command_line

MOOD = """
name = "mood"
kind = "classification"
labels = ["low", "high"]
metrics = ["accuracy"]
[columns]
text = ["words"]
label = "stars"
[settings]
max_length = 24
"""


def mood(old: str = "", new: str = "") -> Task:
    return parse_task(MOOD.replace(old, new), "F")


def chosen(task: Task, *assignments: str) -> Preset:
    return load_preset(str(SLICE), (), {**TASKS, task.name: task}).changed(settings(*assignments))


def plan(task: Task, *assignments: str, **axes: Any) -> Plan:
    preset = chosen(task, *assignments)
    known = {"methods": ["dense", "prune-ofa"], "tasks": [task.name], "quantization": ["none", "int8"], **axes}
    grid = expand(Axes(models=["tiny"], known_tasks=preset.recipe.tasks, **known), preset)
    given = {f"{task.name}/{split}": split for split in task.splits}
    return plan_cells(grid.cells, preset.recipe, inputs(changed=given), grid.methods)


def on_task(found: Plan) -> dict[str, Any]:
    return {i: spec for i, spec in found.stages.items() if "task" in spec.parameters}


def test_a_declaration_is_a_part_of_every_stage_on_the_task_and_of_no_other() -> None:
    first, second = plan(mood()), plan(mood('["low", "high"]', '["high", "low"]'))
    shared = first.stages.keys() & second.stages.keys()
    assert {first.stages[i].kind for i in shared} == {"corpus", "pairs", "teacher_preparation", "student_pruning"}
    assert all(DECLARATION in spec.parameters for spec in on_task(first).values())
    assert len(on_task(first)) == len(first.stages) - len(shared)
    for cell in first.paths:
        assert first.task_of(cell) == mood()


def test_data_settings_are_the_files_where_the_recipe_gives_none() -> None:
    lengths = {spec.parameters.get("max_length") for spec in on_task(plan(mood())).values()}
    assert lengths == {24}
    found = plan(mood())
    assert found.defaults["task.mood.max_length"].value == 24
    given = plan(mood(), "task.mood.max_length=48")
    assert {spec.parameters.get("max_length") for spec in on_task(given).values()} == {48}
    assert "task.mood.max_length" not in given.defaults
    assert "task.mood.train_examples" in given.defaults


def test_settings_of_a_declared_task_have_the_keys_of_any_other() -> None:
    found = plan(mood(), "transfer.tasks.mood.epochs=7")
    assert {s.parameters["epochs"] for s in found.stages.values() if s.kind == "transfer"} == {7.0}
    with pytest.raises(UsageError, match="recipe key 'task.moood.max_length' is not known"):
        chosen(mood(), "task.moood.max_length=48")


def test_a_preset_may_name_a_declared_task(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('description = "mine"\nextends = "quick"\ntasks = ["mood"]\n')
    assert load_preset(str(path), (), {**TASKS, "mood": mood()}).tasks == ("mood",)
    with pytest.raises(UsageError, match="task 'mood' is not known"):
        load_preset(str(path))


def test_a_stage_of_a_regression_has_no_temperature_and_a_setting_says_that_it_reaches_none() -> None:
    stsb = get_task("stsb")
    found = plan(stsb, "transfer.temperature=4")
    taught = [spec for spec in on_task(found).values() if "teacher" in spec.parents]
    assert {spec.kind for spec in taught} == {"transfer", "quantization"}
    assert all("kd_weight" in spec.parameters and "temperature" not in spec.parameters for spec in taught)
    reach = reach_of("transfer.temperature", chosen(stsb, "transfer.temperature=4").recipe, found)
    assert not reach.reached
    assert "no stage" in for_command_line(reach.sentence())
    assert found.stages.keys() == plan(stsb).stages.keys()


def test_a_study_keeps_declarations_and_refuses_another_of_the_same_name(store: Store) -> None:
    add_to_study(store, "s", chosen(mood()), plan(mood()))
    found = read_study(store, "s")  # no file is named here
    assert [found.plan.task_of(cell) for cell in found.plan.paths] == [mood()] * len(found.plan.paths)
    more = plan(mood(), seeds=[1])
    assert len(add_to_study(store, "s", chosen(mood()), more).plan.paths) == 2 * len(more.paths)
    other = mood('"accuracy"', '"matthews"')
    with pytest.raises(UsageError, match="study 's' has another declaration of mood, and cells of both"):
        add_to_study(store, "s", chosen(other), plan(other, seeds=[2]))


def test_a_merge_refuses_two_declarations_of_one_task(tmp_path: Path) -> None:
    stores = []
    for name, task, seed in (("one", mood(), 0), ("two", mood('"stars"', '"points"'), 1)):
        store = Store(tmp_path / name)
        add_to_study(store, "s", chosen(task), plan(task, seeds=[seed]))
        stores.append(read_contents(store, name))
    _, problems, _ = united("s", stores)
    (problem,) = problems
    assert "study 's' of one and of two: another declaration of mood." in problem


def test_a_study_whose_declaration_is_gone_is_damaged(store: Store) -> None:
    found = plan(mood(), methods=["dense"], quantization=["none"])
    add_to_study(store, "s", chosen(mood()), found)
    path = store.study_path("s")
    text = path.read_text()
    assert text.count('"task_declaration"') == 2
    path.write_text(text.replace('"task_declaration"', '"task_declared"'))
    for checked in (True, False):
        with pytest.raises(StoreError, match=r"parameters of stage|task 'mood' is not known"):
            read_study(store, "s", checked=checked)
