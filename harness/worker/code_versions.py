"""What is recorded of each stage kind's code, and whether the source is still that.

The record is a file that goes with the source. Where a kind's source changed under the same version, the record needs
a proof: how it was shown that no number changed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.identity import sha256_of
from harness.planning.kinds import StageKind
from harness.worker.code_closure import DIGEST_HEX_DIGITS, SourceTree, package_folder

HEADER = """\
# Written by `{command}`. For each stage kind: its version and the digest of the source it is computed by.
# proof: how the last change of source under the same versions was shown to change no number. Below, the digest of
# each definition, to name what changed. In a merge take either side and prove it again.
"""
THREE_MOVES = """\
Does the change alter a number of a finished stage?
  It does:        raise the version of {kinds} where it is declared, then {command}.
  It should not:  {prove}; the version stays.
  It does not, but later work shall be told from earlier: raise the version, name both in
                  harness/planning/equivalents.toml (kinds of the harness alone), then {command}."""


@dataclass(frozen=True)
class Recorder:
    """The command that records new kinds and raised versions, and the one that proves a change harmless."""

    command: str
    prove: str


MAKE = Recorder("make code-versions", "make same-numbers BASE=REV, REV a commit whose tests pass")


@dataclass(frozen=True)
class Recorded:
    """digest: of the source that gives the numbers of this version."""

    version: int
    digest: str

    def accepts(self, current: Current) -> bool:
        return (current.version, current.digest) == (self.version, self.digest)


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
    proof: str = ""


def read_current(tree: SourceTree, kinds: Mapping[str, StageKind]) -> dict[str, Current]:
    return {name: Current(kind.version, tree.closure(kind.run)) for name, kind in kinds.items()}


def own_source(kind: StageKind) -> str | None:
    """The digest of all that a kind of another package uses of that package; None for one of the harness.

    Also None where its source cannot be followed: then nothing tells two sources apart.
    """
    if kind.owner is None:
        return None
    top = kind.run.partition(":")[0].partition(".")[0]
    try:
        tree = SourceTree({top: package_folder(top)}, handed_over={})
        return read_current(tree, {kind.name: kind})[kind.name].digest
    except ValueError:
        return None


def problems(record: Record, current: Mapping[str, Current], recorder: Recorder = MAKE) -> list[str]:
    """What is not as recorded, in words; empty when all is."""
    owners = {_owner(name) for name in current}
    gone = sorted(name for name in record.kinds.keys() - current.keys() if _owner(name) in owners)
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


def _owner(kind: str) -> str:
    """The method or package that has the kind, of OWNER:NAME; "" for one of the harness: a file may hold several."""
    return kind.rpartition(":")[0]


def changes(record: Record, now: Current) -> str:
    """Which definitions differ from the recorded ones."""
    differing = [name for name, digest in now.definitions.items() if record.definitions.get(name, digest) != digest]
    added = [name for name in now.definitions if name not in record.definitions]
    words = [f"{what} {', '.join(names)}" for what, names in (("changed:", differing), ("new:", added)) if names]
    return "; ".join(words) or "it uses other definitions than before"


def updated(record: Record, current: Mapping[str, Current], proof: str = "", recorder: Recorder = MAKE) -> Record:
    """The record of the source as it is. Raises ValueError for a change without proof, or a version that went back.

    proof: how it was shown that the source gives the numbers of the recorded versions.
    """
    owners = {_owner(name) for name in current}
    kinds = {name: kind for name, kind in record.kinds.items() if _owner(name) not in owners}
    others = record.definitions if kinds else {}
    refused = False
    for name, now in current.items():
        before = record.kinds.get(name)
        changed = before is not None and now.version == before.version and not before.accepts(now)
        if (before is not None and now.version < before.version) or (changed and not proof.strip()):
            refused = True
        kinds[name] = Recorded(now.version, now.digest)
    if refused:
        raise ValueError("\n".join(problems(record, current, recorder)))
    definitions = {name: digest for now in current.values() for name, digest in now.definitions.items()}
    return Record(kinds, {**others, **definitions}, proof.strip() or record.proof)


def read_record(text: str) -> Record:
    tree: dict[str, Any] = tomllib.loads(text)
    kinds = {name: Recorded(row["version"], row["digest"]) for name, row in tree.get("kinds", {}).items()}
    return Record(kinds, tree.get("definitions", {}), tree.get("proof", ""))


def write_record(record: Record, recorder: Recorder = MAKE) -> str:
    """The file's text."""
    lines = [HEADER.format(command=recorder.command)]
    lines += [f"proof = {_quoted(record.proof)}", ""] if record.proof else []
    for name, kind in record.kinds.items():
        lines += [f"[kinds.{_key(name)}]", f"version = {kind.version}", f"digest = {_quoted(kind.digest)}", ""]
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


def write_current(file: Path, current: Mapping[str, Current], proof: str = "", recorder: Recorder = MAKE) -> None:
    """Record the source as it is. Raises ValueError as `updated`."""
    record = read_record(file.read_text(encoding="utf-8") if file.is_file() else "")
    file.write_text(write_record(updated(record, current, proof, recorder), recorder), encoding="utf-8")
