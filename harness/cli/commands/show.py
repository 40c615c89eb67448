"""`harness show`: one stage or one cell with all that is known of it, or a list of several. Decides nothing."""

from __future__ import annotations

import argparse
import json
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cli.commands.chosen import read_named_study
from harness.progress import StageProgress, duration
from harness.specs import Cell
from harness.store.store import Store
from harness.studies.description import Descriptions, cells_named
from harness.studies.selection import select
from harness.wording import COLUMNS, MOST_STAGES_LISTED, counted, cut, harmless

MOST_LOSSES, MOST_CELLS_LISTED = 12, 5
LABEL = 10  # width of the first column


def run(options: argparse.Namespace) -> int:
    """Exit code 0. Raises UsageError when WHAT names nothing, StoreError for a record that cannot be trusted."""
    store = Store(Path(options.store))
    study = read_named_study(store, options)
    found = Descriptions(store, study)
    cells = cells_named(study.plan, options.what)
    stage_ids = [] if cells is not None else select(study.plan, found.states, options.what)
    if options.json:
        told = {
            "study": study.name,
            "cells": [found.cell(cell) for cell in cells or ()],
            "stages": [found.stage(stage_id) for stage_id in stage_ids],
        }
        print(json.dumps(told, indent=1))
    elif cells is not None and len(cells) > 1:
        lines = [_cell_line(found.cell(cell)) for cell in cells[:MOST_STAGES_LISTED]]
        print(harmless("\n".join(_listed(counted(len(cells), "cell"), lines, len(cells)))))
    elif cells is not None:
        print(harmless("\n".join(cell_lines(found.cell(cells[0]), study.name))))
    elif len(stage_ids) > 1:
        lines = [_stage_line(found.line(stage_id)) for stage_id in stage_ids[:MOST_STAGES_LISTED]]
        print(harmless("\n".join(_listed(counted(len(stage_ids), "stage"), lines, len(stage_ids)))))
    else:
        print(harmless("\n".join(stage_lines(found.stage(stage_ids[0]), study.name))))
    return 0


def _listed(what: str, lines: list[str], count: int) -> list[str]:
    more = [f"  and {count - len(lines)} more (--json has all)"] if count > len(lines) else []
    return [f"{what}; name one to see all of it:", *lines, *more]


def _stage_line(stage: Mapping[str, Any]) -> str:
    return f"  {stage['state']:<9} {stage['label']} ({stage['id']})"


def _cell_line(cell: Mapping[str, Any]) -> str:
    wanted = cell["scored_by"]
    scores = {
        split: {name: value for name, value in found.items() if name in wanted}
        for split, found in (cell["metrics"] or {}).items()
    }
    return cut(f"  {cell['state']:<9} {_cell_name(cell)}{': ' if scores else ''}{_numbers(scores)}")


def _cell_name(cell: Mapping[str, Any]) -> str:
    pruning_seed = cell["cell"]["pruning_seed"]
    return f"{cell['label']} pruning seed {pruning_seed}" if pruning_seed else str(cell["label"])


def cell_lines(cell: Mapping[str, Any], study: str) -> list[str]:
    """A cell for people: what it came to, and its path of stages."""
    lines = [f"cell {_cell_name(cell)}", *_row("study", study), *_row("state", cell["state"])]
    lines += _row("metrics", _numbers(cell["metrics"])) if cell["metrics"] else []
    lines += _row("zeros", f"{cell['sparsity']:.2%} of the encoder's weights") if cell["sparsity"] is not None else []
    lines.append("  stages")
    for stage in cell["stages"]:
        took = "" if stage["seconds"] is None else duration(stage["seconds"])
        lines.append(f"    {stage['state']:<9} {took:>12}  {stage['label']} ({stage['id'][:8]})")
    return lines


