"""The form of a preset: its keys and rows, and one sentence for each that is missing, misspelt or not valid.

The settings below `recipe` are checked in `harness.planning.preset`, which knows their types.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from harness.errors import unknown_name
from harness.planning.method_registry import method_problem
from harness.specs import QUANTIZATIONS, seed_problem, sparsity_problem
from harness.tasks import TASKS, Task

KEYS = ("description", "extends", "notes", "models", "tasks", "seeds", "data", "rows", "recipe", "sparse_checkpoints")
ROW_KEYS = ("models", "method", "sparsities", "quantization")


def form_problems(tree: Mapping[str, Any], tasks: Mapping[str, Task] = TASKS) -> list[str]:
    """Every problem of a preset's keys and rows, in the order of `KEYS`; empty when it can be read.

    tasks: those that it may name.
    """
    found = [unknown_name("key", key, KEYS) for key in tree if key not in KEYS]
    if "description" not in tree:
        found.append('description is missing: say in a sentence what the preset is for, description = "..".')
    if "extends" not in tree:
        found += [
            f'{key} is missing: give it, or extends = "paper" to take it over.'
            for key in ("tasks", "rows")
            if key not in tree
        ]
    for key in ("description", "extends", "data"):
        if key in tree and not _is_text(tree[key]):
            found.append(f"{key} = {tree[key]!r}: expected a text.")
    if "notes" in tree and not (isinstance(tree["notes"], list) and all(map(_is_text, tree["notes"]))):
        found.append(f"notes = {tree['notes']!r}: expected a list of texts.")
    if "models" in tree and not _is_list_of(tree["models"], str):
        found.append(f"models = {tree['models']!r}: expected a list of names.")
    if "tasks" in tree:
        found += _names("tasks", tree["tasks"], "task", tasks)
    if "seeds" in tree:
        seeds = tree["seeds"]
        if _is_list_of(seeds, int):
            found += [f"seeds: {problem.message}" for seed in seeds if (problem := seed_problem(seed))]
        else:
            found.append(f"seeds = {seeds!r}: expected a list of whole numbers, 0 or more.")
    if "rows" in tree:
        rows = tree["rows"]
        if not _is_list_of(rows, dict):
            found.append("rows: expected one [[rows]] table or more.")
        else:
            found += [f"row {n}: {problem}" for n, row in enumerate(rows, 1) for problem in _row_problems(row)]
    if "sparse_checkpoints" in tree and not _is_list_of(tree["sparse_checkpoints"], dict):
        found.append("sparse_checkpoints: expected [[sparse_checkpoints]] tables.")
    if not isinstance(tree.get("recipe", {}), dict):
        found.append(f"recipe = {tree['recipe']!r}: expected tables [recipe.KIND].")
    return found


def _row_problems(row: Mapping[str, Any]) -> list[str]:
    found = [unknown_name("key", key, ROW_KEYS) for key in row if key not in ROW_KEYS]
    examples = {"method": '"prune-ofa"', "sparsities": "[0.85]", "quantization": '["none"]'}
    found += [f"{key} is missing: give one, for example {key} = {examples[key]}." for key in examples if key not in row]
    if "models" in row and not _is_list_of(row["models"], str):
        found.append(f"models = {row['models']!r}: expected a list of names.")
    if "method" in row:
        if not _is_text(row["method"]):
            found.append(f"method = {row['method']!r}: expected the name of a method (harness ls methods).")
        elif problem := method_problem(row["method"]):
            found.append(problem.message)
    if "sparsities" in row:
        if _is_list_of(row["sparsities"], int, float):
            found += [problem.message for value in row["sparsities"] if (problem := sparsity_problem(value))]
        else:
            found.append(f"sparsities = {row['sparsities']!r}: expected a list of fractions in [0, 1).")
    if "quantization" in row:
        found += _names("quantization", row["quantization"], "quantization", QUANTIZATIONS)
    return found


def _names(key: str, values: Any, kind: str, known: Collection[str]) -> list[str]:
    if not _is_list_of(values, str):
        return [f"{key} = {values!r}: expected names out of {', '.join(sorted(known))}."]
    return [unknown_name(kind, name, known) for name in values if name not in known]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_list_of(value: Any, *kinds: type) -> bool:
    """A list with at least one item, every item of one of these very types (a bool is no int)."""
    return isinstance(value, list) and bool(value) and all(type(item) in kinds for item in value)
