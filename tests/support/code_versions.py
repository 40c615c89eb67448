"""What is recorded of each stage kind's code, and whether the source is still that.

As a program (`make code-versions`) it records the source of kinds that are new or whose version was raised. A kind
whose source changed under the same version is excused by its output alone: `make same-numbers BASE=REV` records it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.identity import sha256_of
from harness.planning.kinds import KINDS, StageKind
from harness.worker.code_closure import DIGEST_HEX_DIGITS, SourceTree, project_tree

FILE = Path(__file__).with_name("code_versions.toml")
HEADER = """\
# Written by `make code-versions` and `make same-numbers`. For each stage kind: its version and the digest of the source
# it is computed by. The proof: the revision whose numbers that source was last shown to give. Below, the digest of each
# definition, to name what changed. In a merge take either side and run make same-numbers again.
"""
THREE_MOVES = """\
Does the change alter a number of a finished stage?
  It does:        raise the version of {kinds} in harness/planning/kinds.py, then make code-versions.
  It should not:  make same-numbers BASE=REV, REV a commit whose tests pass; the version stays.
  It does not, but later work shall be told from earlier: raise the version, name both in
                  harness/planning/equivalents.toml, then make code-versions."""


@dataclass(frozen=True)
class Recorded:
    """digest: of the source that gives the numbers of this version."""

    version: int
    digest: str

    def accepts(self, current: Current) -> bool:
        return (current.version, current.digest) == (self.version, self.digest)


@dataclass(frozen=True)
class Proof:
    """The source was shown to give the numbers of revision `base`, on this many stages."""

    base: str
    stages: int


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
    proof: Proof | None = None


def read_current(tree: SourceTree, kinds: Mapping[str, StageKind]) -> dict[str, Current]:
    return {name: Current(kind.version, tree.closure(kind.run)) for name, kind in kinds.items()}


def problems(record: Record, current: Mapping[str, Current]) -> list[str]:
    """What is not as recorded, in words; empty when all is."""
    gone = sorted(record.kinds.keys() - current.keys())
    found = [f"kind {name} is recorded and no longer there: make code-versions." for name in gone]
    changed: list[str] = []
    for name, now in current.items():
        if name not in record.kinds:
            found.append(f"kind {name} is new: make code-versions.")
        elif now.version != (version := record.kinds[name].version):
            found.append(
                f"kind {name} was raised from version {version} to {now.version}: make code-versions."
                if now.version > version
                else f"kind {name} is at version {now.version} and {version} is recorded: a version never goes back."
            )
        elif not record.kinds[name].accepts(now):
            changed.append(name)
            found.append(f"kind {name} (version {version}): {changes(record, now)}.")
    return found + ([THREE_MOVES.format(kinds=", ".join(changed))] if changed else [])


def changes(record: Record, now: Current) -> str:
    """Which definitions differ from the recorded ones."""
    differing = [name for name, digest in now.definitions.items() if record.definitions.get(name, digest) != digest]
    added = [name for name in now.definitions if name not in record.definitions]
    words = [f"{what} {', '.join(names)}" for what, names in (("changed:", differing), ("new:", added)) if names]
    return "; ".join(words) or "it uses other definitions than before"


def updated(record: Record, current: Mapping[str, Current], proof: Proof | None = None) -> Record:
    """The record of the source as it is. Raises ValueError for a change without proof, or a version that went back.

    proof: that the source gives the numbers of the recorded versions.
    """
    kinds: dict[str, Recorded] = {}
    refused = False
    for name, now in current.items():
        before = record.kinds.get(name)
        changed = before is not None and now.version == before.version and not before.accepts(now)
        if (before is not None and now.version < before.version) or (changed and proof is None):
            refused = True
        kinds[name] = Recorded(now.version, now.digest)
    if refused:
        raise ValueError("\n".join(problems(record, current)))
    definitions = {name: digest for now in current.values() for name, digest in now.definitions.items()}
    return Record(kinds, definitions, proof or record.proof)


def read_record(text: str) -> Record:
    tree: dict[str, Any] = tomllib.loads(text)
    kinds = {name: Recorded(row["version"], row["digest"]) for name, row in tree.get("kinds", {}).items()}
    proof = Proof(**tree["proof"]) if "proof" in tree else None
    return Record(kinds, tree.get("definitions", {}), proof)


def write_record(record: Record) -> str:
    lines = [HEADER]
    if record.proof is not None:
        lines += ["[proof]", f"base = {_quoted(record.proof.base)}", f"stages = {record.proof.stages}", ""]
    for name, kind in record.kinds.items():
        lines += [f"[kinds.{_quoted(name)}]", f"version = {kind.version}", f"digest = {_quoted(kind.digest)}", ""]
    lines += ["[definitions]", *(f"{_quoted(name)} = {_quoted(d)}" for name, d in sorted(record.definitions.items()))]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML string


def save(proof: Proof | None = None) -> None:
    """Record the source as it is. Raises ValueError as `updated`."""
    record = read_record(FILE.read_text(encoding="utf-8") if FILE.is_file() else "")
    FILE.write_text(write_record(updated(record, read_current(project_tree(), KINDS), proof)), encoding="utf-8")


def main(arguments: list[str]) -> int:
    argparse.ArgumentParser(description="record the source of new stage kinds and versions").parse_args(arguments)
    try:
        save()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
