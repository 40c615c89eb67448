"""A page for each shipped preset: its rows, and every value with its evidence, as `load_preset` reads it."""

from __future__ import annotations

from handbook.markdown import code, plain, sections, table
from harness.planning.preset import Preset, Rows, load_preset, preset_names

FOLDER = "docs/reference/presets"


def path_of(name: str) -> str:
    return f"{FOLDER}/{name}.md"


def pages() -> dict[str, str]:
    return {path_of(name): _page(load_preset(name)) for name in preset_names()}


def _page(preset: Preset) -> str:
    settings = sorted(preset.recipe.settings.items())
    return sections(
        "---\nhide: [toc]\n---",
        f"# Preset {preset.name}",
        plain(preset.description),
        _list("models", preset.models),
        _list("tasks", preset.tasks),
        _list("seeds", tuple(map(str, preset.seeds))),
        f"**data**: {code(preset.data)}" if preset.data else "",
        "## Rows",
        "What runs where a grid names no method, sparsity or quantization.",
        table(["method", "sparsities", "quantization", "models"], map(_row, preset.rows)),
        "## Notes" if preset.notes else "",
        "\n".join(f"- {plain(note)}" for note in preset.notes),
        "## Released sparse models" if preset.sparse_checkpoints else "",
        _checkpoints(preset),
        "## Settings",
        f"`--set KEY=VALUE` changes one. `harness ls presets {preset.name}` prints the same.",
        table(
            ["key", "value", "evidence", "source or reason"],
            ([code(key), code(found.value), found.evidence, plain(found.source)] for key, found in settings),
        ),
    )


def _list(name: str, values: tuple[str, ...]) -> str:
    return f"**{name}**: {', '.join(map(code, values))}" if values else ""


def _row(row: Rows) -> list[str]:
    models = ", ".join(map(code, row.models)) if row.models else "any"
    sparsities = ", ".join(map(str, row.sparsities))
    return [code(row.method), sparsities, ", ".join(map(code, row.quantization)), models]


def _checkpoints(preset: Preset) -> str:
    if not preset.sparse_checkpoints:
        return ""
    return table(
        ["model", "sparsity", "repository", "commit"],
        (
            [code(each.model), str(each.sparsity), code(each.source.repository), code(each.source.revision)]
            for each in preset.sparse_checkpoints
        ),
    )
