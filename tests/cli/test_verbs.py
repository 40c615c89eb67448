"""The table of verbs, held against the modules it names."""

import importlib
import inspect
import pkgutil
import re
from importlib import metadata

import pytest
from grid_world import python

from harness.cli import commands
from harness.cli.main import main
from harness.cli.verbs import VERBS, Verb


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_verb_names_a_function_of_what_was_parsed(verb: Verb) -> None:
    module, _, name = verb.command.partition(":")
    function = getattr(importlib.import_module(module), name)
    assert list(inspect.signature(function).parameters) == ["options"]
    assert function.__annotations__["return"] == "int"


def test_every_command_there_is_has_one_verb() -> None:
    there = {
        f"{module}:run"
        for _, module, _ in pkgutil.iter_modules(commands.__path__, "harness.cli.commands.")
        if hasattr(importlib.import_module(module), "run")
    }
    assert sorted(verb.command for verb in VERBS) == sorted(there)


def test_the_help_lists_the_verbs_in_the_order_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if re.match(r" {4}\S", line)]
    assert [word for word in listed if word in {verb.name for verb in VERBS}] == [verb.name for verb in VERBS]


def test_a_verb_that_is_not_known_ends_with_2_and_names_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["tabels"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "'tabels'" in said
    assert all(verb.name in said for verb in VERBS)


def test_python_runs_the_package_as_the_command() -> None:
    done = python("-m", "harness", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"harness {metadata.version('encoder-compression-harness')}\n",
        "",
    )
    assert python("-m", "harness", "grid", "--preset", "no-such").returncode == 2
