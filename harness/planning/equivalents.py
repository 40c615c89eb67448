"""Equivalent code versions: those that changed no number, so that finished work outlives them.

A stage's identity carries the oldest version that its kind's version is connected with; its record's provenance says
which version ran.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from harness.errors import UsageError, unknown_name
from harness.planning.kinds import KINDS, StageKind

_FIELDS = {"kind": str, "from": int, "to": int, "reason": str}


@dataclass(frozen=True, kw_only=True)
class Equivalent:
    """Version `newer` of a kind gives the numbers of version `older`. reason: how that is known."""

    kind: str
    older: int
    newer: int
    reason: str


def identity_version(kind: StageKind) -> int:
    """The version that enters the identity of the kind's stages."""
    version = kind.version
    while (kind.name, version) in _older():
        version = _older()[kind.name, version]
    return version


@cache
def _older() -> Mapping[tuple[str, int], int]:
    """(kind, version) -> the older version with the same numbers, as shipped."""
    return {(entry.kind, entry.newer): entry.older for entry in load_equivalents()}


def load_equivalents() -> list[Equivalent]:
    """The shipped entries. Raises UsageError with every problem."""
    text = resources.files("harness.planning").joinpath("equivalents.toml").read_text(encoding="utf-8")
    return read_equivalents(text, KINDS)


def read_equivalents(text: str, kinds: Mapping[str, StageKind]) -> list[Equivalent]:
    """The entries of an equivalents.toml. Raises UsageError with every problem."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"equivalents.toml: no TOML ({error}).") from None
    rows = tree.pop("equivalent", [])
    problems = [f"equivalents.toml: {key!r} is not known; write [[equivalent]] tables." for key in tree]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError([*problems, "equivalents.toml: expected [[equivalent]] tables."])
    found: list[Equivalent] = []
    for number, row in enumerate(rows, start=1):
        wrong = _row_problems(row, kinds)
        if not wrong:
            entry = Equivalent(kind=row["kind"], older=row["from"], newer=row["to"], reason=row["reason"])
            clashing = [other for other in found if (other.kind, other.newer) == (entry.kind, entry.newer)]
            wrong = [f"{entry.kind} version {entry.newer} has an entry already; keep one" for _ in clashing]
            found.append(entry)
        problems += [f"equivalents.toml, entry {number}: {problem}." for problem in wrong]
    if problems:
        raise UsageError(problems)
    return found


def _row_problems(row: Mapping[str, Any], kinds: Mapping[str, StageKind]) -> list[str]:
    wrong = [f"{name} is missing" for name in _FIELDS if name not in row]
    wrong += [f"{name!r} is not known; expected {', '.join(_FIELDS)}" for name in row if name not in _FIELDS]
    wrong += [
        f"{name}={row[name]!r}: expected {'text' if kind is str else 'a whole number'}"
        for name, kind in _FIELDS.items()
        if name in row and type(row[name]) is not kind
    ]
    if wrong:
        return wrong
    if not row["reason"].strip():
        wrong.append("reason is empty; say how it is known that no number changed")
    if not 1 <= row["from"] < row["to"]:
        wrong.append(f"from={row['from']}, to={row['to']}: expected 1 <= from < to")
    if row["kind"] not in kinds:
        wrong.append(unknown_name("stage kind", row["kind"], kinds).removesuffix("."))
    elif row["to"] > kinds[row["kind"]].version:
        wrong.append(f"to={row['to']}: {row['kind']} is at version {kinds[row['kind']].version}; raise it in kinds.py")
    return wrong
