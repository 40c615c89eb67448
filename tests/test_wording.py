"""Sentences name options in one way, and each surface spells them in its own."""

from __future__ import annotations

import ast
import inspect
import shlex
from pathlib import Path

import pytest
from grid_world import ROOT

import harness
from harness.cli.main import _parser
from harness.wording import (
    DEFAULT_STORE,
    assignment,
    command,
    counted,
    for_command_line,
    for_python,
    harmless,
    option,
)

HOW_IT_RUNS = {"executor", "workers", "profile", "max_jobs", "store"}


def test_an_option_reads_as_each_surface_writes_it() -> None:
    sentence = f"name {option('methods')}, or bring a folder with {option('sparse-from')} NAME=DIR; a--b stays."
    assert for_command_line(sentence) == "name --methods, or bring a folder with --sparse-from NAME=DIR; a--b stays."
    assert for_python(sentence) == "name methods, or bring a folder with sparse_from NAME=DIR; a--b stays."
    assert option("pruning_seeds") == option("pruning-seeds")


def named_options() -> set[str]:
    """The constant names in every call of `option` in the package."""
    calls = (
        node
        for path in (ROOT / "harness").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "option"
    )
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def test_every_option_that_a_sentence_names_is_one_of_both_surfaces() -> None:
    accepted = set(vars(_parser().parse_args(["grid"])))
    arguments = set(inspect.signature(harness.plan_grid).parameters) | HOW_IT_RUNS
    names = {name.replace("-", "_") for name in named_options()}
    assert len(names) >= 10
    assert names <= accepted & arguments


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "k=true"), (None, "k=null"), (2.5, "k=2.5"), ("cosine", "k=cosine"), ("", "k="), ([1, 2], "k=[1, 2]")],
)
def test_an_assignment_reads_as_after_set(value: object, text: str) -> None:
    assert assignment("k", value) == text


def test_counts_agree_with_their_nouns() -> None:
    assert [counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]


def test_a_command_can_be_pasted_into_a_shell_and_names_what_is_not_the_default() -> None:
    store = Path("my runs; $(x)")
    pasted = command("tables", store=store, study="quick")
    assert pasted == "harness tables --store 'my runs; $(x)' --study quick"
    assert shlex.split(pasted) == ["harness", "tables", "--store", str(store), "--study", "quick"]
    assert command("invalidate", "ab12", store=Path("runs")) == "harness invalidate ab12"
    assert str(DEFAULT_STORE) == _parser().parse_args(["status"]).store
    assert str(DEFAULT_STORE) == inspect.signature(harness.plan_grid).parameters["store"].default


def test_a_harmless_text_has_its_lines_and_nothing_that_a_terminal_obeys() -> None:
    assert harmless("a Δ 名 😀\nb") == "a Δ 名 😀\nb"
    assert harmless("\x1b[31m\r\t\x00\u202e\u2028\ud800\x9b") == r"\x1b[31m\r\t\x00\u202e\u2028\ud800\x9b"
