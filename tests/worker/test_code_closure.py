"""The source a computation depends on, on made-up packages: what counts, what does not, and what cannot be followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from code_versions import WATCHED
from made_up_source import LAB, project, write

from harness.planning.kinds import KINDS
from harness.worker.code_closure import COMPUTES, OUTSIDE

Closure = Callable[..., dict[str, str]]


@pytest.fixture
def closure(tmp_path: Path) -> Closure:
    """closure(module="source") -> the closure of lab.stage:run with these modules instead of, or beside, LAB's."""

    def of(deep: Mapping[str, str] | None = None, **modules: str) -> dict[str, str]:
        below = {f"deep.{name}": text for name, text in (deep or {}).items()}
        return write(tmp_path, {**LAB, **modules, **below}).closure("lab.stage:run")

    return of


def test_names_are_followed_across_modules_to_what_they_mean_and_no_further(closure: Closure) -> None:
    assert set(closure()) == {
        "lab.stage:run",
        "lab.stage:FACTOR",
        "lab.middle:helper",
        "lab.deep.leaf:value",
        "lab.deep.leaf:CONSTANT",
    }


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("stage", "FACTOR = 2", "FACTOR = 3"),
        ("stage", "* FACTOR", "+ FACTOR"),
        ("deep.leaf", "CONSTANT = 1", "CONSTANT = 1.0"),
        ("deep.leaf", "CONSTANT = 1", "CONSTANT = True"),
        ("deep.leaf", "return CONSTANT", "return CONSTANT + 1"),
        ("deep.leaf", "def value(context)", "def value(context, more=0)"),
    ],
)
def test_a_change_of_code_is_a_change(closure: Closure, module: str, old: str, new: str) -> None:
    before = closure()
    assert old in LAB[module]
    text = LAB[module].replace(old, new)
    after = closure({"leaf": text}) if module == "deep.leaf" else closure(**{module: text})
    assert before.keys() == after.keys()
    (changed,) = (name for name in before if before[name] != after[name])
    assert changed.startswith(f"lab.{module}:")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # twice", ""),
        ("  # twice", "  # two times"),
        ('"""Runs."""', '"""Says more,\n            over two lines."""'),
        ('    """Runs."""\n', ""),
        ('"""Stages."""', '"""The stages."""'),
        (
            "return helper(context) * FACTOR",
            "return (\n                helper(context)\n                * FACTOR\n            )",
        ),
        ("return 0", "return 1"),  # of a function that is not used
    ],
)
def test_wording_layout_and_what_is_not_used_do_not_count(closure: Closure, old: str, new: str) -> None:
    before = closure()
    assert old in LAB["stage"]
    assert closure(stage=LAB["stage"].replace(old, new)) == before


def test_an_import_inside_a_function_is_followed(closure: Closure) -> None:
    found = closure(middle="def helper(context):\n    from lab.deep.leaf import value\n    return value(context)")
    assert {"lab.deep.leaf:value", "lab.deep.leaf:CONSTANT"} <= set(found)


@pytest.mark.parametrize(
    "middle",
    [
        "import lab.deep.leaf\ndef helper(c): return lab.deep.leaf.value(c)",
        "import lab.deep.leaf as short\ndef helper(c): return short.value(c)",
        "from lab.deep.leaf import value as short\ndef helper(c): return short(c)",
        "from lab.deep.leaf import *\ndef helper(c): return value(c)",
        "from .deep import leaf\ndef helper(c): return leaf.value(c)",
        "from .deep.leaf import value\nhelper = value",
        "try:\n    from lab.deep.leaf import value\nexcept ImportError:\n    pass\ndef helper(c): return value(c)",
        "import importlib\ndef helper(c): return importlib.import_module('lab.deep' + '.leaf').value(c)",
        "from lab import deep\ndef helper(c): return deep.leaf.value(c)",
    ],
)
def test_every_way_to_import_is_followed(closure: Closure, middle: str) -> None:
    assert "lab.deep.leaf:value" in closure(middle=middle)


def test_a_name_handed_on_by_a_package_leads_to_its_module(closure: Closure) -> None:
    middle = "from lab.deep import handed\ndef helper(c): return handed(c)"
    assert "lab.deep.leaf:value" in closure(
        middle=middle, deep={"__init__": "from lab.deep.leaf import value as handed"}
    )


