"""RecordTexts: the texts of many records read member by member; a member that was read before is not read again.

Records of a study share most of their text: where they were made, with which versions and settings.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from harness.identity import canonical_json

MOST_KEPT = 4096  # members: so many are read again after a few hundred records, and memory stays small
_START, _BETWEEN, _END = '{\n "', ',\n "', "\n}\n"  # as `StoredStage.publish_record` writes them
_DECODE = json.JSONDecoder().raw_decode


_Member = tuple[str, Any, str]  # key, value, and how it stands in canonical JSON, `"key":value`


class RecordTexts:
    """Of one reading of a store. Values that records share are one object: for readers that change nothing."""

    def __init__(self) -> None:
        self._members: dict[str, _Member] = {}

    def content(self, text: bytes) -> tuple[dict[str, Any], str] | None:
        """The value of a record's text, and the digest of the value without its member "digest"; None where unsure.

        They are those that parsing and encoding the whole text give. The text is cut where a line break is followed by
        one space and a quote. A string of JSON holds no line break, so no string is cut; and each part has to be a
        member of JSON in itself. Then the value of the whole text is that of its members. Canonical JSON is their
        canonical texts joined where no key comes twice and the keys are sorted: neither is taken on trust.
        """
        try:
            return self._content(text.decode())
        except (ValueError, RecursionError):
            return None

    def _content(self, text: str) -> tuple[dict[str, Any], str]:
        if not (text.startswith(_START) and text.endswith(_END)):
            raise ValueError("not in the form of a record")
        value: dict[str, Any] = {}
        canonical: list[str] = []
        for part in text[len(_START) : -len(_END)].split(_BETWEEN):
            key, content, encoded = self._members.get(part) or self._read(part)
            value[key] = content
            if key != "digest":
                canonical.append(encoded)
        if len(value) != len(canonical) + 1 or list(value) != sorted(value):
            raise ValueError("a key that comes twice, is not in its place, or no digest")
        return value, hashlib.sha256(f"{{{','.join(canonical)}}}".encode()).hexdigest()

    def _read(self, part: str) -> _Member:
        """Raises ValueError unless it is one member."""
        text = f'{{"{part}}}'
        found, end = _DECODE(text)
        if end != len(text):
            raise ValueError("more than members")
        ((key, value),) = found.items()  # a ValueError, too, where there are several
        if len(self._members) >= MOST_KEPT:
            self._members.clear()
        member = self._members[part] = key, value, f"{canonical_json(key)}:{canonical_json(value)}"
        return member
