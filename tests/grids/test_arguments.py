"""The Python interface on arguments that cannot be: always a UsageError that names the argument."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from grid_world import SLICE, World

import harness
from harness.errors import UsageError


class Mute:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("shown")


NAN = float("nan")
# Ten and some more; of each argument those that it takes are left out below.
WRONG: dict[str, Any] = {
    "a number": 3,
    "a negative number": -1,
    "a fraction": 2.5,
    "True": True,
    "not a number": NAN,
    "a text": "x y",
    "an empty text": "",
    "bytes": b"quick",
    "a list": [3.5],
    "a list of lists": [["sst2"]],
    "a list of nothing": [None],
    "a mapping": {"a": {1, 2}},
    "a mapping with odd keys": {(1, 2): {(3, 4): object()}},
    "an object": object(),
    "a class": int,
    "a function": len,
    "one that cannot be shown": Mute(),
    "a huge number": 10**5000,
    "an array without a dimension": np.array(3.5),
    "a long text": "x" * 5000,
    "a text with a zero": "a\0b",
}
# What an argument can be by its type: what then is wrong with it, if anything, is told by other tests.
RIGHT: dict[str, set[str]] = {
    "models": set(),
    "methods": set(),
    "sparsities": set(),
    "tasks": set(),
    "quantization": set(),
    "seeds": {"a number"},
    "pruning_seeds": {"a number"},
    "preset": set(),
    "data": set(),
    "set": set(),
    "task_file": set(),
    "sparse_from": set(),
    "study": set(),
    "store": {"a text"},
    "resource": set(),
    "measures": {"an empty text"},
    "max_gpu_hours": {"a number", "a fraction"},
}
# What is told of a text that could have been right.
ALSO = ("x y holds no study. Start one with harness grid.",)
FUNCTIONS = {"plan_grid": harness.plan_grid, "records": harness.records, "tables": harness.tables}


def asked(world: World, name: str, argument: str, value: Any) -> Any:
    """The function called with one argument of that value, and good ones beside."""
    good: dict[str, Any] = {"store": world.store}
    if name == "plan_grid":
        good |= {"models": {"tiny": world.folder / "model"}, "preset": SLICE, "data": world.folder / "data"}
    return FUNCTIONS[name](**{**good, argument: value})


CASES = [(function, argument) for function, f in FUNCTIONS.items() for argument in inspect.signature(f).parameters]


@pytest.mark.parametrize(("function", "argument"), CASES)
def test_a_wrong_value_is_a_usage_error_that_names_the_argument(
    world: World, monkeypatch: pytest.MonkeyPatch, function: str, argument: str
) -> None:
    monkeypatch.chdir(world.folder)
    for wrong, value in WRONG.items():
        if function == "plan_grid" and wrong in RIGHT[argument]:
            assert isinstance(asked(world, function, argument, value), harness.PlannedGrid)
            continue
        with pytest.raises(UsageError) as raised:
            asked(world, function, argument, value)
        told = str(raised.value)
        assert "--" not in re.sub(r"harness grid --[^.]*\.", "", told), "whole commands alone are the command line's"
        concerned = {problem.option for problem in raised.value.problems} == {argument.replace("_", "-")}
        also = told in ALSO or "File name too long. Shorten it." in told
        assert concerned or argument.rstrip("s") in told or also, f"{wrong}: {told}"
        assert not (world.folder / "runs").exists()


@pytest.mark.parametrize("argument", ["executor", "workers"])
def test_a_wrong_value_of_how_it_runs_is_a_usage_error(world: World, argument: str) -> None:
    planned = harness.plan_grid(
        models={"tiny": world.folder / "model"}, preset=SLICE, data=world.folder / "data", store=world.store
    )
    for wrong, value in {**WRONG, "zero": 0}.items():
        if argument == "workers" and wrong in ("a number", "a huge number"):
            continue
        with pytest.raises(UsageError) as raised:
            planned.run(**{argument: value})
        (problem,) = raised.value.problems
        assert problem.option == argument
        assert argument in str(problem)
        assert not world.store.exists()


@pytest.mark.parametrize("value", [None, "", "a\0b"])
@pytest.mark.parametrize("read", [harness.records, harness.tables])
def test_a_store_that_is_none_is_named(read: Callable[..., Any], value: Any) -> None:
    with pytest.raises(UsageError) as raised:
        read(value)
    assert str(raised.value) == f"store {value!r}: expected the path of a folder."


def test_any_path_is_a_path(world: World) -> None:
    class Place:
        def __init__(self, path: Path) -> None:
            self.path = path

        def __fspath__(self) -> str:
            return str(self.path)

    folder = world.folder
    told = harness.plan_grid(
        models={"tiny": Place(folder / "model")},
        preset=Place(SLICE),
        data=Place(folder / "data"),
        store=Place(world.store),  # type: ignore[arg-type]
    )
    assert told.store.root == world.store
    assert {cell.model for cell in told.cells} == {"tiny"}


def test_an_empty_text_is_no_name_on_the_command_line_either(
    world: World, run_harness: Callable[[list[str]], Any]
) -> None:
    for name in ("study", "data", "preset"):
        done = run_harness(world.grid(f"--{name}", ""))
        assert (done.code, done.err) == (2, f"error: --{name} '': expected a text that is not empty.\n")


def test_every_argument_is_told_at_once_with_what_was_found_and_expected(world: World) -> None:
    with pytest.raises(UsageError) as raised:
        harness.plan_grid(
            models=3, methods=[1], seeds="x", set=3, resource=["a"], max_gpu_hours="x", store=3, data=4, study=5
        )
    assert list(map(str, raised.value.problems))[:9] == [
        "store 3: expected the path of a folder.",
        "models 3: expected an alias, NAME=DIR, or a mapping of names to folders.",
        "methods 1: expected a name.",
        "seeds x: expected a whole number.",
        "data 4: expected a text that is not empty.",
        "set=3: expected a mapping of names to values, as {'transfer.epochs': 2}.",
        "study 5: expected a text that is not empty.",
        "resource=['a']: expected a mapping of names to values, as {'transfer.epochs': 2}.",
        "max_gpu_hours x: expected a number of hours above 0.",
    ]


def test_an_argument_that_is_not_there_is_named_with_the_nearest(world: World, fakes: ModuleType) -> None:
    for call, told in (
        (lambda: harness.plan_grid(model="tiny"), "plan_grid: argument 'model' is not known. Did you mean 'models'"),
        (lambda: harness.records(stor="x"), "records: argument 'stor' is not known. Did you mean 'store'? Known"),
        (lambda: harness.tables("runs", "mine", 3), "tables: too many positional arguments. Give them by name: store="),
        (lambda: harness.plan_grid("quick"), "plan_grid: too many positional arguments. Give them by name: models=.."),
        (lambda: harness.records("runs", store="x"), "records: multiple values for argument 'store'."),
    ):
        with pytest.raises(UsageError) as raised:
            call()
        assert str(raised.value).startswith(told)
    planned = harness.plan_grid(
        models={"tiny": world.folder / "model"}, preset=SLICE, data=world.folder / "data", store=world.store
    )
    with pytest.raises(UsageError, match="run: argument 'worker' is not known. Did you mean 'workers'"):
        planned.run(worker=2)


def test_signatures_and_words_of_the_functions_stay_to_be_read() -> None:
    for function in (*FUNCTIONS.values(), harness.PlannedGrid.run):
        assert function.__doc__
        assert len(inspect.signature(function).parameters) >= 2
    assert "max_gpu_hours" in inspect.signature(harness.plan_grid).parameters


def test_the_parts_of_a_problem_name_arguments_as_python_does() -> None:
    """No mark by which a sentence refers to an option is left in any of them."""
    with pytest.raises(UsageError) as refused:
        harness.plan_grid(preset="quick", seeds="x", set={"transfer.epoch": 1}, sparse_from={"mine": "nowhere"})
    assert len(refused.value.problems) >= 3
    parts = [part for p in refused.value.problems for part in (p.found, p.expected, p.next_move, p.message) if part]
    assert refused.value.problems[0].found.startswith("seeds x")
    assert not [part for part in parts if "\ue000" in part or "--" in part]
