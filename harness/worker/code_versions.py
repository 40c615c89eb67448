"""What is recorded of each stage kind's code, and whether the source is still that.

The record is a file that goes with the source. A kind whose source changed under the same version needs the reason why
no number did.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.identity import sha256_of
from harness.planning.kinds import StageKind
from harness.worker.code_closure import DIGEST_HEX_DIGITS, SourceTree

HEADER = """\
# Written by `{command}`. For each stage kind: its version, the digest of the source it rests on, and waivers:
# later sources accepted under the same version, each with the reason why no number changed. Below, the digest of every
# definition, to name what changed. In a merge take either side and run it again.
"""
THREE_MOVES = """\
Does the change alter a number of a finished stage?
  It does:        raise the version of {kinds} where it is declared, then {command}.
  It does not:    {with_reason}; the version stays.
  It does not, but later work shall be told from earlier: raise the version, name both in harness/equivalents.toml
                  (kinds of the harness alone), then {command}."""


@dataclass(frozen=True)
class Recorder:
    """The command that records the source as it is, and the same with a reason."""

    command: str
    with_reason: str


MAKE = Recorder("make code-versions", 'make code-versions REASON="why no number changes"')


@dataclass(frozen=True)
class Recorded:
    """digest: of the source when the version was recorded. waivers: digest -> reason, of later sources."""

    version: int
    digest: str
    waivers: Mapping[str, str]

    def accepts(self, current: Current) -> bool:
        return current.version == self.version and current.digest in (self.digest, *self.waivers)


@dataclass(frozen=True)
class Current:
    """A kind as the source has it now. definitions: digest by "module:name"."""

    version: int
    definitions: Mapping[str, str]

    @property
    def digest(self) -> str:
        return sha256_of(dict(self.definitions))[:DIGEST_HEX_DIGITS]


@dataclass(frozen=True)
class Record:
    """The committed file."""

    kinds: Mapping[str, Recorded]
    definitions: Mapping[str, str]


def read_current(tree: SourceTree, kinds: Mapping[str, StageKind]) -> dict[str, Current]:
    return {name: Current(kind.version, tree.closure(kind.run)) for name, kind in kinds.items()}


def problems(record: Record, current: Mapping[str, Current], recorder: Recorder = MAKE) -> list[str]:
    """What is not as recorded, in words; empty when all is."""
    gone = sorted(record.kinds.keys() - current.keys())
    found = [f"kind {name} is recorded and no longer there: {recorder.command}." for name in gone]
    changed: list[str] = []
    for name, now in current.items():
        if name not in record.kinds:
            found.append(f"kind {name} is new: {recorder.command}.")
        elif now.version != (version := record.kinds[name].version):
            found.append(
                f"kind {name} was raised from version {version} to {now.version}: {recorder.command}."
                if now.version > version
                else f"kind {name} is at version {now.version} and {version} is recorded: a version never goes back."
            )
        elif not record.kinds[name].accepts(now):
            changed.append(name)
            found.append(f"kind {name} (version {version}): {changes(record, now)}.")
    return found + ([THREE_MOVES.format(kinds=", ".join(changed), **vars(recorder))] if changed else [])


def changes(record: Record, now: Current) -> str:
    """Which definitions differ from the recorded ones."""
    differing = [name for name, digest in now.definitions.items() if record.definitions.get(name, digest) != digest]
    added = [name for name in now.definitions if name not in record.definitions]
    words = [f"{what} {', '.join(names)}" for what, names in (("changed:", differing), ("new:", added)) if names]
    return "; ".join(words) or "it uses other definitions than before"


def updated(record: Record, current: Mapping[str, Current], reason: str, recorder: Recorder = MAKE) -> Record:
    """The record of the source as it is. Raises ValueError where a reason is needed, or a version went back."""
    kinds: dict[str, Recorded] = {}
    refused = False
    for name, now in current.items():
        before = record.kinds.get(name)
        if before is None or now.version > before.version:
            kinds[name] = Recorded(now.version, now.digest, {})
        elif before.accepts(now):
            kinds[name] = before
        elif now.version == before.version and reason.strip():
            kinds[name] = replace(before, waivers={**before.waivers, now.digest: reason.strip()})
        else:
            refused = True
    if refused:
        raise ValueError("\n".join(problems(record, current, recorder)))
    return Record(kinds, {name: digest for now in current.values() for name, digest in now.definitions.items()})


def read_record(text: str) -> Record:
    """Raises ValueError for a waiver without a reason."""
    tree: dict[str, Any] = tomllib.loads(text)
    kinds = {}
    for name, row in tree.get("kinds", {}).items():
        waivers = {waiver["digest"]: waiver.get("reason", "").strip() for waiver in row.get("waivers", [])}
        if not all(waivers.values()):
            raise ValueError(f"code_versions.toml: a waiver of {name} gives no reason; say why no number changed.")
        kinds[name] = Recorded(row["version"], row["digest"], waivers)
    return Record(kinds, tree.get("definitions", {}))


def write_record(record: Record, recorder: Recorder = MAKE) -> str:
    """The file's text."""
    lines = [HEADER.format(command=recorder.command)]
    for name, kind in record.kinds.items():
        lines += [f"[kinds.{_key(name)}]", f"version = {kind.version}", f"digest = {_quoted(kind.digest)}"]
        for digest, reason in kind.waivers.items():
            lines += [f"[[kinds.{_key(name)}.waivers]]", f"digest = {_quoted(digest)}", f"reason = {_quoted(reason)}"]
        lines.append("")
    lines += ["[definitions]", *(f"{_quoted(name)} = {_quoted(d)}" for name, d in sorted(record.definitions.items()))]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML string


def check(file: Path, current: Mapping[str, Current], recorder: Recorder = MAKE) -> None:
    """Raises AssertionError with what is not as the file has it."""
    record = read_record(file.read_text(encoding="utf-8") if file.is_file() else "")
    found = problems(record, current, recorder)
    if found:
        raise AssertionError(f"{file}:\n" + "\n".join(found))


def write_current(file: Path, current: Mapping[str, Current], reason: str, recorder: Recorder = MAKE) -> None:
    """Record the source as it is. Raises ValueError where a reason is needed, or a version went back."""
    record = read_record(file.read_text(encoding="utf-8") if file.is_file() else "")
    file.write_text(write_record(updated(record, current, reason, recorder), recorder), encoding="utf-8")
