"""The controls: which stages each has, what sets it apart from the method that it stands beside, and on which terms."""

from __future__ import annotations

from typing import Any

import pytest
from grid_world import inputs, of_kind, plan

from harness.planning.difference import Comparison
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.grid import Axes, expand
from harness.planning.kinds import FINE_TUNING, SOFT_TARGETS
from harness.planning.method_registry import BUILT_IN, find_method
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset, preset_names
from harness.specs import Cell, StageSpec
from paper_tables.numbers.collect import transfer_kd

CONTROLS = {
    "dense-kd": "yes",
    "dense-prepared": "na",
    "dense-prepared-kd": "yes",
    "dense-continued": "yes",
    "finetune-pruning-prepared": "yes",
    "random-mask": "yes",
}
ONE: dict[str, Any] = {"tasks": ["sst2"], "seeds": [1], "sparsities": [0.0, 0.85]}


def planned(*methods: str, found: Inputs | None = None, **axes: Any) -> Plan:
    return plan(methods=list(methods), found=found, **{**ONE, **axes})


def model_of(control: Plan, method: str, sparsity: float = 0.0) -> StageSpec:
    """The stage whose model is the method's."""
    (cell,) = (cell for cell in control.paths if (cell.method, cell.sparsity) == (method, sparsity))
    return control.stages[control.stages[control.endpoint(cell)].parents["model"]]


def apart(whole: Plan, one: StageSpec, other: StageSpec) -> set[str]:
    return {found.name for found in Comparison(whole, whole).differences(one.stage_id, other.stage_id)}


def test_dense_kd_is_prune_ofas_transfer_of_the_base_model() -> None:
    both = planned("dense-kd", "prune-ofa")
    control, sparse = model_of(both, "dense-kd"), model_of(both, "prune-ofa", 0.85)
    assert (control.kind, sparse.kind) == ("transfer", "transfer")
    assert dict(control.parameters) == dict(sparse.parameters)
    assert control.parents == {"teacher": sparse.parents["teacher"]}
    assert control.inputs == {"model": "weights of tiny", "tokenizer": "vocabulary", "train": "sst2/train"}


def test_dense_prepared_differs_from_dense_in_its_start_alone() -> None:
    both = planned("dense-prepared", "dense", "prune-ofa")
    control, dense = model_of(both, "dense-prepared"), model_of(both, "dense")
    assert dict(control.parameters) == dict(dense.parameters)
    (pruned,) = of_kind(both, "student_pruning").values()
    assert control.parents == {"model": pruned.parents["teacher"]}, "the model that Prune OFA prunes"
    assert dense.parents == {}


def test_dense_prepared_kd_is_prune_ofas_transfer_of_what_it_prunes() -> None:
    both = planned("dense-prepared-kd", "prune-ofa")
    control, sparse = model_of(both, "dense-prepared-kd"), model_of(both, "prune-ofa", 0.85)
    assert dict(control.parameters) == dict(sparse.parameters)
    assert control.parents["model"] == both.stages[sparse.parents["model"]].parents["teacher"]


def test_dense_continued_is_prune_ofa_at_sparsity_0() -> None:
    """In all that goes before the transfer and in it, only the sparsity differs."""
    both = planned("dense-continued", "prune-ofa")
    control, sparse = model_of(both, "dense-continued"), model_of(both, "prune-ofa", 0.85)
    assert apart(both, control, sparse) == {"student_pruning.sparsity"}
    assert both.stages[control.parents["model"]].parameters["sparsity"] == 0.0


def test_fine_tune_pruning_of_the_prepared_teacher_differs_in_its_start_alone() -> None:
    both = planned("finetune-pruning-prepared", "finetune-pruning", "prune-ofa")
    control, base = (model_of(both, f"finetune-pruning{name}", 0.85) for name in ("-prepared", ""))
    assert dict(control.parameters) == dict(base.parameters)
    (pruned,) = of_kind(both, "student_pruning").values()
    assert control.parents == {"model": pruned.parents["teacher"], "teacher": base.parents["teacher"]}


