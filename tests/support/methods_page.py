"""The table of methods/README.md: every built-in method, its source, what it costs, and its page.

As a program it writes the table anew; what stands around it is written by hand.
"""

from __future__ import annotations

from pathlib import Path

from harness.planning.method_path import path_of
from harness.planning.method_registry import BUILT_IN, get_method

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "methods" / "README.md"
BEGIN, END = "<!-- written by tests/support/methods_page.py -->\n", "<!-- until here -->\n"


def table() -> str:
    rows = ["| method | source | what it costs, for one model |", "| --- | --- | --- |"]
    for name, target in BUILT_IN.items():
        method = get_method(name)
        rows.append(f"| [`{name}`]({_page(target)}) | {method.source} | {path_of(method).cost} |")
    return "\n".join(rows) + "\n"


def _page(target: str) -> str:
    """The folder's page, or the page beside the file where a method is one."""
    module = target.partition(":")[0].partition(".")[2]
    folder = ROOT / "methods" / module
    return f"{module}/README.md" if folder.is_dir() else f"{module}.md"


def page_with(text: str, new_table: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + new_table + END + after


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")
