"""Values as TOML text: the standard library reads it and does not write it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def line(name: str, value: Any) -> str:
    """ "name = value" and a line break."""
    return f"{key(name)} = {text(value)}\n"


def key(name: str) -> str:
    """One part of a key, quoted where it has to be."""
    return name if _BARE.fullmatch(name) else text(name)


def text(value: Any) -> str:
    """A string, whole number, float, truth value, list or mapping in one line. Raises TypeError for another."""
    if isinstance(value, str):
        # What JSON writes of a string is TOML but for DEL, which TOML has escaped; a lone surrogate is in no file.
        sound = value.encode("utf-8", "replace").decode("utf-8")
        return json.dumps(sound, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # nan and inf, too, are TOML
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(text, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key(str(name))} = {text(each)}" for name, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    raise TypeError(f"{type(value).__name__} has no form in TOML")
