"""Which oracles of the method specification are held by a test: the list may grow, and must not shrink."""

from __future__ import annotations

import re
from pathlib import Path

HELD = {
    *("O1", "O2", "O3", "O4", "O7", "O9", "O10", "O11", "O13", "O14", "O16", "O17", "O18", "O19", "O20"),
    *("O25", "O26", "O27", "O29", "O30", "O31", "O32", "O34", "O35"),
    *("O5", "O6", "O8", "O12", "O15", "O21", "O22", "O23", "O24", "O33", "O44", "O45"),
    *("O37", "O38", "O40", "O41", "O42", "O43"),
}


def test_every_oracle_of_the_list_has_a_test_marked_with_it() -> None:
    marked: set[str] = set()
    for path in Path(__file__).parent.rglob("test_*.py"):
        for arguments in re.findall(r"pytest\.mark\.oracle\(([^)]*)\)", path.read_text(encoding="utf-8")):
            marked.update(re.findall(r"O\d+", arguments))
    assert not HELD - marked, f"no test is marked with {sorted(HELD - marked)}"
