"""The reference of file formats: keys from the declarations that check them, examples from files that are shipped."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
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
Parts = Iterator[str]  # of the section of a format: paragraphs, tables and examples
MOST = 3  # entries of a list, or of an object within an object, that an example shows


def page() -> str:
    parts = [part for title, format_of in FORMATS.items() for part in (f"## {title}", *format_of())]
    head = "What is read and written, from the code that does it. Examples are committed files, shortened."
    return sections("# File formats", head, *parts)


# -- what a store holds


def _store() -> Parts:
    yield "A folder of plain files; what it promises: [running grids](../running.md#what-a-run-leaves-behind)."
    yield block(_indented(store_module))


def _record() -> Parts:
    yield (
        "The result of one finished stage, `records/ab/STAGE.json`. What each kind writes under `result`: "
        "[stage kinds](stage-kinds.md#what-a-record-holds)."
    )
    yield block(example(a_record("student_pruning")), "json")


def _study() -> Parts:
    yield "A named set of cells with recipe and stages, `studies/NAME.json`."
    yield block(example(STUDY), "json")


def _attempt() -> Parts:
    yield "One try at a stage, `attempts/STAGE/N.jsonl`, a line an event. How it may end:"
    yield table(
        ["outcome", "shown as", "a failure", "started again by its driver"],
        (
            [code(name), plain(each.label), _yes(each.is_failure), f"{_yes(each.retry)}{_tries(each.tries)}"]
            for name, each in OUTCOMES.items()
        ),
    )


# -- what a user writes


def _preset() -> Parts:
    yield "TOML, for `--preset FILE.toml`. " + _keys(preset_form.KEYS, preset_form.ROW_KEYS, "rows")
    yield from map(plain, _paragraphs(preset_module)[1:3])
    yield block(_paragraphs(preset_module)[1])


def _task() -> Parts:
    yield (
        "TOML, for `--task-file FILE`; every key: [a task of your own](../new-task.md#the-file). Keys: "
        f"{_codes(form.KEYS)}; of `[splits]`: {_codes(form.SPLIT_KEYS)}; of `[hub]`: {_codes(form.HUB_KEYS)}. By kind:"
    )
    yield table(
        ["kind", "metrics", "`[columns]`", "`[settings]`, with what counts where neither file nor recipe has one"],
        (
            [code(head.name), _codes(head.metrics), _codes(form.COLUMN_KEYS[head.name]), _settings(head.name)]
            for head in HEADS
        ),
    )
    yield from _shipped(TASKS, lambda name: (SHIPPED / name).read_text(encoding="utf-8"))


def _family() -> Parts:
    yield (
        f"TOML, {code(declared_families.FILE)} beside a model's `config.json`; every key: "
        "[an encoder of another family](../new-encoder.md#declare-another-one). "
        f"{code(declared_families.LIKE)} names one of {_codes(sorted(FAMILIES))}, whose fields stand where none is "
        "given. It goes into the `config.json` of whatever is trained from the model, as "
        f"{code(declared_families.KEY)}."
    )
    yield table(
        ["field", "what it holds", "without `like`"],
        (
            [code(name), plain(each.words), "needed" if name in declared_families.REQUIRED else "may be left out"]
            for name, each in declared_families._FORMS.items()
        ),
    )
    yield f"`[sizes]` has at least {_codes(SIZES)}; `[special_tokens]` has {_codes(BERT_TOKENS)}."


def _table() -> Parts:
    yield (
        "TOML, for `harness tables --table FILE.toml`; every key: [tables](../tables.md#a-table-of-your-own). "
        + _keys(table_file.KEYS, (*table_file.ROW_KEYS, *table_file.ONLY_PUBLISHED), "rows")
    )
    yield from _shipped(["peers"], table_file.table_text)


def _claims() -> Parts:
    yield (
        "TOML, for `harness tables --claims FILE`; every key: [statistics](../statistics.md). Shipped are "
        f"{_codes(claim.id for claim in paper_claims())}."
    )


def _expected() -> Parts:
    yield "TOML, for `harness check --expected FILE`, which `--write` makes: [the gate](../gate.md)."
    yield block(_first_tables(EXPECTED), "toml")


def _profile() -> Parts:
    yield (
        "TOML, for `--profile FILE`; every key: [a grid on a SLURM cluster](../cluster.md#the-first-profile). Keys: "
        f"{_codes(profiles.KEYS)}."
    )
    yield from _shipped(profiles.example_names(), profiles.example_text)


# -- what a model lies in


def _int8_file() -> Parts:
    yield (
        f"{code(INT8_FILE)}, a safetensors file beside the {code(SAFETENSORS)} of a quantized cell, in a store and in "
        "`harness export --format hub`: what is computed with, of each quantized Linear."
    )
    yield table(
        ["tensor", "always there"],
        ([code(f"MODULE.{name}"), _yes(each.default is each.empty)] for name, each in _frozen_parts().items()),
    )
    yield plain(_paragraphs(quantization.freeze)[1].partition(" The model is not changed.")[0])
    yield from map(plain, _paragraphs(quantization)[1:2])


def _packed_file() -> Parts:
    yield (
        f"`{packed_file.FORMAT}`, version {packed_file.VERSION}: a compressed model in about the bytes that its "
        "information asks for. Byte by byte: [the packed file](../packed-format.md)."
    )


FORMATS: Mapping[str, Callable[[], Parts]] = {
    "Store": _store,
    "Record": _record,
    "Study": _study,
    "Attempt": _attempt,
    "Preset": _preset,
    "Task": _task,
    "Family of encoders": _family,
    "Table": _table,
    "Claims": _claims,
    "Expected numbers": _expected,
    "Profile of a cluster": _profile,
    "Int8 file": _int8_file,
    "Packed file": _packed_file,
}


# -- examples and lists


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


def _shipped(names: Iterable[str], text_of: Callable[[str], str]) -> Parts:
    """Files that come with the package, each under its name."""
    return (f"`{name}` as shipped:\n\n{block(text_of(name), 'toml')}" for name in names)


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
