"""A package made up for the tests of the code guard, and this project's own source, parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness.worker.code_closure import SourceTree, project_tree

# lab.stage:run uses lab.middle, which uses lab.deep.leaf; `other` and `unused` are beside the way.
LAB = {
    "__init__": "",
    "stage": '''
        """Stages."""
        from lab.middle import helper

        def run(context):
            """Runs."""
            return helper(context) * FACTOR  # twice

        FACTOR = 2

        def other(context):
            return 0
        ''',
    "middle": """
        from lab.deep import leaf
        from lab.unused import nothing

        def helper(context):
            return leaf.value(context)
        """,
    "unused": "def nothing(): pass",
    "deep.__init__": "",
    "deep.leaf": """
        CONSTANT = 1

        def value(context):
            return CONSTANT
        """,
}


def write(folder: Path, modules: Mapping[str, str]) -> SourceTree:
    """The package lab with these modules, their common margin taken off."""
    for name, text in modules.items():
        path = folder / "lab" / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.splitlines()
        margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        path.write_text("\n".join(line[margin:] for line in lines))
    return SourceTree(
        {"lab": folder / "lab"}, outside={"lab.outside": "told apart"}, handed_over={"handed": "lab.given"}
    )


@cache
def project() -> SourceTree:
    """Parsed once for all tests that only read it."""
    return project_tree()
