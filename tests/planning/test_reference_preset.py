"""The preset paper-reference: every switch of the specification's section 11 as the authors' release has it."""

from __future__ import annotations

from typing import Any

import pytest
from grid_world import PAPER_MODELS, ROOT, inputs, of_kind

from harness.planning.graph import Plan
from harness.planning.grid import Axes, expand
from harness.planning.kinds import get_kind
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset

PAPER, REFERENCE = load_preset("paper"), load_preset("paper-reference")
PRUNING: dict[str, Any] = {
    "lr_rewind": True,  # section 2
    "ce_weight": 0.5,  # 3.2 and 3.7: .5/.5/T2 in pre-training and in the examples
    "kd_weight": 0.5,
    "temperature": 2.0,
    "regrowth": True,  # 1.10
    "ranking": "local",  # 1.5
    "prune_pooler": True,  # 1.7
    "tie_rule": "threshold",  # 1.6: strict > prunes every tie
}
RELEASED: dict[str, dict[str, Any]] = {
    "student_pruning": PRUNING,
    "task_pruning": {**PRUNING, "padding": "max_length"},  # 3.3: fixed 384
    "transfer": {"ce_weight": 0.5, "kd_weight": 0.5, "temperature": 2.0, "lock_pooler": True, "padding": "max_length"},
    "quantization": {
        "ce_weight": 0.5,
        "kd_weight": 0.5,
        "temperature": 2.0,
        "lock_pooler": True,
        "padding": "max_length",
        "weight_scale": "ref_max127_5",  # 6.2
        "activation_momentum": 0.01,  # 6.3
        "quantization_begin": 0.0,  # 6.5
    },
    "dense": {"padding": "max_length"},
}


@pytest.mark.parametrize("model", [*PAPER_MODELS, "any"])
@pytest.mark.parametrize("task", ["squad", "mnli", "sst2"])
@pytest.mark.parametrize("kind", RELEASED)
def test_every_switch_has_the_releases_value_and_its_source(kind: str, task: str, model: str) -> None:
    declared = get_kind(kind)
    found = REFERENCE.recipe.parameters(declared, model=model, task=task if declared.task_data else None)
    assert {name: found[name] for name in RELEASED[kind]} == RELEASED[kind]
    for name in RELEASED[kind]:
        key = REFERENCE.recipe.key_for(declared, name, model, task)
        assert key is not None
        assert REFERENCE.recipe.settings[key].evidence == "published", key
        assert REFERENCE.recipe.settings[key].source.startswith("authors' release"), key


def test_what_differs_from_the_paper_are_the_switches_where_ours_are_others() -> None:
    ours, theirs = PAPER.recipe.settings, REFERENCE.recipe.settings
    # What was no setting before has the value of its default: the release's own.
    assert {key for key in theirs if key not in ours} - {"common.tie_rule"} == {
        "common.regrowth",
        "quantization.quantization_begin",
        *(f"{kind}.padding" for kind in ("dense", "task_pruning", "transfer", "quantization")),
    }
    assert ours.keys() <= theirs.keys()
    changed = {key for key, setting in ours.items() if setting.value != theirs[key].value}
    assert changed == {
        *(f"{kind}.{weight}" for kind in ("transfer", "quantization") for weight in ("ce_weight", "kd_weight")),
        "quantization.weight_scale",
    }
    assert REFERENCE.rows == PAPER.rows


def planned(name: str) -> Plan:
    preset = load_preset(name)
    grid = expand(Axes(models=["bert-base"], tasks=["sst2"], seeds=[0]), preset)
    return plan_cells(grid.cells, preset.recipe, inputs(["bert-base"]), grid.methods)


def test_its_preparation_is_the_papers_and_its_pruning_and_fine_tuning_are_its_own() -> None:
    paper, reference = planned("paper"), planned("paper-reference")
    assert len(paper.stages) == len(reference.stages)
    shared = {spec.kind for stage_id, spec in paper.stages.items() if stage_id in reference.stages}
    assert shared == {"corpus", "pairs", "teacher_preparation"}
    for stage in of_kind(reference, "student_pruning").values():
        (other,) = (
            each
            for each in of_kind(paper, "student_pruning").values()
            if each.parameters["sparsity"] == stage.parameters["sparsity"]
        )
        assert dict(stage.parameters) == {**other.parameters, "tie_rule": "threshold"}


def rows_of_the_page() -> list[list[str]]:
    lines = (ROOT / "docs" / "switches.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [[cell.strip("`") for cell in row] for row in cells]


@pytest.mark.parametrize("row", rows_of_the_page(), ids=lambda row: row[0])
def test_the_page_of_switches_has_the_values_of_both_presets(row: list[str]) -> None:
    name, kinds, *values, _ = row
    for kind in kinds.split(", "):
        for preset, value in zip((PAPER, REFERENCE), values, strict=True):
            found = preset.recipe.parameters(get_kind(kind), model="bert-base", task="mnli")[name]
            assert (str(found).lower() if isinstance(found, bool) else str(found)) == value, (kind, name)


def test_the_page_has_every_switch_of_the_release() -> None:
    on_page = {(kind, row[0]) for row in rows_of_the_page() for kind in row[1].split(", ")}
    of_release = {(kind, name) for kind, values in RELEASED.items() for name in values}
    # The weights of the two pruning kinds are a half in both presets; the momentum is no switch.
    weights = {(kind, name) for kind in ("student_pruning", "task_pruning") for name in ("ce_weight", "kd_weight")}
    assert of_release - on_page == {*weights, ("quantization", "activation_momentum")}
