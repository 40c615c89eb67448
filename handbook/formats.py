"""The reference of file formats: keys from the declarations that check them, examples from files that are shipped."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from handbook.markdown import block, code, plain, sections, table
from handbook.tree import ROOT
from harness.compression import quantization
from harness.inputs import declared_families
from harness.inputs.families import FAMILIES
from harness.inputs.family import BERT_TOKENS, SIZES
from harness.inputs.weight_files import INT8_FILE, SAFETENSORS
from harness.packed import packed_file
from harness.planning import preset as preset_module
from harness.planning import preset_form
from harness.store import store as store_module
from harness.store.attempts import OUTCOMES
from harness.task_files import form
from harness.task_files.task import HEADS
from harness.tasks import SHIPPED
from paper_tables.claims.file import paper_claims
from paper_tables.tables import table_file
from slurm import profiles

PATH = "docs/reference/formats.md"
STUDY = ROOT / "results" / "quick" / "studies" / "quick.json"
RECORDS = ROOT / "results" / "quick" / "records"
EXPECTED = ROOT / "results" / "quick" / "expected.toml"
TASKS = ("cola.toml", "stsb.toml")
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
        "## Task",
        "TOML, for `--task-file FILE`; every key: [a task of your own](../new-task.md#the-file). Keys: "
        f"{_codes(form.KEYS)}; of `[splits]`: {_codes(form.SPLIT_KEYS)}; of `[hub]`: {_codes(form.HUB_KEYS)}. By kind:",
        table(
            ["kind", "metrics", "`[columns]`", "`[settings]`, with what counts where neither file nor recipe has one"],
            (
                [code(head.name), _codes(head.metrics), _codes(form.COLUMN_KEYS[head.name]), _settings(head.name)]
                for head in HEADS
            ),
        ),
        *(f"`{name}` as shipped:\n\n{block((SHIPPED / name).read_text(encoding='utf-8'), 'toml')}" for name in TASKS),
        "## Family of encoders",
        f"TOML, {code(declared_families.FILE)} beside a model's `config.json`; every key: "
        "[an encoder of another family](../new-encoder.md#declare-another-one). "
        f"{code(declared_families.LIKE)} names one of {_codes(sorted(FAMILIES))}, whose fields stand where none is "
        "given. It goes into the `config.json` of whatever is trained from the model, as "
        f"{code(declared_families.KEY)}.",
        table(
            ["field", "what it holds", "without `like`"],
            (
                [code(name), plain(each.words), "needed" if name in declared_families.REQUIRED else "may be left out"]
                for name, each in declared_families._FORMS.items()
            ),
        ),
        f"`[sizes]` has at least {_codes(SIZES)}; `[special_tokens]` has {_codes(BERT_TOKENS)}.",
        "## Table",
        "TOML, for `harness tables --table FILE.toml`; every key: [tables](../tables.md#a-table-of-your-own). "
        + _keys(table_file.KEYS, (*table_file.ROW_KEYS, *table_file.ONLY_PUBLISHED), "rows"),
        *(f"`{name}` as shipped:\n\n{block(table_file.table_text(name), 'toml')}" for name in ("peers",)),
        "## Claims",
        "TOML, for `harness tables --claims FILE`; every key: [statistics](../statistics.md). Shipped are "
        f"{_codes(claim.id for claim in paper_claims())}.",
        "## Expected numbers",
        "TOML, for `harness check --expected FILE`, which `--write` makes: [the gate](../gate.md).",
        block(_first_tables(EXPECTED), "toml"),
        "## Profile of a cluster",
        "TOML, for `--profile FILE`; every key: [a grid on a SLURM cluster](../cluster.md#the-first-profile). Keys: "
        f"{_codes(profiles.KEYS)}.",
        *(f"`{name}` as shipped:\n\n{block(profiles.example_text(name), 'toml')}" for name in profiles.example_names()),
        "## Int8 file",
        f"{code(INT8_FILE)}, a safetensors file beside the {code(SAFETENSORS)} of a quantized cell, in a store and in "
        "`harness export --format hub`: what is computed with, of each quantized Linear.",
        table(
            ["tensor", "always there"],
            ([code(f"MODULE.{name}"), _yes(each.default is each.empty)] for name, each in _frozen_parts().items()),
        ),
        plain(_paragraphs(quantization.freeze)[1].partition(" The model is not changed.")[0]),
        *map(plain, _paragraphs(quantization)[1:2]),
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
    return f"Keys: {_codes(keys)}; of {code(f'[[{table_name}]]')}: {_codes(inner)}."


def _codes(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))


def _settings(kind: str) -> str:
    return ", ".join(f"{code(key)} {value}" for key, value in form.SETTINGS[kind].items())


def _frozen_parts() -> dict[str, inspect.Parameter]:
    """What a quantized Linear is made of when it is read."""
    given = inspect.signature(quantization.FrozenQuantizedLinear).parameters
    return {name: each for name, each in given.items() if name != "arithmetic"}


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