def stage_lines(stage: Mapping[str, Any], study: str) -> list[str]:
    """A stage for people: identity, state, settings, and what its record holds where it has one."""
    record = stage["record"] or {}
    result = record["result"] if isinstance(record.get("result"), Mapping) else {}
    lines = [stage["label"], *_row("id", stage["id"]), *_row("study", study)]
    lines += _row("state", _state(stage, record))
    parents = (f"{each['role']}: {each['label']} ({each['id'][:8]}, {each['state']})" for each in stage["parents"])
    lines += _rows("parents", parents)
    lines += _rows("inputs", [f"{role}: {content[:16]}.." for role, content in stage["inputs"].items()])
    lines += _rows("cells", _cells(stage["cells"]))
    lines += _rows("did", result.get("did", ()))
    lines += _row("metrics", _numbers(result["metrics"])) if result.get("metrics") else []
    lines += _row("loss", _losses(result)) if _losses(result) else []
    lines += _rows("zeros", _zeros(result))
    lines += _rows("packed", _packed(result))
    lines += _rows("times", _times(result))
    lines += _rows("training", _training(result))
    lines += _rows("made with", _provenance(record.get("provenance", {})))
    lines += _rows("artifact", _artifact(stage, record))
    lines += _rows("attempts", [part for attempt in stage["attempts"] for part in _attempt(attempt)])
    return [*lines, *_settings(stage["settings"])]


def _packed(result: Mapping[str, Any]) -> list[str]:
    """The sizes of a packed file."""
    told = result.get("packed")
    if not isinstance(told, Mapping):
        return []
    return [
        f"encoder {told['encoder_bytes']:,} bytes, of {told['encoder_fp32_bytes']:,} in fp32; Shannon's bound "
        f"{told['encoder_bound_bytes']:,}",
        f"file {told['file_bytes']:,} bytes, of {told['dense_file_bytes']:,}; embeddings in {told['embeddings']}",
    ]


def _times(result: Mapping[str, Any]) -> list[str]:
    """A line for each runtime and size that was measured."""
    told = result.get("latency")
    if not isinstance(told, Mapping):
        return []
    lines = [
        f"{each['runtime']}, {each['examples']} x {each['tokens']} tokens: {each['p50_ms']:.1f} ms (99 %: "
        f"{each['p99_ms']:.1f})"
        for each in told["measured"]
    ]
    return [f"{told['machine']}; {counted(told['threads'], 'thread')}", *lines]


