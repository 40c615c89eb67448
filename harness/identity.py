"""What makes two computations the same: canonical JSON, digests, and content hashes of data and base weights.

A digest covers values only. Paths, hosts, device counts and log levels never enter one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

STAGE_ID_HEX_DIGITS = 32  # 128 bits
_COUNT = "count:"  # what stands before a count in the memory; no resolved path begins so


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """One text per value: keys sorted, no white space, no NaN (ValueError), floats in Python's shortest form."""
    return _ENCODER.encode(value)


def sha256_of(value: Any) -> str:
    """SHA-256 (hex) over the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def require_commit(what: str, revision: str) -> None:
    """Raises ValueError unless `revision` is a commit: a tag or a branch may name other content tomorrow."""
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError(
            f"{what}: revision {revision!r} is not pinned. Expected the 40 hexadecimal digits of a commit; the hub "
            "shows them under Files and versions."
        )


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class ContentHashes:
    """Content hashes of files, each file read once and remembered by path, size and mtime (ns).

    memory: a JSON file that outlives the process, or None. It is only a cache: deleting it costs time, nothing else.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known: dict[str, tuple[int, int, str]] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._changed = False
        if memory is not None and memory.is_file():
            try:
                rows = json.loads(memory.read_text())
                self._counts = {key: (row[0], row[1]) for key, row in rows.items() if key.startswith(_COUNT)}
                self._known = {p: (row[0], row[1], row[2]) for p, row in rows.items() if not p.startswith(_COUNT)}
            except (ValueError, IndexError, TypeError, KeyError, AttributeError):
                self._known, self._counts = {}, {}

    def file(self, path: Path) -> str:
        """SHA-256 (hex) of the file's bytes. Raises FileNotFoundError when it is absent."""
        real = path.resolve()
        status = real.stat()
        known = self._known.get(str(real))
        if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
            return known[2]
        digest = file_sha256(real)
        self._known[str(real)] = (status.st_size, status.st_mtime_ns, digest)
        self._changed = True
        return digest

    def folder(self, folder: Path, names: Iterable[str]) -> str:
        """One digest over the named files of a folder: their names and contents, in name order."""
        return sha256_of({name: self.file(folder / name) for name in sorted(names)})

    def counted(self, digest: str, what: str, count: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        """Two numbers that follow from content alone, counted once and remembered by its digest and what they say."""
        key = f"{_COUNT}{what}:{digest}"
        if key not in self._counts:
            self._counts[key] = count()
            self._changed = True
        return self._counts[key]

    def remember(self) -> None:
        """Write the memory file, if there is one and something new was hashed."""
        if self._memory is None or not self._changed:
            return
        temporary = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # only a cache: where it cannot be kept, hashing again costs time
            try:
                self._memory.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(json.dumps({**self._known, **self._counts}, indent=0, sort_keys=True))
                temporary.replace(self._memory)
            finally:
                temporary.unlink(missing_ok=True)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}. Lists are leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{dotted}."))
        else:
            flat[dotted] = value
    return flat
