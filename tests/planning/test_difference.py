"""The words for what sets stages apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from grid_world import inputs, of_kind, plan

from harness.planning.difference import BEFORE, Comparison, Difference, counterparts, described
from harness.planning.kinds import KINDS

AXES = {"methods": ["dense"], "tasks": ["sst2"], "seeds": (0,)}


def test_contents_come_first_then_settings_with_both_values_and_a_count_of_the_others() -> None:
    found = [
        Difference("setting", "dense.epochs", 1.0, 3.0),
        Difference("version", "dense", 1, 2),
        Difference("data", "squad", "a", "b"),
        Difference("data", "sst2", "a", "b"),
        Difference("model", "tiny", "a", "b"),
        Difference("stages", "teacher of transfer", None, "dense"),
        Difference("setting", "dense.epochs", 1.0, 3.0),
    ]
    assert described(found) == [
        "the model (tiny)",
        "the data (squad, sst2)",
        "dense.epochs (1.0 and 3.0)",
        "the code version of dense (1 and 2)",
        "teacher of transfer (none and dense)",
    ]
    assert described(found, BEFORE, most=1)[2:] == ["dense.epochs 3.0 (was 1.0)", "and 2 more"]


def test_a_stages_own_differences_are_without_those_of_its_parents() -> None:
    one, other = plan(**AXES), plan("dense.epochs=7", **AXES, found=inputs(changed={"sst2/train": "mended"}))
    comparison = Comparison(one, other)
    (dense, evaluation), (their_dense, their_evaluation) = one.stages, other.stages
    assert described(comparison.own(dense, their_dense), BEFORE) == ["the data (sst2)", "dense.epochs 7.0 (was 3.0)"]
    assert comparison.own(evaluation, their_evaluation) == []
    assert {each.name for each in comparison.differences(evaluation, their_evaluation)} == {"sst2", "dense.epochs"}
    assert counterparts(one.stages[evaluation], other.stages[their_evaluation]) == {"model": (dense, their_dense)}
    assert comparison.own(dense, their_evaluation) == [Difference("stages", "stage", "dense", "evaluation")]


@pytest.mark.parametrize("raised", [0, 1])
def test_a_setting_that_one_side_lacks_is_of_the_code_where_its_version_differs(
    monkeypatch: pytest.MonkeyPatch, raised: int
) -> None:
    one, kind = plan(**AXES), KINDS["dense"]
    recipe = {name: parameter for name, parameter in kind.recipe.items() if name != "weight_decay"}
    monkeypatch.setitem(KINDS, "dense", replace(kind, version=kind.version + raised, recipe=recipe))
    other = plan(**AXES)
    (dense,), (their_dense,) = of_kind(one, "dense"), of_kind(other, "dense")
    found = {each.name: each for each in Comparison(one, other).own(dense, their_dense)}
    assert found["dense.weight_decay"] == Difference("setting", "dense.weight_decay", 0.01, None, of_code=bool(raised))
