"""Movement pruning as it is planned: settings of every preset, terms, memory, where its stages start."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from grid_world import of_kind, plan

from harness.inputs.shapes import HUB_SHAPES
from harness.planning.kinds import FINE_TUNING, TASK_DATA, get_kind
from harness.planning.method_registry import find_method
from harness.planning.preset import load_preset, preset_names
from methods.movement import MOVEMENT_PRUNING, SOFT_MOVEMENT_PRUNING

METHODS = ("movement", "soft-movement")
TASKS = ("sst2", "qnli", "qqp", "mnli", "squad")


def parameters(preset: str, method: str, task: str, model: str = "any") -> dict[str, Any]:
    recipe = load_preset(preset, METHODS).recipe
    kind = recipe.kinds[f"{method}:pruning"]
    return recipe.parameters(kind, model=model, task=task, sparsity=0.9)


@pytest.mark.parametrize(
    ("preset", "method", "task"),
    [*product(("quick", "sweep", "equal"), METHODS, TASKS), *product(("reduced",), METHODS, TASKS)],
)
def test_it_has_the_terms_of_task_pruning(preset: str, method: str, task: str) -> None:
    """Under reduced the learning rate is the same value, though it was searched for task pruning alone."""
    models = {"quick": ("tiny-narrow", "tiny-wide"), "sweep": ("tiny-narrow",), "reduced": ("minilm-l6",)}
    for model in models.get(preset, ("bert-base", "bert-large", "distilbert")):
        if preset in ("quick", "sweep") and method == "soft-movement" and task in ("mnli", "squad"):
            continue  # no final_lambda was bisected there: refused, with the key to give
        ours = parameters(preset, method, task, model)
        theirs = load_preset(preset).recipe.parameters(get_kind("task_pruning"), model=model, task=task)
        shared = [*FINE_TUNING, "ce_weight", "kd_weight", "temperature", "prune_pooler"]
        shared += [name for name in TASK_DATA if name in theirs]
        assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


@pytest.mark.parametrize("method", METHODS)
def test_the_papers_preset_has_the_published_squad_recipe(method: str) -> None:
    found = parameters("paper", method, "squad")
    published = {
        "epochs": 10.0,
        "batch_size": 16,
        "learning_rate": 3e-5,
        "score_learning_rate": 1e-2,
        "warmup_fraction": 0.0976,  # 5,400 of 55,320
        "weight_decay": 0.0,
        "prune_pooler": False,
        "freeze_embeddings": True,
        **({"final_threshold": 0.1, "final_lambda": 400.0, "least_kept": 0.005} if method == "soft-movement" else {}),
    }
    assert {name: found[name] for name in published} == published
    assert parameters("paper", method, "mnli")["epochs"] == 6.0


@pytest.mark.parametrize(("preset", "method"), product(preset_names(), METHODS))
def test_every_setting_of_a_preset_is_one_of_the_kind(preset: str, method: str) -> None:
    """load_preset with the method's name judges its sections; without it they are passed over."""
    settings = load_preset(preset, [method]).recipe.settings
    sections = [key for key in settings if key.startswith(f"{method}:pruning.")]
    assert sections or preset == "paper-released"


@pytest.mark.parametrize("method", METHODS)
def test_it_starts_from_the_base_model_and_has_the_task_teacher_of_all_seeds(method: str) -> None:
    found = of_kind(plan(methods=[method], tasks=["sst2"], sparsities=[0.9], seeds=[0, 1]), f"{method}:pruning")
    assert len(found) == 2
    assert len({spec.parents["teacher"] for spec in found.values()}) == 1
    assert all("model" in spec.inputs and "model" not in spec.parents for spec in found.values())


def test_which_sparsity_is_promised_is_a_fact_that_a_study_keeps() -> None:
    facts = {method: find_method(method).facts() for method in (*METHODS, "finetune-pruning")}
    assert [each.sparsity_is for each in facts.values()] == ["exact", "outcome", "exact"]
    assert facts["soft-movement"].as_json()["sparsity_is"] == "outcome"
    assert "sparsity_is" not in facts["movement"].as_json()


@pytest.mark.parametrize("kind", [MOVEMENT_PRUNING, SOFT_MOVEMENT_PRUNING])
def test_the_memory_is_25_bytes_a_scored_weight(kind: Any) -> None:
    """BERT-Base: 84,934,656 weights of the layers, 589,824 of the pooler."""
    shape = HUB_SHAPES["bert-base"]
    assert kind.memory(shape, {"prune_pooler": False}) == 84_934_656 * 25
    assert kind.memory(shape, {"prune_pooler": True}) == (84_934_656 + 589_824) * 25
