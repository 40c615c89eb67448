"""Trace: the records behind a number, from its evaluations down to the corpus, with commits and digests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.errors import Problem, UsageError
from harness.specs import Cell
from harness.studies.description import CELL_KEYS, cells_named
from harness.wording import counted
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.tables.words import column_title, printable, sparsity_texts, two_decimals

_DIGITS = 12  # of a commit or digest that is shown to people; --json has all


def trace(numbers: StudyNumbers, words: str) -> dict[str, Any]:
    """The numbers of the cells that words such as method=prune-ofa,task=sst2 name, and every record behind them.

    {"study", "numbers": [{.., "value", "n", "seeds": [{"seed", "pruning_seed", "value", "stage_id"}]}],
    "records": [{"id", "kind", "label", "is_done", "digest", "commit", "uncommitted", "parents": {role: {"id",
    "digest"}}}]}, children before their parents. Raises UsageError where words name no cell.
    """
    cells = cells_named(numbers.study.plan, words)
    if cells is None:
        raise UsageError(
            Problem(
                f"--trace {words!r} names no cell",
                "trace",
                expected=f"KEY=VALUE, .. with KEY of {', '.join(CELL_KEYS)}",
                next_move="For one stage: harness show WHAT.",
            )
        )
    ends = {numbers.study.plan.endpoint(cell) for cell in cells}
    rows = [row for row in numbers.rows if ends & set(row.stage_ids)]
    return {
        "study": numbers.study.name,
        "numbers": [_number(row, ends) for row in rows],
        "records": [_record(numbers, stage_id) for stage_id in _lineage(numbers, cells)],
    }


def trace_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    shares = sparsity_texts(each["sparsity"] for each in found["numbers"])
    records = {record["id"]: record for record in found["records"]}
    for each in found["numbers"]:
        name = f"{each['model']} {each['method']} {shares[each['sparsity']]} KD {each['transfer_kd']}"
        value = (
            "missing" if each["value"] is None else f"{two_decimals(each['value'])} over {counted(each['n'], 'seed')}"
        )
        yield f"{printable(name)} {each['bits']} bits, {column_title(each['task'], each['metric'])}: {value}"
        yield from map(_seed_line, each["seeds"])
    yield ""
    yield "records, each above those it was made from:"
    for record in records.values():
        yield _record_line(record)
        for role, parent in record["parents"].items():
            digest = (parent["digest"] or "not recorded")[:_DIGITS]
            yield f"    {printable(role)}: {parent['id'][:_DIGITS]} digest {digest}"


def _seed_line(seed: Mapping[str, Any]) -> str:
    pruning = "" if seed["pruning_seed"] is None else f", pruning seed {seed['pruning_seed']}"
    value = "missing" if seed["value"] is None else two_decimals(seed["value"])
    return f"  seed {seed['seed']}{pruning}: {value} from {seed['stage_id']}"


def _record_line(record: Mapping[str, Any]) -> str:
    name = f"  {record['id']} {printable(record['label'])}"
    if not record["is_done"]:
        return f"{name}: no record"
    commit = printable((record["commit"] or "not recorded")[:_DIGITS])
    dirty = " with uncommitted changes" if record["uncommitted"] else ""
    return f"{name}: commit {commit}{dirty}, digest {record['digest'][:_DIGITS]}"


def _number(row: Row, ends: set[str]) -> dict[str, Any]:
    """Of the row as it stands in a table; seeds that the words leave out are left out."""
    seeds = [seed for seed in row.seeds if seed.stage_id in ends]
    values = [seed.value for seed in seeds if seed.value is not None]
    keys = ("model", "method", "sparsity", "transfer_kd", "bits", "task", "metric")
    return {
        **{key: getattr(row, key) for key in keys},
        "value": fmean(values) if values else None,
        "n": len(values),
        "seeds": [seed._asdict() for seed in seeds],
    }


def _lineage(numbers: StudyNumbers, cells: Iterable[Cell]) -> Sequence[str]:
    """Every stage behind the cells, each before its parents."""
    needed: dict[str, None] = {}
    for cell in cells:
        needed.update(dict.fromkeys(numbers.study.plan.ancestors(numbers.study.plan.endpoint(cell))))
    return [stage_id for stage_id in reversed(numbers.study.plan.stages) if stage_id in needed]


def _record(numbers: StudyNumbers, stage_id: str) -> dict[str, Any]:
    plan, record = numbers.study.plan, numbers.records.get(stage_id, {})
    made, digests = record.get("provenance", {}), record.get("parent_digests", {})
    return {
        "id": stage_id,
        "kind": plan.stages[stage_id].kind,
        "label": plan.label(stage_id),
        "is_done": bool(record),
        "digest": record.get("digest"),
        "commit": made.get("commit"),
        "uncommitted": made.get("uncommitted"),
        "parents": {
            role: {"id": parent, "digest": digests.get(role)} for role, parent in plan.stages[stage_id].parents.items()
        },
    }