def test_a_random_mask_is_drawn_once_for_all_tasks_and_transfer_seeds_and_anew_for_each_pruning_seed() -> None:
    found = planned("random-mask", "prune-ofa", tasks=["sst2", "squad"], seeds=[0, 1, 2], pruning_seeds=[0, 1])
    masks = of_kind(found, "random-mask:mask")
    assert sorted(spec.parameters["seed"] for spec in masks.values()) == [0, 1]
    transfers = [spec for spec in of_kind(found, "transfer").values() if spec.parents["model"] in masks]
    assert len(transfers) == 2 * 3 * 2
    for spec in masks.values():
        assert spec.inputs == {"model": "weights of tiny", "tokenizer": "vocabulary"}
        assert dict(spec.parameters) == {
            "model": "tiny",
            "sparsity": 0.85,
            "seed": spec.parameters["seed"],
            "prune_pooler": True,
        }
    labels = {found.label(spec.stage_id) for spec in transfers if spec.parameters["seed"] == 0}
    assert "transfer tiny sst2 0.85 from random-mask:mask seed 0" in labels
    prune_ofas = [spec for spec in of_kind(found, "transfer").values() if spec.parents["model"] not in masks]
    assert {tuple(spec.parameters.items()) for spec in transfers} == {
        tuple(spec.parameters.items()) for spec in prune_ofas
    }


def test_the_controls_of_an_encoder_with_random_weights_are_the_methods_themselves() -> None:
    """Preparation is its pre-training: nothing more was seen. The mask starts from the pre-trained model."""
    unknown = inputs({"tiny": ModelIdentity(weights="w", tokenizer="t", pretrained=False)})
    found = planned("dense", "dense-prepared", "finetune-pruning", "finetune-pruning-prepared", found=unknown)
    assert model_of(found, "dense-prepared") is model_of(found, "dense")
    assert model_of(found, "finetune-pruning-prepared", 0.85) is model_of(found, "finetune-pruning", 0.85)
    masked = planned("random-mask", found=unknown)
    (mask,) = of_kind(masked, "random-mask:mask").values()
    assert masked.stages[mask.parents["model"]].kind == "teacher_preparation"


@pytest.mark.parametrize("name", [*CONTROLS])
def test_a_control_is_planned_under_every_preset_that_pre_trains(name: str) -> None:
    """Without a setting of its own: what it shares with a method comes from that method's settings."""
    for preset_name in preset_names():
        chosen = load_preset(preset_name)
        if chosen.sparse_checkpoints:
            continue
        axes = Axes(
            models=["bert-base"], methods=[name, "prune-ofa"], sparsities=[0, 0.85], quantization=["none", "int8"]
        )
        grid = expand(axes, chosen)
        data = {f"{task}/{split}": task for task in chosen.tasks for split in ("train", "validation")}
        data |= {f"corpus/{split}": "corpus" for split in ("train", "validation")} | {"mnli/validation_matched": "mnli"}
        found = plan_cells(grid.cells, chosen.recipe, Inputs(models=inputs(["bert-base"]).models, data=data))
        cells = [cell for cell in found.paths if cell.method == name]
        assert cells
        assert {transfer_kd(found, cell) for cell in cells} == {CONTROLS[name]}


def test_dense_is_quantized_without_a_teacher_and_its_distilled_control_with_it() -> None:
    """Rows dense and dense-kd at 8 bits: QAT goes on as the fine-tuning did."""
    found = planned("dense", "dense-kd", quantization=["none", "int8"], sparsities=[0.0])
    rows = {(cell.method, cell.bits): cell for cell in found.paths}
    assert sorted(rows) == [("dense", 8), ("dense", 32), ("dense-kd", 8), ("dense-kd", 32)]
    for method, distilled in (("dense", False), ("dense-kd", True)):
        end = found.stages[found.endpoint(rows[method, 8])]
        quantized = found.stages[end.parents["model"]]
        assert (quantized.kind, end.parameters["arithmetic"]) == ("quantization", "int8")
        assert quantized.parents["model"] == model_of_cell(found, rows[method, 32]).stage_id
        assert ("teacher" in quantized.parents) == distilled
        assert transfer_kd(found, rows[method, 8]) == ("yes" if distilled else "na")


def model_of_cell(found: Plan, cell: Cell) -> StageSpec:
    return found.stages[found.stages[found.endpoint(cell)].parents["model"]]


def test_controls_are_on_the_terms_of_the_methods_that_they_stand_beside() -> None:
    found = planned("dense-kd", "dense-prepared-kd", "dense-continued", "random-mask", "prune-ofa")
    wanted = model_of(found, "prune-ofa", 0.85)
    for name in ("dense-kd", "dense-prepared-kd", "dense-continued", "random-mask"):
        control = model_of(found, name, 0.85 if name == "random-mask" else 0.0)
        for term in (*FINE_TUNING, *SOFT_TARGETS, "lock_pooler"):
            assert control.parameters[term] == wanted.parameters[term]
        assert control.parents["teacher"] == wanted.parents["teacher"]


def test_the_controls_are_found_by_name_and_say_what_they_are() -> None:
    assert {*CONTROLS} <= {*BUILT_IN}
    for name, kd in CONTROLS.items():
        method = find_method(name).method
        assert (method.name, method.transfer_kd) == (name, kd)
        assert method.title.startswith("(control) ")
