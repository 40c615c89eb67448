"""What was written to a tracker: a line for each stage, in the tracker's folder. Without it all is written again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.identity import canonical_json, parse_json


@dataclass(frozen=True)
class Written:
    """path: of the file; it need not be there."""

    path: Path

    def keys(self, place: str) -> set[str]:
        """The runs that a place has, by `StageRun.key`. A line that was torn, or of another form, says nothing."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return set()
        return {key for line in lines if (key := _key(line, place)) is not None}

    def add(self, place: str, key: str) -> None:
        """Note durably that a run is there. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as handle:
            handle.seek(max(handle.seek(0, os.SEEK_END) - 1, 0))
            torn = handle.read() not in (b"", b"\n")  # a writer was killed in its line, and this one must not join it
            handle.write(b"\n" * torn + canonical_json({"place": place, "run": key}).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())


def _key(line: bytes, place: str) -> str | None:
    try:
        found = parse_json(line)
    except ValueError:
        return None
    is_here = isinstance(found, dict) and found.get("place") == place and isinstance(found.get("run"), str)
    return found["run"] if is_here else None
