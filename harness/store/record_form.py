"""The form of those parts of a record that readers take as given. A digest that fits says nothing of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.wording import shown

_LATEST = 1e18  # seconds since the epoch; a float holds them
_NULL = type(None)
_TEXT, _OBJECT, _SIZE, _TIME = "a text", "an object", "a whole number of 0 or more", "seconds since 1970"
# Of each part, its members with the types they may have. What is missing is nobody's concern: earlier versions said
# less, and of a machine not all could be told.
_MEMBERS: Mapping[str, tuple[tuple[str, tuple[type, ...], str], ...]] = {
    "artifact": (
        ("bytes", (int,), _SIZE),
        ("digest", (str,), _TEXT),
        ("encoder_bytes", (int,), _SIZE),
        ("files", (list,), "a list of texts"),
    ),
    "parent_digests": (),
    "provenance": (
        ("commit", (str, _NULL), _TEXT),
        ("kernel_variables", (dict, _NULL), _OBJECT),
        ("torch", (dict, _NULL), _OBJECT),
        ("versions", (dict, _NULL), _OBJECT),
    ),
    "times": (("started", (float, int), _TIME), ("ended", (float, int), _TIME)),
}


def form_problem(record: Mapping[str, Any]) -> str | None:
    """What the first part of another form is, and what was expected; None where there is none."""
    for part, members in _MEMBERS.items():
        if part not in record:
            continue
        value = record[part]
        if type(value) is not dict:
            return f"{part} is {shown(value)}, expected an object"
        for name, types, expected in members:
            if name in value and not (type(found := value[name]) in types and _is_within(found, expected)):
                return f"{part}.{name} is {shown(found)}, expected {expected}"
    gpus = ((record.get("provenance") or {}).get("torch") or {}).get("gpus", [])
    if not (type(gpus) is list and all(type(gpu) is str for gpu in gpus)):
        return f"provenance.torch.gpus is {shown(gpus)}, expected a list of texts"
    return None


def _is_within(value: Any, expected: str) -> bool:
    """Whether a value of a fitting type is one that is expected."""
    if expected is _SIZE:
        return bool(value >= 0)
    if expected is _TIME:
        return bool(0 <= value <= _LATEST)
    return type(value) is not list or all(type(each) is str for each in value)
