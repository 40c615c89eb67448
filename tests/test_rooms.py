"""The house as a whole: what stands in it, and that its map and its import contract name every room."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import grimp
import pytest

import harness

ROOT = Path(harness.__file__).parents[1]
HOUSE = ROOT / "harness"
ROOMS = sorted(path.name for path in HOUSE.iterdir() if (path / "__init__.py").is_file())


def test_at_most_twelve_things_stand_beside_the_rooms() -> None:
    beside = sorted(path.name for path in HOUSE.iterdir() if path.name not in (*ROOMS, "__pycache__"))
    assert len(beside) <= 12, beside


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_in_a_line_and_holds_no_code_at_its_door(room: str) -> None:
    if room == "metrics":  # its door is the one function that the rest of the house calls
        return
    text = (HOUSE / room / "__init__.py").read_text(encoding="utf-8").strip()
    assert text.startswith('"""')
    assert text.endswith('"""')
    assert text.count('"""') == 2


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_stands_on_the_map_and_in_the_contract(room: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"| {room}/ |" in page
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = [word.strip() for layer in contract["contracts"][0]["layers"] for word in layer.split("|")]
    assert f"harness.{room}" in layers


def test_every_module_of_the_ground_is_in_the_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = [word.strip() for layer in contract["contracts"][0]["layers"] for word in layer.split("|")]
    modules = {path.stem for path in HOUSE.glob("*.py")} - {"__init__"}
    assert {f"harness.{module}" for module in modules} <= set(layers)


def test_the_map_has_the_rooms_in_the_contracts_order() -> None:
    """A room of the page's table imports only rooms below it: the table is read from the top."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| ([a-z_]+)/ \|", page, flags=re.MULTILINE)
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    floor = {
        word.strip().removeprefix("harness."): number
        for number, layer in enumerate(contract["contracts"][0]["layers"])
        for word in layer.split("|")
    }
    assert [floor[room] for room in shown] == sorted(floor[room] for room in shown)


def test_every_arrow_of_the_picture_is_an_import_that_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = {**{room: f"harness.{room}" for room in ROOMS}, "tables": "paper_tables", "methods": "methods"}
    names |= {"api": "harness.api", "plugin": "harness.plugin", "slurm": "slurm"}
    picture = page.partition("```mermaid")[2].partition("```")[0]
    chains = [re.findall(r"\w+", line) for line in picture.splitlines() if "-->" in line]
    arrows = {(names[a], names[b]) for chain in chains for a, b in pairwise(chain) if a in names and b in names}
    assert len(arrows) >= 20
    graph = grimp.build_graph("harness", "methods", "paper_tables", "slurm")
    drawn_only = [arrow for arrow in arrows if not graph.find_shortest_chains(*arrow, as_packages=True)]
    assert drawn_only == []


def test_tests_stand_in_rooms_of_the_same_names() -> None:
    beside = {
        "benchmarks",
        "cluster",
        "slurm",
        "methods",
        "end_to_end",
        "handbook",
        "results",
        "support",
        "paper_tables",
        "__pycache__",
    }
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - beside
    assert folders <= set(ROOMS), folders - set(ROOMS)
