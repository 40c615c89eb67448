"""The preset equal: methods differ in what they are, and in nothing else."""

from __future__ import annotations

from itertools import product

import pytest
from grid_world import inputs

from harness.inputs.models import MODELS
from harness.planning.grid import Axes, expand
from harness.planning.kinds import FINE_TUNING, TASK_DATA, get_kind
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.tasks import TASKS

PRESET = load_preset("equal")
# What is a method's own: when it prunes and how it ranks. The module sets are compared below under one name.
SCHEDULE = ("initial_sparsity", "ramp_begin", "ramp_end", "first_event", "last_event", "frequency")
OWN = (*SCHEDULE, "ranking", "lr_rewind", "regrowth", "tie_rule")


def parameters(kind: str, model: str, task: str) -> dict[str, object]:
    found = PRESET.recipe.parameters(get_kind(kind), model=model, task=task)
    for key in ("prune_pooler", "lock_pooler"):
        if key in found:
            found["modules"] = found.pop(key)
    return {key: value for key, value in found.items() if key not in OWN}


@pytest.mark.parametrize(("model", "task"), list(product([*MODELS, "any"], TASKS)))
def test_every_method_is_fine_tuned_on_equal_terms(model: str, task: str) -> None:
    dense, pruned, transferred = (parameters(kind, model, task) for kind in ("dense", "task_pruning", "transfer"))
    assert pruned == transferred
    assert {"epochs", "learning_rate", "batch_size", "kd_weight", "temperature", "modules"} <= set(pruned)
    shared = [key for key in dense if key in (*FINE_TUNING, *TASK_DATA)]
    assert {key: dense[key] for key in shared} == {key: pruned[key] for key in shared}
    assert set(dense) == set(shared)


def test_the_pooler_is_pruned_in_pre_training_exactly_where_it_is_on_the_task() -> None:
    for model in MODELS:
        pruning = PRESET.recipe.parameters(get_kind("student_pruning"), model=model)
        assert pruning["prune_pooler"] == parameters("task_pruning", model, "sst2")["modules"]


def test_the_rows_are_the_reference_and_two_methods_at_two_sparsities() -> None:
    cells = expand(Axes(models=["tiny"], tasks=["sst2"], seeds=[0]), PRESET).cells
    assert [(cell.method, cell.sparsity, cell.quantization) for cell in cells] == [
        ("dense", 0.0, "none"),
        ("finetune-pruning", 0.85, "none"),
        ("finetune-pruning", 0.9, "none"),
        ("prune-ofa", 0.85, "none"),
        ("prune-ofa", 0.9, "none"),
    ]
    teachers = {
        spec.parents["teacher"]
        for spec in plan_cells(cells, PRESET.recipe, inputs()).stages.values()
        if spec.kind in ("task_pruning", "transfer")
    }
    assert len(teachers) == 1


def test_what_it_changes_is_tagged_as_assumed_with_a_reason() -> None:
    paper = load_preset("paper").recipe.settings
    changed = {key: setting for key, setting in PRESET.recipe.settings.items() if paper.get(key) != setting}
    assert len(changed) > 20
    for key, setting in changed.items():
        assert setting.evidence == "assumed", key
        assert setting.source.startswith("equal for every method: "), key
