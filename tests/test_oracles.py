"""Every oracle of the method specification (section 10, O1 to O45) is held by a test that is marked with it."""

from __future__ import annotations

import ast
from pathlib import Path

ORACLES = {f"O{number}" for number in range(1, 46)}
NO_TEST: dict[str, str] = {}


def marks(tree: ast.AST) -> set[str]:
    """The arguments of @pytest.mark.oracle(..) on the test functions of a module."""
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    calls = [each for test in tests for each in test.decorator_list if isinstance(each, ast.Call)]
    found = [call for call in calls if ast.unparse(call.func) == "pytest.mark.oracle"]
    return {str(ast.literal_eval(argument)) for call in found for argument in call.args}


def held() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py")]
    return {mark for text in texts if "mark.oracle" in text for mark in marks(ast.parse(text))}


def test_every_oracle_has_a_test_that_is_marked_with_it() -> None:
    missing = ORACLES - held() - NO_TEST.keys()
    assert not missing, f"no test is marked with {sorted(missing)}"


def test_no_test_is_marked_with_an_oracle_that_there_is_not() -> None:
    assert held() <= ORACLES
