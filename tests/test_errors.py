"""Problems as values: what each carries, and how several are collected."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import harness.errors
from harness.errors import Problem, Problems, UsageError
from harness.wording import option


def test_a_text_is_a_problem_of_no_option() -> None:
    assert UsageError("no cell.").problems == (Problem("no cell."),)
    assert UsageError(["a.", Problem("b.", "seeds")]).problems == (Problem("a."), Problem("b.", "seeds"))


def test_an_error_reads_as_in_python_and_its_data_as_on_the_command_line() -> None:
    problem = Problem(f"{option('sparse-from')} x", "sparse-from", "NAME=DIR")
    assert str(UsageError([problem, "and more."])) == "sparse_from x: expected NAME=DIR.\nand more."
    assert problem.as_json() == {
        "option": "sparse-from",
        "found": "--sparse-from x",
        "expected": "NAME=DIR",
        "next_move": None,
        "message": "--sparse-from x: expected NAME=DIR.",
    }


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (Problem("as it is, with no period"), "as it is, with no period"),
        (Problem("seed -1", expected="0 or more"), "seed -1: expected 0 or more."),
        (Problem("seeds is empty", next_move="Give one."), "seeds is empty. Give one."),
        (Problem("x", expected="y", next_move="Do z."), "x: expected y. Do z."),
    ],
)
def test_the_sentence_is_what_was_found_what_was_expected_and_the_next_move(problem: Problem, sentence: str) -> None:
    assert problem.message == sentence


def test_problems_are_collected_once_each_and_raised_together() -> None:
    def refuse() -> int:
        raise UsageError(["a.", Problem("b.", "seeds")])

    found = Problems()
    found.check()
    assert found.attempt(lambda: 3, 0) == 3
    assert found.attempt(refuse, 0, "tasks") == 0
    found.extend(["c.", Problem("b.", "seeds")], "seeds")
    assert (found.concern("tasks"), found.concern("models")) == (True, False)
    with pytest.raises(UsageError) as raised:
        found.check()
    # An option that the problem names itself goes before the one that the collector knows.
    assert raised.value.problems == (Problem("a.", "tasks"), Problem("b.", "seeds"), Problem("c.", "seeds"))


ROOMS_THAT_COMPUTE = ("compression", "data", "metrics", "stages", "training")


def test_guards_of_results_are_no_assertions_which_optimised_python_would_drop() -> None:
    """An `assert` may tell a type checker that a value is there; what must hold of a result is `require`d."""
    folder = Path(harness.errors.__file__).parent
    found = {
        f"{path.relative_to(folder)}: {ast.unparse(node.test)}"
        for room in ROOMS_THAT_COMPUTE
        for path in (folder / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert) and not ast.unparse(node.test).endswith(" is not None")
    }
    assert not {told for told in found if "isinstance" not in told}
    done = subprocess.run(
        [sys.executable, "-O", "-c", "from harness.errors import require; require(False, 'zeros are gone')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith("harness.errors.IntegrityError: zeros are gone")
