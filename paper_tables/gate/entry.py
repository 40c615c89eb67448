"""Entry: one table of an expected file while it is read; problems are noted with their line, none ends the reading."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import Problem
from harness.wording import shown

Check = Callable[[Any], bool]
REWRITE = "Correct it, or write the file again: harness check --write."


@dataclass(frozen=True)
class Kind:
    """What a value has to be. words: as "a number above 0"."""

    words: str
    holds: Check


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


TEXT = Kind("a text", lambda value: isinstance(value, str) and bool(value))
ANY_TEXT = Kind("a text", lambda value: isinstance(value, str))
COUNT = Kind("a whole number, 0 or more", lambda value: type(value) is int and value >= 0)
WHOLE = Kind("a whole number", lambda value: type(value) is int)
POSITIVE = Kind("a finite number above 0", lambda value: _is_number(value) and value > 0)
NOT_NEGATIVE = Kind("a finite number, 0 or more", lambda value: _is_number(value) and value >= 0)
SHARE = Kind("a number in [0, 1)", lambda value: _is_number(value) and 0 <= value < 1)
RATE = Kind("a number above 0 and below 1", lambda value: _is_number(value) and 0 < value < 1)
TABLE = Kind("a table", lambda value: isinstance(value, dict))
TEXTS = Kind("a table of texts", _is_texts)
COUNTS = Kind(
    "a table of whole numbers", lambda v: isinstance(v, dict) and all(type(each) is int for each in v.values())
)
NAMES = Kind("a list of texts", lambda v: isinstance(v, list) and all(isinstance(each, str) for each in v))
PERCENTS = Kind(
    "at least one seed, each a number in [0, 100]",
    lambda v: isinstance(v, dict) and bool(v) and all(_is_number(x) and 0 <= x <= 100 for x in v.values()),
)
CORRELATIONS = Kind(
    "at least one seed, each a number in [-100, 100]",
    lambda v: isinstance(v, dict) and bool(v) and all(_is_number(x) and -100 <= x <= 100 for x in v.values()),
)
LOSSES = Kind(
    "at least one seed, each a finite number, 0 or more",
    lambda v: isinstance(v, dict) and bool(v) and all(_is_number(x) and x >= 0 for x in v.values()),
)
WEIGHTS = Kind(
    "a table of finite numbers above 0",
    lambda v: isinstance(v, dict) and bool(v) and all(_is_number(x) and x > 0 for x in v.values()),
)


@dataclass
class Entry:
    """where: as "line 12, numbers 3". problems: of the whole file, to be added to."""

    values: Mapping[str, Any]
    where: str
    problems: list[Problem]
    _known: list[str] = field(default_factory=list)
    is_sound: bool = True

    def take(self, name: str, kind: Kind) -> Any:
        """The value; where it is missing or no such kind the problem is noted, and None comes back."""
        if name not in self.values:
            self._known.append(name)
            self.note(f"{name} is missing", kind.words)
            return None
        return self.take_optional(name, kind)

    def take_optional(self, name: str, kind: Kind, default: Any = None) -> Any:
        self._known.append(name)
        if name not in self.values:
            return default
        value = self.values[name]
        if kind.holds(value):
            return value
        self.note(f"{name} = {shown(value)}", kind.words)
        return None

    def end(self) -> bool:
        """Notes names that nobody asked for. Whether the entry can be used."""
        for name in self.values:
            if name not in self._known:
                near = difflib.get_close_matches(name, self._known, n=1)
                self.note(f"{shown(name)} is not known", repr(near[0]) if near else f"one of {', '.join(self._known)}")
        return self.is_sound

    def note(self, found: str, expected: str | None = None, next_move: str = REWRITE) -> None:
        self.is_sound = False
        self.problems.append(
            Problem(f"{self.where}: {found}", option="expected", expected=expected, next_move=next_move)
        )