def test_what_runs_on_import_counts_wherever_it_stands(closure: Closure) -> None:
    found = closure(unused="TABLE = {}\nTABLE['x'] = 1\ndef nothing(): pass")
    assert "lab.unused:<statements>" in found
    assert "lab.unused:TABLE" in found
    assert "lab.unused:nothing" not in found
    assert "lab.deep:<statements>" in closure(deep={"__init__": "print('imported')"})


def test_a_definition_under_a_decorator_of_ours_counts_because_it_may_be_registered(closure: Closure) -> None:
    unused = "from lab.registry import register\nimport functools\n"
    unused += "@register\ndef nothing(): pass\n@functools.cache\ndef less(): pass"
    found = closure(unused=unused, registry="KNOWN = []\ndef register(f):\n    KNOWN.append(f)\n    return f")
    assert {"lab.unused:nothing", "lab.registry:register", "lab.registry:KNOWN"} <= set(found)
    assert "lab.unused:less" not in found


def test_what_a_context_hands_over_counts_whole(closure: Closure) -> None:
    found = closure(middle="def helper(context): return context.handed.rows()", given="class Rows: pass")
    assert "lab.given:Rows" in found


def test_modules_outside_are_not_followed(closure: Closure) -> None:
    middle = "from lab.outside import write\ndef helper(context): return write(context)"
    found = closure(middle=middle, outside="from lab.deep.leaf import value\ndef write(c): return value(c)")
    assert set(found) == {"lab.stage:run", "lab.stage:FACTOR", "lab.middle:helper"}


@pytest.mark.parametrize(
    "middle",
    ["def helper(c): return eval('1')", "def helper(c): return globals()", "def helper(c): return c.__subclasses__()"],
)
def test_what_cannot_be_followed_is_refused(closure: Closure, middle: str) -> None:
    with pytest.raises(ValueError, match=r"middle.py:1: what \w+ leads to is not visible in the source"):
        closure(middle=middle)


@pytest.mark.parametrize("entry", ["lab.stage:walk", "lab.stages:run", "elsewhere:run"])
def test_an_entry_that_is_not_there_is_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ValueError, match="no such function in the source"):
        write(tmp_path, LAB).closure(entry)


# -- the boundary


def module_of(definition: str) -> str:
    return definition.partition(":")[0]


def test_every_module_that_computes_belongs_to_a_kind_and_every_reached_one_computes() -> None:
    tree = project()
    reached = {module_of(definition) for kind in WATCHED.values() for definition in tree.closure(kind.run)}
    reached -= tree.files("methods").keys()
    computing = {module: path for name in COMPUTES for module, path in tree.files(name).items()}
    for_planning_too = tree.files("harness.inputs").keys()
    assert reached <= computing.keys(), "add it to COMPUTES, or to OUTSIDE with the reason"
    silent = {module for module, path in computing.items() if path.name == "__init__.py"}  # only docstrings in them
    assert computing.keys() - reached <= silent | for_planning_too


def test_what_is_outside_is_there_and_does_not_compute() -> None:
    tree = project()
    assert all(tree.path(module) is not None for module in OUTSIDE)
    assert not any(module.startswith(COMPUTES) for module in OUTSIDE)
    computing = "".join(path.read_text() for name in COMPUTES for path in tree.files(name).values())
    assert all(f"from {module}" in computing for module in OUTSIDE), "an entry that nothing reaches any more"


def test_nothing_but_python_stands_where_computing_is_done() -> None:
    """A table of numbers read from a file would change results unseen."""
    tree = project()
    folders = [path.parent for path in map(tree.path, COMPUTES) if path is not None and path.name == "__init__.py"]
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path.suffix for path in files} == {".py"}


def test_pretraining_is_no_part_of_an_evaluation() -> None:
    found = {module_of(definition) for definition in project().closure(KINDS["evaluation"].run)}
    assert "harness.metrics.squad.squad" in found  # imported by a name made while running
    assert "harness.inputs.parquet" in found  # reached through the context's data source
    assert not found & {"harness.stages.pretraining", "harness.data.pairs", "harness.training.trainer"}
