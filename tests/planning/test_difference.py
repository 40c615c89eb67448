"""The words for what sets stages apart."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from grid_world import inputs, of_kind, plan

from harness.planning.difference import BEFORE, Comparison, Difference, counterparts, described
from harness.planning.graph import Plan
from harness.planning.kinds import KINDS
from harness.specs import StageSpec

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


def test_stages_are_alike_that_only_seeds_set_apart_in_themselves_or_behind_them() -> None:
    planned = Plan()

    def chain(learning_rate: float, seed: int) -> str:
        parent = planned.add(StageSpec(kind="dense", parameters={"learning_rate": learning_rate, "seed": seed}))
        return planned.add(
            StageSpec(kind="evaluation", parameters={"task": "sst2"}, parents={"model": parent.stage_id})
        ).stage_id

    first, reseeded, other = chain(1e-5, 0), chain(1e-5, 1), chain(2e-5, 0)
    assert len({first, reseeded, other}) == 3
    assert planned.alike(first) == planned.alike(reseeded) != planned.alike(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "transfer"},
        {"parameters": {"seed": 1, "task": "rte"}},
        {"parameters": {"seed": 1, "train_subset_seed": 1}},
        {"parents": {"teacher": "x"}},
        {"inputs": {"train": "y"}},
        {"versions": {"kind": 2}},
    ],
)
def test_whatever_else_sets_stages_apart_is_told(changed: dict[str, Any]) -> None:
    of_seed = StageSpec(kind="dense", parameters={"seed": 1}, inputs={"train": "x"}, versions={"kind": 1})
    first = replace(of_seed, parameters={"seed": 0})
    of_both = replace(of_seed, **changed)
    parent = StageSpec(kind="dense", parameters={})
    planned = Plan(stages={"x": parent, "first": first, "of seed": of_seed, "of both": of_both})
    assert planned.alike("first") == planned.alike("of seed") != planned.alike("of both")


@pytest.mark.parametrize(("kind", "is_alike"), [("transfer", True), ("pairs", False), ("acme:lab", False)])
def test_a_seed_is_passed_over_where_the_plan_gives_it(kind: str, is_alike: bool) -> None:
    """That of the pairs is a setting of the recipe, and of another package's kind nothing is known."""
    one, other = (StageSpec(kind=kind, parameters={"seed": seed}) for seed in (0, 1))
    planned = Plan(stages={"one": one, "other": other})
    assert (planned.alike("one") == planned.alike("other")) is is_alike


def test_alike_are_those_that_a_comparison_finds_no_difference_between_but_of_seeds() -> None:
    """By the slow road, over every two stages of a kind in a study that grew by seeds, data and a setting."""
    axes = {"methods": ["dense", "prune-ofa"], "tasks": ["sst2"], "sparsities": [0.85]}
    plans = [
        plan(**axes, seeds=(0, 1), pruning_seeds=(0, 4)),
        plan("dense.epochs=7", **axes, seeds=(0, 2)),
        plan(**axes, seeds=(0, 3), found=inputs(changed={"corpus/train": "mended"})),
    ]
    grown = Plan(stages={key: spec for each in plans for key, spec in each.stages.items()})
    comparison = Comparison(grown, grown, counts=lambda found: not found.is_of_a_seed)
    of_kind: dict[str, list[str]] = defaultdict(list)
    for stage_id, spec in grown.stages.items():
        of_kind[spec.kind].append(stage_id)
    pairs = [pair for ids in of_kind.values() for pair in combinations(ids, 2)]
    alike = [pair for pair in pairs if grown.alike(pair[0]) == grown.alike(pair[1])]
    assert alike == [pair for pair in pairs if not comparison.differences(*pair)]
    assert 10 < len(alike) < len(pairs) - 10