def _state(stage: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    times = record.get("times", {})
    if {"started", "ended"} <= times.keys():
        return (
            f"{stage['state']}: started {_moment(times['started'])}, took {duration(times['ended'] - times['started'])}"
        )
    if stage["progress"]:
        return f"{stage['state']}: {StageProgress(**stage['progress'])}"
    match stage["reason"]:
        case "failed before":  # as a dry run says it
            why = stage["detail"]
        case "parent runs again":
            why = f"waits for {stage['detail']}"
        case reason:
            why = ": ".join(filter(None, [reason, stage["detail"]])) if reason != stage["state"] else None
    return f"{stage['state']}: {why}" if why else str(stage["state"])


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _cells(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [str(Cell(**cell)) for cell in cells[:MOST_CELLS_LISTED]]
    more = len(cells) - len(names)
    return [*names, f"and {more} more"] if more else names


def _numbers(metrics: Mapping[str, Any]) -> str:
    """Metrics in a line; those of an evaluation by split."""
    texts = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            texts.append(f"{name}: {_numbers(value)}")
        else:
            texts.append(f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(texts)


def _losses(result: Mapping[str, Any]) -> str:
    """The loss curve as step:loss, evenly chosen, the last among them."""
    curve = result.get("training", {}).get("loss_curve", ())
    every = max(-(-len(curve) // MOST_LOSSES), 1)
    points = [curve[i] for i in range(len(curve) - 1, -1, -every)][::-1]
    return "  ".join(f"{point['step']}:{point['loss']:.3f}" for point in points) if points else ""


def _zeros(result: Mapping[str, Any]) -> list[str]:
    counted_zeros = result.get("sparsity") or result.get("artifact_sparsity") or {}
    if not {"encoder_zeros", "encoder_numel"} <= counted_zeros.keys():
        return []
    zeros, numel = counted_zeros["encoder_zeros"], counted_zeros["encoder_numel"]
    matrices = counted_zeros.get("encoder_matrices")
    where = "" if matrices is None else f", in {counted(matrices, 'matrix', 'matrices')}"
    return [f"{zeros:,} of {numel:,} weights of the encoder ({zeros / max(numel, 1):.2%}){where}"]


def _training(result: Mapping[str, Any]) -> list[str]:
    training = result.get("training", {})
    texts = [
        f"{training[name]:,} {noun}"
        for name, noun in (("steps", "steps"), ("tokens_seen", "tokens"))
        if isinstance(training.get(name), int)
    ]
    if isinstance(training.get("examples"), int):  # of the training set, not those that were seen
        texts = [" ".join(filter(None, [", ".join(texts), f"of {training['examples']:,} examples"]))]
    texts += [f"{duration(training['seconds'])} in them"] if "seconds" in training else []
    texts += [f"on {training['device']}"] if "device" in training else []
    return [", ".join(texts)] if texts else []


def _provenance(made: Mapping[str, Any]) -> list[str]:
    if not made:
        return []
    versions = made.get("versions", {})
    libraries = [f"{name} {versions[name]}" for name in ("torch", "transformers") if name in versions]
    commit = f" ({made['commit'][:12]}{', changed' if made.get('uncommitted') else ''})" if made.get("commit") else ""
    source = [f"harness {made.get('harness')}{commit}", f"python {made.get('python')}", *libraries]
    return [", ".join(source), ", ".join(_machine(made))]


def _machine(made: Mapping[str, Any]) -> list[str]:
    """What of the machine can change the last bits; records of earlier versions say less."""
    facts = [f"{made.get('processor')}", counted(made.get("cores") or 0, "core")]
    if computed := made.get("torch"):
        facts += [computed["cpu_capability"], f"BLAS {computed['blas']}", counted(computed["threads"], "thread")]
        facts += computed["gpus"]
    return [*facts, *(f"{name}={value}" for name, value in made.get("kernel_variables", {}).items())]


def _artifact(stage: Mapping[str, Any], record: Mapping[str, Any]) -> list[str | Path]:
    written = record.get("artifact", {})
    if not record:
        return []
    size = f"{written.get('bytes', 0) / 1e6:,.1f} MB in {counted(len(written.get('files', ())), 'file')}"
    return [Path(stage["artifact"]["path"]), size if stage["artifact"]["there"] else "gone"]


def _attempt(attempt: Mapping[str, Any]) -> list[str | Path]:
    ended = attempt["label"] or ("retried" if attempt["retried"] else "not ended")
    took = ""
    if attempt["started"] is not None and attempt["ended"] is not None:
        took = f" in {duration(attempt['ended'] - attempt['started'])}"
    said = (attempt["message"] or "").removeprefix(f"{ended}; ")  # the word once
    message = f": {said}" if said else ""
    return [f"{attempt['number']}: {ended}{took}{message}", *([Path(attempt["log"])] if attempt["log"] else [])]


def _settings(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """A setting to a line: name, value, evidence, and the source in what is left of the width."""
    if not settings:
        return []
    values = [json.dumps(row["value"]) if not isinstance(row["value"], str) else row["value"] for row in settings]
    name_width = max(len(row["name"]) for row in settings)
    value_width = min(max(map(len, values)), 24)
    lines = ["  settings"]
    for row, value in zip(settings, values, strict=True):
        start = f"    {row['name']:<{name_width}}  {value:<{value_width}}  {row['evidence']:<9}"
        lines += _wrapped(start, row["source"])
    return lines


def _row(title: str, text: str | Path) -> list[str]:
    """A path stays in one line, however long: it is there to be copied."""
    start = f"  {title:<{LABEL}}"
    return [f"{start} {text}"] if isinstance(text, Path) else _wrapped(start, text)


def _rows(title: str, texts: Iterable[str | Path]) -> list[str]:
    """A text to a line, the first beside the title."""
    titles = [title, *[""] * len(list(texts := list(texts)))]
    return [line for name, text in zip(titles, texts, strict=False) for line in _row(name, text)]


def _wrapped(start: str, text: str) -> list[str]:
    """The text beside its start and, where it is long, in further lines below its own beginning."""
    lines = textwrap.wrap(text, max(COLUMNS - len(start) - 1, 20), break_long_words=False, break_on_hyphens=False)
    indent = " " * len(start)
    return [f"{start if i == 0 else indent} {line}" for i, line in enumerate(lines)] or [start.rstrip()]
