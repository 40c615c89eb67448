"""What lies among a store's records and is read by nobody: records under another name, and records of no study.

A record is read under its stage's name alone. A second file of a stage is no second result while it says the same;
where it says another thing, nobody can know which of the two is the stage's.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.identity import is_stage_id, parse_json
from harness.store.store import Store
from harness.studies.json_pieces import JsonPieces
from harness.studies.study import study_names
from harness.wording import counted

MOST_NAMED = 3


@dataclass
class Unread:
    """problems: sentences about second results. notes: about what changes no number. orphans: records of no study.

    recorded: the stages that have a record, as far as folders can be listed. unlisted: those that cannot, and why.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    unlisted: dict[Path, str] = field(default_factory=dict)


def find_unread(store: Store, stage_ids: Collection[str] | None = None) -> Unread:
    """stage_ids: those whose second files count; None: of any stage."""
    found = Unread()
    for folder, letters, name in _json_files(store.records_path, found.unlisted):
        stem = name.removesuffix(".json")
        if letters == stem[:2] and is_stage_id(stem):
            found.recorded.append(stem)
        elif (copy := _record_in(folder / name)) and (stage_ids is None or copy["stage_id"] in stage_ids):
            _tell(store, folder / name, copy, found)
    found.orphans = _orphans(store, found.recorded, stage_ids or ())
    if found.orphans:
        count, verb = counted(len(found.orphans), "record"), "is" if len(found.orphans) == 1 else "are"
        listed = ", ".join(str(store.stage(i).record_path) for i in found.orphans[:MOST_NAMED])
        more = ", .." if len(found.orphans) > MOST_NAMED else ""
        found.notes.append(
            f"{count} in {store.root} {verb} of no study ({listed}{more}) and shown nowhere. A grid that has their "
            "cells takes them in."
        )
    return found


def _tell(store: Store, path: Path, copy: dict[str, Any], found: Unread) -> None:
    stage = store.stage(copy["stage_id"])
    try:
        own = stage.read_record()["digest"]
    except FileNotFoundError:
        found.notes.append(
            f"{path} is a record of stage {stage.stage_id} under another name, and is not read. Name it "
            f"{stage.record_path}, or move it away."
        )
    except (OSError, StoreError):  # told of already
        found.notes.append(f"{path} is another file of stage {stage.stage_id}, and is not read. Move it away.")
    else:
        if own == copy.get("digest"):
            found.notes.append(f"{path} is a copy of record {stage.record_path}, and is not read. Move it away.")
        else:
            found.problems.append(
                f"record {stage.record_path} and {path} are two results of stage {stage.stage_id} (digests {own[:12]} "
                f"and {str(copy.get('digest'))[:12]}). Move the one that is not to count out of {store.records_path}."
            )


def _json_files(records: Path, unlisted: dict[Path, str]) -> Iterator[tuple[Path, str, str]]:
    """The .json files of the folder of records and of those in it, by name.

    Each as its folder, that folder's name among the records ("" of the folder of records itself), and its own name.
    """
    for name in _names(records, unlisted):
        path = records / name
        if name.endswith(".json"):
            yield records, "", name
        elif path.is_dir() or path.is_symlink():
            yield from ((path, name, each) for each in _names(path, unlisted) if each.endswith(".json"))


def _names(folder: Path, unlisted: dict[Path, str]) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        unlisted[folder] = error.strerror or type(error).__name__
        return []


def _record_in(path: Path) -> dict[str, Any] | None:
    """What a file holds, if it has the form of a record; files of other forms are somebody else's."""
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    if isinstance(found, dict) and "result" in found and is_stage_id(str(found.get("stage_id"))):
        return found
    return None


def _orphans(store: Store, recorded: Collection[str], known: Collection[str]) -> list[str]:
    """The records that no study of the store names; none where a study cannot be read: it may name them."""
    left = set(recorded) - set(known)
    for name in study_names(store) if left else ():
        try:
            with store.study_path(name).open(encoding="utf-8") as file:
                text = JsonPieces(file)
                for member in text.members():
                    if member == "stages":
                        left -= set(text.members())
        except (OSError, ValueError):
            return []
    return sorted(left)
