"""`harness ls`: the models, methods, tasks, presets and profiles that a grid can name, and the tables there are."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from harness.errors import UsageError, unknown_name
from harness.grids.request import check_preset
from harness.inputs.models import MODELS, PackageSource
from harness.planning.method_entry_points import is_target
from harness.planning.method_path import path_of
from harness.planning.method_registry import BUILT_IN, get_method, installed_methods
from harness.planning.preset import load_preset, preset_names
from harness.tasks import TASKS
from harness.wording import counted
from paper_tables.tables.table_file import load_table_file, shipped_names, table_text
from slurm.profiles import example_names, example_text, profile_text

ASSUMED_MARK = "*"
COLUMNS = 110


def run(options: argparse.Namespace) -> int:
    """Exit code: 0, or 1 when --check finds a method that cannot be used. Raises UsageError for an unknown name."""
    if options.check:
        if options.what != "methods":
            raise UsageError(f"--check is for methods: harness ls methods --check, not ls {options.what}.")
        return _check(options.name, as_json=options.json)
    if options.name and options.what == "profiles":
        text = profile_text(options.name)
        print(json.dumps([{"name": options.name, "text": text}], indent=1) if options.json else text.rstrip("\n"))
        return 0
    if options.name and options.what == "tables":
        text = table_text(options.name)
        print(json.dumps([{"name": options.name, "text": text}], indent=1) if options.json else text.rstrip("\n"))
        return 0
    if options.name and options.what == "presets":
        rows, note = _settings(options.name)
    else:
        rows, note = _LISTS[options.what](), ""
        if options.name:
            known = [str(row["name"]) for row in rows]
            if options.name not in known:
                raise UsageError(unknown_name(options.what[:-1], options.name, known))
            rows = [row for row in rows if row["name"] == options.name]
        elif options.what == "methods":
            note = "\n".join(f"not listed: {found}: {found.problem}." for found in installed_methods() if found.problem)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        if options.what == "methods":
            print("\n\n".join(_block(row) for row in rows))
        else:
            print(tabulate(rows, headers="keys", disable_numparse=True, maxcolwidths=[None, None, None, 70]))
        if note:
            print(note)
    return 0


def _check(name: str | None, *, as_json: bool) -> int:
    """Every method of another package, or the one of that name or place, and whether it can be used."""
    from harness.planning.method_check import check_method, check_target

    if name and is_target(name):
        rows = [{"name": name, "package": name.partition(":")[0].partition(".")[0], "problem": check_target(name)}]
    else:
        methods = installed_methods()
        if name and name not in {found.name for found in methods}:
            raise UsageError(unknown_name("method of another package", name, {found.name for found in methods}))
        rows = [
            {"name": found.name, "package": f"{found.package} {found.version}", "problem": check_method(found)}
            for found in methods
            if name in (None, found.name)
        ]
    if as_json:
        print(json.dumps(rows, indent=1))
    elif rows:
        shown = [{**row, "problem": row["problem"] or "none"} for row in rows]
        print(tabulate(shown, headers="keys", disable_numparse=True, maxcolwidths=[None, None, 90]))
    else:
        print("no other package provides methods.")
    return 1 if any(row["problem"] for row in rows) else 0


def _block(row: Mapping[str, Any]) -> str:
    """A row of long texts: its name, and below it a line or more for each of the others; a list has a line an entry."""
    lines = [row["name"]]
    for key, value in row.items():
        if key == "name" or not value:
            continue
        start = f"  {key:<13} "
        for entry in value if isinstance(value, list) else [value]:
            margin = " " * len(start)
            lines += textwrap.wrap(
                entry, COLUMNS, initial_indent=start, subsequent_indent=margin, break_on_hyphens=False
            )
            start = margin
    return "\n".join(lines)


def _models() -> list[dict[str, Any]]:
    return [
        {"name": name, "source": f"package {source.package}" if isinstance(source, PackageSource) else str(source)}
        for name, source in MODELS.items()
    ]


def _methods() -> list[dict[str, Any]]:
    """The built-in methods, and those of other packages. These are not imported: they may be broken or slow."""
    methods = [get_method(name) for name in BUILT_IN]
    rows: list[dict[str, Any]] = []
    for method in methods:
        path = path_of(method)
        rows.append(
            {
                "name": method.name,
                "in tables": method.title,
                "source": method.source,
                "transfer KD": method.transfer_kd,
                "stages": [str(stages) for stages in path.stages],
                "cost": path.cost,
                "note": method.note,
            }
        )
    for found in installed_methods():
        if not found.problem:
            rows.append({"name": found.name, "note": f"package {found.package} {found.version}"})
    return rows


def _tasks() -> list[dict[str, Any]]:
    return [
        {
            "name": task.name,
            "kind": task.head.name,
            "metrics": ", ".join(task.metrics),
            "columns": ", ".join(task.columns.values()),
            "labels": ", ".join(task.label_names),
        }
        for task in TASKS.values()
    ]


def _presets() -> list[dict[str, Any]]:
    presets = [load_preset(name) for name in preset_names()]
    return [
        {
            "name": preset.name,
            "models": ", ".join(preset.models),
            "tasks": ", ".join(preset.tasks),
            "seeds": ", ".join(map(str, preset.seeds)),
            "what": preset.description,
        }
        for preset in presets
    ]


def _settings(name: str) -> tuple[list[dict[str, Any]], str]:
    """Every setting of a preset with its evidence, the assumed ones marked; then its models, tasks and rows.

    Raises UsageError with all that a grid under it would refuse.
    """
    preset = check_preset(name)
    settings = preset.recipe.settings
    rows = [
        {
            "key": key + (f" {ASSUMED_MARK}" if setting.evidence == "assumed" else ""),
            "value": setting.value,
            "evidence": setting.evidence,
            "source or reason": setting.source,
        }
        for key, setting in sorted(settings.items())
    ]
    assumed = sum(setting.evidence == "assumed" for setting in settings.values())
    note = [f"{ASSUMED_MARK} assumed: {assumed} of {counted(len(rows), 'setting')}; nobody published them."]
    rows += [
        {
            "key": f"sparse checkpoint {checkpoint}",
            "value": f"{checkpoint.source.repository}@{checkpoint.source.revision}",
            "evidence": "published",
            "source or reason": checkpoint.evidence,
        }
        for checkpoint in preset.sparse_checkpoints
    ]
    if preset.models:
        note.append(f"models: {', '.join(preset.models)}")
    note.append(f"tasks: {', '.join(preset.tasks)}; seeds: {', '.join(map(str, preset.seeds))}")
    for row in preset.rows:
        sparsities = ", ".join(f"{sparsity:g}" for sparsity in row.sparsities)
        models = f" (models {', '.join(row.models)})" if row.models else ""
        note.append(f"row: {row.method} at {sparsities}, quantization {', '.join(row.quantization)}{models}")
    return rows, "\n".join(note)


def _profiles() -> list[dict[str, Any]]:
    """The shipped profiles, with the sentence that each file begins with."""
    return [{"name": name, "what": example_text(name).partition("\n")[0].lstrip("# ")} for name in example_names()]


def _tables() -> list[dict[str, Any]]:
    return [{"name": name, "what": load_table_file(name).description} for name in shipped_names()]


_LISTS = {
    "models": _models,
    "methods": _methods,
    "tasks": _tasks,
    "presets": _presets,
    "profiles": _profiles,
    "tables": _tables,
}
