"""The options of a grid: the same values from the command line's text and from Python."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.cli.main import _parser
from harness.cli.options import options_from_args
from harness.errors import Problem, Problems
from harness.grids.options import GridOptions, read_number, read_options


def from_words(*words: str, verb: str = "grid") -> tuple[GridOptions, list[str]]:
    problems = Problems()
    options = options_from_args(_parser().parse_args([verb, *words]), problems)
    return options, [problem.on_command_line for problem in problems.found]


def from_values(**given: Any) -> tuple[GridOptions, list[Problem]]:
    problems = Problems()
    return read_options(given, problems), problems.found


def test_both_surfaces_have_an_argument_for_each_option() -> None:
    names = {each.name for each in fields(GridOptions)}
    assert names == set(inspect.signature(harness.plan_grid).parameters) - {"store"}
    assert names <= set(vars(_parser().parse_args(["grid"])))


def test_nothing_given_is_the_default_of_every_option() -> None:
    assert from_words() == (GridOptions(), [])
    assert from_words(verb="fetch") == (GridOptions(), [])
    signature = inspect.signature(harness.plan_grid).parameters
    defaults = {each.name: signature[each.name].default for each in fields(GridOptions)}
    assert from_values(**defaults) == (GridOptions(), [])


def test_text_and_values_are_the_same_options() -> None:
    words = ["--models", "bert-base, mine=DIR", "--methods", "dense", "--sparsities", "0,.5", "--seeds", "1,0"]
    words += ["--pruning-seeds", "3", "--preset", "quick", "--data", "synthetic", "--set", "a.b=1e-4", "--set", "c = x"]
    words += ["--sparse-from", "one=D/1,two=D/2", "--study", "s", "--resource", "checkpoint_minutes=2"]
    text, problems = from_words(*words, "--max-gpu-hours", "9")
    values, _ = from_values(
        models=["bert-base", "mine=DIR"],
        methods="dense",
        sparsities=(0, 0.5),
        seeds=iter([1, 0]),
        pruning_seeds=3,
        preset=Path("quick"),
        data="synthetic",
        set={"a.b": 1e-4, "c": "x"},
        sparse_from={"one": "D/1", "two": Path("D/2")},
        study="s",
        resource={"checkpoint_minutes": 2},
        max_gpu_hours=9,
    )
    assert problems == []
    assert text == values
    assert text.models == (("bert-base", None), ("mine", Path("DIR")))
    assert text.set == {"a.b": 0.0001, "c": "x"}
    assert (text.sparsities, text.seeds, text.pruning_seeds) == ((0.0, 0.5), (1, 0), (3,))


def test_an_axis_given_several_times_adds_up() -> None:
    words = ["--models", "a,b", "--models", "c", "--seeds", "0", "--seeds", "1,2", "--pruning-seeds", "7"]
    found, _ = from_words(*words)
    assert [alias for alias, _ in found.models or ()] == ["a", "b", "c"]
    assert (found.seeds, found.pruning_seeds) == ((0, 1, 2), (7,))


def test_of_two_values_for_one_key_the_last_counts_and_two_folders_for_one_name_are_refused() -> None:
    found, problems = from_words("--set", "a.b=1", "--set", "a.b=2", "--sparse-from", "n=D", "--sparse-from", "n=E")
    assert found.set == {"a.b": 2}
    assert problems == ["--sparse-from: 'n' is given twice. Give each folder its own NAME."]


def test_what_cannot_be_read_is_noted_and_left_out() -> None:
    found, problems = from_words(
        *("--models", "=x,a", "--sparsities", "x", "--seeds", "1,2.0", "--max-gpu-hours", "many"),
        *("--set", "k", "--set", "=1", "--sparse-from", "n=", "--resource", "micro_batch_size"),
    )
    assert found == GridOptions(models=(("a", None),), seeds=(1,))
    assert problems == [
        "--set k: expected KEY=VALUE, for example transfer.learning_rate=1e-4.",
        "--set =1: expected KEY=VALUE, for example transfer.learning_rate=1e-4.",
        "--sparse-from n=: expected NAME=DIR.",
        "--resource micro_batch_size: expected KEY=VALUE, for example checkpoint_minutes=5.",
        "model '=x': expected NAME=DIR.",
        "--sparsities x: expected a number.",
        "--seeds 2.0: expected a whole number.",
        "--max-gpu-hours many: expected a number of hours above 0.",
    ]


def test_an_axis_without_a_value_is_empty_and_not_the_default() -> None:
    assert from_words("--seeds", "", "--models", " , ")[0] == GridOptions(seeds=(), models=())
    assert from_values(seeds=[], pruning_seeds=())[0] == GridOptions(seeds=(), pruning_seeds=())


@pytest.mark.parametrize("value", [True, 2.5, "2.5", None, "x", [1]])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(ValueError, match="is no int|invalid literal"):
        read_number(int, value)
