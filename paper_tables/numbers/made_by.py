"""Made by: the code and libraries behind the seeds of a row, told where they are not the same for all of them.

A study may hold seeds of two code versions: that is allowed, since a version that changes a number changes the stage's
identity too (`harness.studies.row_check`). Here stands what the identity does not cover: commits, torch versions, and
versions of a kind that are recorded as equivalent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.planning.graph import Plan
from harness.studies.verification import Records
from harness.wording import counted
from paper_tables.numbers.rows import Row, method_title

MOST_NAMED = 3
Facts = Mapping[str, frozenset[str]]


def mixed_makers(plan: Plan, records: Records, rows: Sequence[Row]) -> list[str]:
    """A sentence for each fact in which seeds of a row differ, with the values and the rows."""
    of_stage = _varying({i: _facts(plan.stages[i].kind, record) for i, record in records.items()})
    if not of_stage:
        return []
    known: dict[str, Facts] = {}
    titles: dict[str, dict[str, None]] = defaultdict(dict)
    values: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        seeds = [
            _behind(plan, of_stage, seed.stage_id, known)
            for seed in row.seeds
            if seed.value is not None and seed.stage_id is not None
        ]
        for name in sorted({name for facts in seeds for name in facts}):
            found = [facts[name] for facts in seeds if name in facts]
            if len(set(found)) > 1:
                titles[name][_title(row)] = None
                values[name].update(*found)
    return [_sentence(name, list(titles[name]), sorted(values[name])) for name in titles]


def _varying(of_stage: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The facts of each stage that have several values over all stages: of the others no row can say anything."""
    values: dict[str, set[str]] = defaultdict(set)
    for facts in of_stage.values():
        for name, value in facts.items():
            values[name].add(value)
    names = {name for name, found in values.items() if len(found) > 1}
    if not names:
        return {}
    return {i: {name: facts[name] for name in names & facts.keys()} for i, facts in of_stage.items()}


def _behind(plan: Plan, of_stage: Mapping[str, Mapping[str, str]], stage_id: str, known: dict[str, Facts]) -> Facts:
    """The values of each fact over a stage and all that it rests on."""
    if stage_id not in known:
        found: dict[str, set[str]] = defaultdict(set)
        for each in plan.ancestors(stage_id):
            for name, value in of_stage.get(each, {}).items():
                found[name].add(value)
        known[stage_id] = {name: frozenset(values) for name, values in found.items()}
    return known[stage_id]


def _facts(kind: str, record: Mapping[str, Any]) -> dict[str, str]:
    """What a record says of its makers, by name; earlier versions say less."""
    made = record.get("provenance") or {}
    found = {}
    if commit := made.get("commit"):
        found["commits of the harness"] = f"{str(commit)[:12]}{' with changes' if made.get('uncommitted') else ''}"
    if version := (made.get("versions") or {}).get("torch"):
        found["torch versions"] = str(version)
    if (version := made.get("kind_version")) is not None:
        found[f"code versions of {kind}"] = str(version)
    return found


def _title(row: Row) -> str:
    sparse = f" {row.sparsity:g}" if row.sparsity else ""
    return f"{row.model} {method_title(row.method)}{sparse} {row.task} {row.bits} bits"


def _sentence(name: str, titles: Sequence[str], values: Sequence[str]) -> str:
    more = f", and {len(titles) - MOST_NAMED} more" if len(titles) > MOST_NAMED else ""
    listed = ", ".join(titles[:MOST_NAMED])
    return (
        f"The seeds of {counted(len(titles), 'row')} were made by different {name} ({', '.join(values)}): "
        f"{listed}{more}."
    )
