import json
import subprocess
import sys
from pathlib import Path

import paper_tables

HEAVY = ("torch", "transformers", "datasets", "pandas", "matplotlib", "seaborn")

# Imports the package, then each of its modules, and prints which of them first brought a heavy library in.
PROBE = """
import importlib, json, pkgutil, sys
heavy, seen = sys.argv[1:], {}
def load(name):
    module = importlib.import_module(name)
    for library in heavy:
        if library in sys.modules:
            seen.setdefault(library, name)
    return module
package = load("paper_tables")
names = [load(f"paper_tables.{module.name}").__name__ for module in pkgutil.iter_modules(package.__path__)]
print(json.dumps({"modules": names, "offenders": [f"{name} imports {library}" for library, name in seen.items()]}))
"""


def probe(*libraries: str) -> dict[str, list[str]]:
    root = Path(paper_tables.__file__).parents[1]
    command = [sys.executable, "-c", PROBE, *libraries]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


def test_no_module_imports_a_heavy_library() -> None:
    found = probe(*HEAVY)
    assert found["offenders"] == []
    expected = {"figures", "points", "published", "render", "rows", "score"}
    assert expected <= {name.removeprefix("paper_tables.") for name in found["modules"]}


def test_the_probe_names_an_offender() -> None:
    assert probe("csv")["offenders"] == ["paper_tables imports csv"]
