"""A JSON file read piece by piece: the text and the value of a large one never stand in memory whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

BLOCK = 1 << 18  # characters that are read at a time
_SPACE = re.compile(r"[ \t\n\r]*")  # of JSON
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_PLAIN_KEY = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:')  # without escapes
_DECODE = json.JSONDecoder().raw_decode


class JsonPieces:
    """Where in the text of a file one is. All methods raise ValueError where it is no JSON, or nested too deep."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._position, self._taken = file, "", 0, 0

    def members(self) -> Iterator[str]:
        """The keys of an object. After each its value may be taken, by any of these methods; else it is passed over."""
        self._expect("{")
        while self._next() != "}":
            key = self._key()
            taken = self._taken
            yield key
            if taken == self._taken:
                self.value()
            self._go_on("}")
        self._expect("}")
        self._taken += 1

    def elements(self) -> Iterator[Any]:
        """The values of a list."""
        self._expect("[")
        while self._next() != "]":
            yield self.value()
            self._go_on("]")
        self._expect("]")
        self._taken += 1

    def value(self) -> Any:
        """The next value, whatever it is."""
        self._next()
        while True:
            try:
                found, end = _DECODE(self._text, self._position)
            except RecursionError:
                raise ValueError("JSON nested too deep") from None
            except ValueError:  # perhaps it goes on in what was not read yet, as may a number at the end
                if not self._read():
                    raise
                continue
            if end < len(self._text) or not self._read():
                self._position = end
                self._taken += 1
                return found

    def end(self) -> None:
        """Raises ValueError where something follows."""
        if self._next():
            raise self._error("nothing more")

    def _key(self) -> str:
        """The key of the next member, with the colon after it."""
        if plain := _PLAIN_KEY.match(self._text, self._position):
            self._position = plain.end()
            return plain[1]
        key = self.value()  # it has escapes, or goes on in what was not read yet
        if not isinstance(key, str):
            raise self._error("a name in quotes")
        self._expect(":")
        return key

    def _next(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._position)
            assert match is not None
            self._position = match.end()
            if self._position < len(self._text) or not self._read():
                return self._text[self._position : self._position + 1]

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise self._error(repr(token))
        self._position += 1

    def _go_on(self, closing: str) -> None:
        comma = _COMMA.match(self._text, self._position)
        if comma and self._text[comma.end() : comma.end() + 1] not in ("", closing):
            self._position = comma.end()
            return
        if self._next() != closing:
            self._expect(",")
            if self._next() == closing:
                raise self._error("a value")

    def _read(self) -> bool:
        """Read more, twice as much each time that one value needs it; False at the end of the file."""
        rest = self._text[self._position :]
        block = self._file.read(max(BLOCK, len(rest)))
        if block:
            self._text, self._position = rest + block, 0
        return bool(block)

    def _error(self, expected: str) -> ValueError:
        found = self._text[self._position : self._position + 1]
        return ValueError(f"expected {expected}, found {repr(found) if found else 'the end of the file'}")
