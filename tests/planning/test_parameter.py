"""A parameter's type, constraint and default; what a declaration may not say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from grid_world import SLICE, preset

from harness.planning.kinds import KINDS, StageKind
from harness.planning.parameter import Parameter
from harness.planning.preset import load_preset


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "description"),
    [
        ({"at_least": 1}, [1, 7], [0, -1], "1 or more"),
        ({"above": 0}, [1], [0, -1], "a number above 0"),
        ({"at_most": 3}, [3, -2], [4], "3 or less"),
        ({"below": 3}, [2], [3], "a number below 3"),
        ({"at_least": 0, "below": 3}, [0, 2], [-1, 3], "a number in [0, 3)"),
        ({"above": 0, "at_most": 3}, [1, 3], [0, 4], "a number in (0, 3]"),
        ({"one_of": (4, 8)}, [4, 8], [0, 5], "one of 4, 8"),
    ],
)
def test_bounds_admit_what_they_say(
    bounds: dict[str, Any], inside: list[int], outside: list[int], description: str
) -> None:
    parameter = Parameter(int, **bounds)
    assert [parameter.parse(value) for value in inside] == inside
    for value in outside:
        with pytest.raises(ValueError, match=f"^{value}: expected {re.escape(description)}[.]$"):
            parameter.parse(value)


def test_a_parameter_without_bounds_takes_any_value_of_its_type() -> None:
    assert Parameter(int).parse(-(10**9)) == -(10**9)
    assert Parameter(str).constraint is None


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"type": list}, "expected one of bool, float, int, str"),
        ({"type": bool, "above": 0}, "a bool has no bounds"),
        ({"type": int, "above": 0, "at_least": 1}, "one lower and one upper bound"),
        ({"type": int, "default": 3}, "needs exactly one of published, partner, assumed"),
        ({"type": int, "default": 3, "assumed": " "}, "needs exactly one of published, partner, assumed"),
        ({"type": int, "default": 3, "assumed": "a", "published": "b"}, "needs exactly one of"),
        ({"type": int, "assumed": "a"}, "evidence of which default?"),
        ({"type": int, "at_least": 1, "default": 0, "assumed": "a"}, "0: expected 1 or more"),
        ({"type": int, "default": 1.5, "assumed": "a"}, "1.5 is float, expected int"),
        ({"type": int, "silent": True}, "silent=True: expected a default"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(declared: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Parameter(**declared)


def test_a_default_is_of_the_parameters_type_and_has_its_evidence() -> None:
    rate = KINDS["dense"].recipe["learning_rate"].with_default(1, published="Table 4")
    assert repr(rate.default) == "1.0"
    assert rate.evidence == ("published", "Table 4")
    assert rate.shared
    assert KINDS["dense"].recipe["learning_rate"].default is None


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"version": 0}, "version=0: expected a whole number, 1 or more"),
        ({"run": "lab.stage"}, "run='lab.stage': expected package.module:function"),
        ({"work": "thinking"}, "work='thinking': expected one of data, pretraining, training"),
        ({"recipe": {"rate": float}}, "expected a name and a Parameter"),
        ({"recipe": {"seed": Parameter(int)}, "identity": ("seed",)}, "seed: in recipe and in identity"),
        ({"task_data": ("max_lenght",)}, "Did you mean 'max_length'"),
    ],
)
def test_a_kind_that_contradicts_itself_is_refused(declared: dict[str, Any], words: str) -> None:
    sound = {"name": "lab:stage", "version": 1, "run": "lab.stage:run", "work": "training", "recipe": {}}
    assert StageKind(**sound).owner == "lab"
    with pytest.raises(ValueError, match=r"^stage kind 'lab:stage': ") as caught:
        StageKind(**{**sound, **declared})
    assert words in str(caught.value)


# -- in a recipe

LAB = StageKind(
    name="lab:stage",
    version=1,
    run="lab.stage:run",
    work="training",
    recipe={
        "threads": KINDS["dense"].recipe["threads"],
        "frequency": Parameter(float, default=0.5, assumed="half of the time"),
        "batch_size": KINDS["dense"].recipe["batch_size"].with_default(7, published="section 5"),
    },
)


def test_the_default_counts_where_no_setting_does() -> None:
    """The slice preset has common.threads, common.frequency and common.batch_size."""
    recipe = preset().recipe
    common = {key: setting.value for key, setting in recipe.settings.items() if key.startswith("common.")}
    assert {"common.threads", "common.frequency"} <= common.keys()
    found = recipe.parameters(LAB)
    # common reaches the parameters of the shared groups, and goes before their default; frequency is the kind's own.
    assert found["threads"] == common["common.threads"]
    assert found["frequency"] == 0.5
    assert found["batch_size"] == common.get("common.batch_size", 7)


def test_defaults_in_use_are_told_with_their_evidence() -> None:
    recipe = load_preset(str(SLICE)).recipe
    bare = type(recipe)(settings={"lab:stage.threads": recipe.settings["common.threads"]}, owned={LAB.name: LAB})
    defaults = {key: (s.value, s.evidence, s.source) for key, s in bare.defaults(LAB).items()}
    assert defaults == {
        "lab:stage.frequency": (0.5, "assumed", "half of the time"),
        "lab:stage.batch_size": (7, "published", "section 5"),
    }
    changed = bare.changed({"lab:stage.frequency": 0.25, "lab:stage.tasks.sst2.batch_size": 9})
    assert changed.parameters(LAB)["frequency"] == 0.25
    assert changed.defaults(LAB).keys() == {"lab:stage.batch_size"}
    assert changed.parameters(LAB, task="sst2")["batch_size"] == 9
    assert changed.defaults(LAB, task="sst2").keys() == set()
