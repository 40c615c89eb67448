"""The switches between the paper's method and its variants, in a plan: which stages each reaches, and with what."""

from __future__ import annotations

from typing import Any

import grid_world
import pytest
from grid_world import of_kind, sentences, with_descendants

from harness.errors import UsageError
from harness.planning.graph import Plan
from harness.planning.kinds import KINDS
from harness.specs import StageSpec

GRID: dict[str, Any] = {
    "methods": ["dense", "finetune-pruning", "prune-ofa"],
    "tasks": ["sst2"],
    "sparsities": [0.85],
    "quantization": ["none", "int8"],
}
PRUNING_SWITCHES = {
    "lr_rewind": False,
    "ranking": "global",
    "prune_pooler": False,
    "regrowth": False,
    "tie_rule": "threshold",
    "ce_weight": 0.0,
    "kd_weight": 1.0,
    "temperature": 5.5,
}
SWITCHES: dict[str, dict[str, Any]] = {
    "student_pruning": PRUNING_SWITCHES,
    "task_pruning": PRUNING_SWITCHES,
    "transfer": {"lock_pooler": False, "ce_weight": 0.0, "kd_weight": 1.0, "temperature": 5.5},
    "quantization": {"weight_scale": "ref_max127_5", "quantization_begin": 0.25, "lock_pooler": False},
}
CASES = [(kind, name, value) for kind, switches in SWITCHES.items() for name, value in switches.items()]
NEW = [("student_pruning", "regrowth"), ("student_pruning", "tie_rule"), ("quantization", "quantization_begin")]


def planned(*assignments: str) -> Plan:
    return grid_world.plan(*assignments, **GRID)


def setting(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("kind", "name", "value"), CASES, ids=lambda each: str(each))
def test_a_switch_changes_the_stages_of_its_kind_in_that_value_alone_and_what_follows_from_them(
    kind: str, name: str, value: Any
) -> None:
    before, after = planned(), planned(f"{kind}.{name}={setting(value)}")
    reached = with_descendants(before, list(of_kind(before, kind)))
    assert before.stages.keys() - after.stages.keys() == reached
    assert len(before.stages) == len(after.stages)
    (one, *_), (other, *_) = (list(of_kind(plan, kind).values()) for plan in (before, after))
    assert differing(one, other) == {name}
    assert other.parameters[name] == value


def differing(one: StageSpec, other: StageSpec) -> set[str]:
    names = one.parameters.keys() | other.parameters.keys()
    absent = object()
    return {n for n in names if one.parameters.get(n, absent) != other.parameters.get(n, absent)}


@pytest.mark.parametrize(("kind", "name"), NEW)
def test_a_new_switch_at_its_default_leaves_every_stage_what_it_was(kind: str, name: str) -> None:
    declared = KINDS[kind].recipe[name]
    said = planned(f"{kind}.{name}={setting(declared.default)}", f"common.{name}={setting(declared.default)}")
    assert said.stages.keys() == planned().stages.keys()
    assert all(name not in spec.parameters for spec in said.stages.values())


def test_the_releases_tie_rule_under_a_global_ranking_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        planned("common.tie_rule=threshold", "task_pruning.ranking=global")
    (problem,) = sentences(refused.value)
    assert problem.startswith(
        "task_pruning.tie_rule=threshold, task_pruning.ranking=global: expected exact under a global ranking"
    )


@pytest.mark.parametrize("value", ["1.0", "-0.1", "true"])
def test_a_quantization_that_would_never_begin_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"quantization_begin.*expected"):
        planned(f"quantization.quantization_begin={value}")


TRAINED = ("teacher_preparation", "student_pruning", "dense", "task_pruning", "transfer", "quantization")


def test_a_precision_has_stages_of_its_own_but_for_the_data() -> None:
    """Every stage that trains, and every score."""
    data: set[frozenset[str]] = set()
    others: list[str] = []
    for precision in ("fp32", "tf32", "bf16"):
        planned = grid_world.plan(f"common.precision={precision}", **GRID)
        is_data = {stage_id: spec.kind in ("corpus", "pairs") for stage_id, spec in planned.stages.items()}
        data.add(frozenset(stage_id for stage_id, of_data in is_data.items() if of_data))
        others += [stage_id for stage_id, of_data in is_data.items() if not of_data]
        assert {"corpus", "pairs", *TRAINED} <= {*planned.counts()}
        assert {spec.parameters.get("precision", precision) for spec in planned.stages.values()} == {precision}
    assert len(data) == 1
    assert len({*others}) == len(others) > 0
