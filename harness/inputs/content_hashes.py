"""Content hashes of files, each file read once."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.identity import file_sha256, parse_json, sha256_of

_COUNT, _SENTENCES = "count:", "sentences:"  # prefixes of keys in the memory; no resolved path begins so


class ContentHashes:
    """Content hashes of files, each file read once and remembered by path, size and mtime (ns).

    memory: a JSON file that outlives the process, or None. It is only a cache: deleting it costs time, nothing else.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known: dict[str, tuple[int, int, str]] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._sentences: dict[str, tuple[str, ...]] = {}
        self._changed = False
        if memory is not None and memory.is_file():
            try:
                rows = parse_json(memory.read_text())
                self._counts = {key: (row[0], row[1]) for key, row in rows.items() if key.startswith(_COUNT)}
                self._sentences = {k: tuple(map(str, row)) for k, row in rows.items() if k.startswith(_SENTENCES)}
                paths = [path for path in rows if not path.startswith((_COUNT, _SENTENCES))]
                self._known = {path: (rows[path][0], rows[path][1], rows[path][2]) for path in paths}
            except (ValueError, IndexError, TypeError, KeyError, AttributeError):
                self._known, self._counts, self._sentences = {}, {}, {}

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

    def sentences(self, digest: str, what: str, find: Callable[[], Sequence[str]]) -> tuple[str, ...]:
        """Sentences that follow from content alone, found once and remembered by its digest and what they are about."""
        key = f"{_SENTENCES}{what}:{digest}"
        if key not in self._sentences:
            self._sentences[key] = tuple(find())
            self._changed = True
        return self._sentences[key]

    def remember(self) -> None:
        """Write the memory file, if there is one and something new was hashed."""
        if self._memory is None or not self._changed:
            return
        temporary = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # only a cache: where it cannot be kept, hashing again costs time
            try:
                self._memory.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(
                    json.dumps({**self._known, **self._counts, **self._sentences}, indent=0, sort_keys=True)
                )
                temporary.replace(self._memory)
            finally:
                temporary.unlink(missing_ok=True)
