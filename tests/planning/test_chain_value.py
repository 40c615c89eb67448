"""What a method whose stages depend on its recipe is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import UsageError
from harness.planning.chain import Chain
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.method_needs import StandIn
from harness.planning.method_registry import find_method
from harness.planning.preset import load_preset
from harness.specs import Cell

CELL = Cell(model="m", method="lottery-ticket", sparsity=0.9, task="sst2", quantization="none", seed=0)
KIND = "lottery-ticket:round"


def chain(**settings: Any) -> Chain:
    recipe = load_preset("quick", ["lottery-ticket"]).changed(settings).recipe
    inputs = Inputs(models={"m": ModelIdentity(weights="w", tokenizer="t")}, data={})
    return Chain(plan=Plan(), cell=CELL, recipe=recipe, inputs=inputs, owned=find_method("lottery-ticket").kinds)


def test_a_setting_goes_before_the_default_and_one_of_the_task_before_all() -> None:
    assert chain().value(KIND, "amount") == 0.1
    assert chain(**{f"{KIND}.amount": 0.3}).value(KIND, "amount") == 0.3
    both = chain(**{f"{KIND}.amount": 0.3, f"{KIND}.tasks.sst2.amount": 0.4})
    assert both.value(KIND, "amount") == 0.4
    assert chain().value(KIND, "batch_size") == 32  # of common


def test_an_unknown_name_and_a_value_that_nobody_gives_are_errors() -> None:
    with pytest.raises(UsageError, match="parameter 'amout' is not known. Did you mean 'amount'"):
        chain().value(KIND, "amout")
    with pytest.raises(UsageError, match="stage kind 'lottery-ticket:rond' is not known"):
        chain().value("lottery-ticket:rond", "amount")
    bare = chain()
    bare.recipe = replace(bare.recipe, settings={})
    with pytest.raises(UsageError, match="no value for dense.epochs"):
        bare.value("dense", "epochs")


def test_where_a_plan_stands_in_for_any_recipe_a_method_is_told_the_default() -> None:
    stand_in = StandIn(find_method("lottery-ticket").method, released=False)
    assert stand_in.chain(CELL).value(KIND, "amount") == 0.1
