"""Settings for one sparsity: which stages they reach, what goes before them, and keys that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from grid_world import of_kind, plan, preset, sentences

from harness.errors import UsageError
from harness.planning.preset import load_preset
from harness.planning.reach import reach_of
from harness.planning.recipe import split_key
from harness.studies.description import settings_with_evidence

KIND = "soft-movement:pruning"
AXES: dict[str, Any] = {"methods": ["soft-movement"], "tasks": ["sst2"], "sparsities": [0.85, 0.9]}
LAMBDA = f"{KIND}.final_lambda"


def lambdas(*settings: str, **axes: Any) -> dict[float, float]:
    found = of_kind(plan(*settings, **{**AXES, **axes}), KIND).values()
    return {spec.parameters["sparsity"]: spec.parameters["final_lambda"] for spec in found}


def at(sparsity: str, scope: str = "") -> str:
    return f"{KIND}{scope}.sparsities.{sparsity}.final_lambda"


def test_each_sparsity_has_its_own_value() -> None:
    assert lambdas(f"{at('0.85')}=10", f"{at('0.9')}=20") == {0.85: 10.0, 0.9: 20.0}
    assert lambdas(f"{LAMBDA}=5", f"{at('0.9')}=20") == {0.85: 5.0, 0.9: 20.0}
    assert lambdas() == {0.85: 400.0, 0.9: 400.0}


def test_what_is_given_for_a_task_or_model_goes_before_what_is_given_for_a_sparsity_alone() -> None:
    assert lambdas(f"{KIND}.tasks.sst2.final_lambda=7", f"{at('0.9')}=20", f"{at('0.85')}=20") == {0.85: 7.0, 0.9: 7.0}
    both = f"{at('0.9', '.tasks.sst2')}=8", f"{KIND}.tasks.sst2.final_lambda=7"
    assert lambdas(*both) == {0.85: 7.0, 0.9: 8.0}
    assert lambdas(f"{at('0.9', '.models.tiny.tasks.sst2')}=9", *both) == {0.85: 7.0, 0.9: 9.0}


def test_a_value_for_one_sparsity_leaves_the_others_stages_as_they_were() -> None:
    one, other = (of_kind(plan(f"{at('0.85')}=10", f"{at('0.9')}={value}", **AXES), KIND) for value in (20, 30))
    assert len(one.keys() & other.keys()) == 1
    assert len(one.keys() ^ other.keys()) == 2


def test_any_kind_with_a_sparsity_may_have_them() -> None:
    axes = {"methods": ["finetune-pruning"], "tasks": ["sst2"], "sparsities": [0.85, 0.9]}
    found = of_kind(plan("task_pruning.sparsities.0.9.learning_rate=0.5", **axes), "task_pruning").values()
    rates = {spec.parameters["sparsity"]: spec.parameters["learning_rate"] for spec in found}
    assert rates[0.9] == 0.5
    assert rates[0.85] != 0.5


def test_a_sparsity_without_a_value_where_others_have_one_is_refused_with_the_key_to_give() -> None:
    """The published default is for none of them: what was chosen at 0.9 says nothing of 0.85."""
    with pytest.raises(UsageError) as caught:
        lambdas(f"{at('0.9')}=20")
    (said,) = sentences(caught.value)
    assert f"the recipe has no value for {at('0.85')}" in said
    assert f"{at('0.85')}=.." in said


@pytest.mark.parametrize(
    "key",
    [
        at("0.90"),
        at("1"),
        at("90"),
        at("x"),
        f"{KIND}.sparsities.final_lambda",
        f"{KIND}.sparsities.0.9.tasks.sst2.final_lambda",
        "transfer.sparsities.0.9.epochs",
        "dense.sparsities.0.9.epochs",
    ],
)
def test_what_is_no_sparsity_or_of_a_kind_without_one_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="is not known"):
        preset(f"{key}=1", methods=["soft-movement"])


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        (at("0.9"), (KIND, ["sparsities", "0.9"], "final_lambda")),
        (
            at("0.975", ".models.m.tasks.sst2"),
            (KIND, ["models", "m", "tasks", "sst2", "sparsities", "0.975"], "final_lambda"),
        ),
        ("task_pruning.models.sparsities.epochs", ("task_pruning", ["models", "sparsities"], "epochs")),
    ],
)
def test_a_key_keeps_the_dot_of_its_sparsity(key: str, parts: tuple[str, list[str], str]) -> None:
    assert split_key(key) == parts


def test_the_reach_of_a_setting_and_its_evidence_are_told() -> None:
    given = f"{LAMBDA}=5", f"{at('0.9')}=20"
    chosen, planned = preset(*given, methods=["soft-movement"]), plan(*given, **AXES)
    narrow, wide = (reach_of(key, chosen.recipe, planned) for key in (at("0.9"), LAMBDA))
    assert (len(narrow.concerned), len(narrow.reached)) == (1, 1)
    assert (len(wide.concerned), len(wide.reached)) == (2, 1)
    assert wide.before == {at("0.9"): 20.0}
    for spec in of_kind(planned, KIND).values():
        (told,) = [
            each for each in settings_with_evidence(spec, planned, chosen.recipe) if each["name"] == "final_lambda"
        ]
        assert told["key"] == (at("0.9") if spec.parameters["sparsity"] == 0.9 else LAMBDA)


def test_the_quick_preset_has_a_value_for_its_own_sparsities() -> None:
    recipe = load_preset("quick", ["soft-movement"]).recipe
    for task in ("sst2", "qnli", "qqp"):
        values = [
            recipe.parameters(recipe.kinds[KIND], model="tiny-narrow", task=task, sparsity=sparsity)["final_lambda"]
            for sparsity in (0.85, 0.9)
        ]
        assert 0 < values[0] < values[1]
    with pytest.raises(UsageError, match="sparsities.0.7.final_lambda"):
        recipe.parameters(recipe.kinds[KIND], model="tiny-narrow", task="sst2", sparsity=0.7)
