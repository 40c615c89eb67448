import json
import subprocess
import sys
from pathlib import Path

import paper_tables

HEAVY = ("torch", "transformers", "datasets", "pandas", "matplotlib", "seaborn", "scipy")

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
names = [load(module.name).__name__ for module in pkgutil.walk_packages(package.__path__, "paper_tables.")]
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
    expected = {"figures.draw", "figures.points", "numbers.published", "tables.build", "numbers.rows", "numbers.score"}
    assert expected <= {name.removeprefix("paper_tables.") for name in found["modules"]}


def test_the_probe_names_an_offender() -> None:
    (offender,) = probe("csv")["offenders"]
    assert offender.startswith("paper_tables.")
    assert offender.endswith(" imports csv")
