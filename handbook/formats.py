"""The reference of file formats: keys from the declarations that check them, examples from files that are shipped."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from handbook.markdown import block, code, plain, sections, table
from handbook.tree import ROOT
from harness.packed import packed_file
from harness.planning import preset as preset_module
from harness.planning import preset_form
from harness.store import store as store_module
from harness.store.attempts import OUTCOMES
from paper_tables.claims.file import paper_claims
from paper_tables.tables import table_file
from slurm import profiles

PATH = "docs/reference/formats.md"
STUDY = ROOT / "results" / "quick" / "studies" / "quick.json"
RECORDS = ROOT / "results" / "quick" / "records"
EXPECTED = ROOT / "results" / "quick" / "expected.toml"
MOST = 3  # entries of a list, or of an object within an object, that an example shows


def page() -> str:
    return sections(
        "# File formats",
        "What is read and written, from the code that does it. Examples are committed files, shortened.",
        "## Store",
        "A folder of plain files; what it promises: [running grids](../running.md#what-a-run-leaves-behind).",
        block(_indented(store_module)),
        "## Record",
        "The result of one finished stage, `records/ab/STAGE.json`. What each kind writes under `result`: "
        "[stage kinds](stage-kinds.md#what-a-record-holds).",
        block(example(a_record("student_pruning")), "json"),
        "## Study",
        "A named set of cells with recipe and stages, `studies/NAME.json`.",
        block(example(STUDY), "json"),
        "## Attempt",
        "One try at a stage, `attempts/STAGE/N.jsonl`, a line an event. How it may end:",
        table(
            ["outcome", "shown as", "a failure", "started again by its driver"],
            (
                [code(name), plain(each.label), _yes(each.is_failure), f"{_yes(each.retry)}{_tries(each.tries)}"]
                for name, each in OUTCOMES.items()
            ),
        ),
        "## Preset",
        "TOML, for `--preset FILE.toml`. " + _keys(preset_form.KEYS, preset_form.ROW_KEYS, "rows"),
        *map(plain, _paragraphs(preset_module)[1:3]),
        block(_paragraphs(preset_module)[1]),
        "## Table",
        "TOML, for `harness tables --table FILE.toml`; every key: [tables](../tables.md#a-table-of-your-own). "
        + _keys(table_file.KEYS, (*table_file.ROW_KEYS, *table_file.ONLY_PUBLISHED), "rows"),
        *(f"`{name}` as shipped:\n\n{block(table_file.table_text(name), 'toml')}" for name in ("peers",)),
        "## Claims",
        "TOML, for `harness tables --claims FILE`; every key: [statistics](../statistics.md). Shipped are "
        f"{', '.join(code(claim.id) for claim in paper_claims())}.",
        "## Expected numbers",
        "TOML, for `harness check --expected FILE`, which `--write` makes: [the gate](../gate.md).",
        block(_first_tables(EXPECTED), "toml"),
        "## Profile of a cluster",
        "TOML, for `--profile FILE`; every key: [a grid on a SLURM cluster](../cluster.md#the-first-profile). Keys: "
        f"{', '.join(map(code, profiles.KEYS))}.",
        *(f"`{name}` as shipped:\n\n{block(profiles.example_text(name), 'toml')}" for name in profiles.example_names()),
        "## Packed file",
        f"`{packed_file.FORMAT}`, version {packed_file.VERSION}: a compressed model in about the bytes that its "
        "information asks for. Byte by byte: [the packed file](../packed-format.md).",
    )


def a_record(kind: str) -> Path:
    """The first committed record of a kind."""
    return next(path for path in sorted(RECORDS.glob("*/*.json")) if json.loads(path.read_bytes())["kind"] == kind)


def example(path: Path) -> str:
    return json.dumps(shortened(json.loads(path.read_bytes())), indent=1)


def shortened(value: Any, depth: int = 0) -> Any:
    """The value with `MOST` entries of each list and, below the first level, of each object; how many more is said."""
    if isinstance(value, list):
        return [*(shortened(each, depth + 1) for each in value[:MOST]), *_more(len(value))]
    if isinstance(value, dict):
        shown = list(value)[: MOST if depth else None]
        rest = zip([".."], _more(len(value)) if depth else [], strict=False)
        return {**{key: shortened(value[key], depth + 1) for key in shown}, **dict(rest)}
    return value


def _more(count: int) -> list[str]:
    return [f"{count - MOST} more"] if count > MOST else []


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _tries(tries: int) -> str:
    return f", {tries} times without a newer checkpoint" if tries else ""


def _keys(keys: tuple[str, ...], inner: tuple[str, ...], table_name: str) -> str:
    return f"Keys: {', '.join(map(code, keys))}; of {code(f'[[{table_name}]]')}: {', '.join(map(code, inner))}."


def _paragraphs(module: object) -> list[str]:
    return (inspect.getdoc(module) or "").split("\n\n")


def _indented(module: object) -> str:
    """The layout in a module's head: its indented part."""
    return "\n\n".join(inspect.cleandoc(part) for part in _paragraphs(module) if part.startswith("    "))


def _first_tables(path: Path) -> str:
    """The head of a TOML file and the first of each [[table]]."""
    head, *parts = path.read_text(encoding="utf-8").split("\n\n")
    first = {part.splitlines()[0]: part for part in reversed(parts) if part.strip()}
    return "\n\n".join([head, *(part for part in dict.fromkeys(parts) if first.get(part.splitlines()[0]) is part)])
