"""Canonical JSON, digests, and the forms of names and pinned commits: what makes two computations the same.

A digest covers values only. Paths, hosts, device counts and log levels never enter one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

STAGE_ID_HEX_DIGITS = 32  # 128 bits
MOST_NAME_LETTERS = 100  # a file name of 255 bytes has room for what is put before and after
# Of a study, a method, a sparse checkpoint: it can be a file name and a row.
NAME = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MOST_NAME_LETTERS - 1}}}"
NAME_IN_WORDS = f"at most {MOST_NAME_LETTERS} letters, digits, '.', '_' and '-', starting with a letter or digit"

_STAGE_ID = re.compile(rf"[0-9a-f]{{{STAGE_ID_HEX_DIGITS}}}")
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


def canonical_json(value: Any) -> str:
    """One text per value: keys sorted, no white space, no NaN (ValueError), floats in Python's shortest form."""
    return _ENCODER.encode(value)


def parse_json(text: str | bytes, *, finite: bool = False) -> Any:
    """The value of a JSON text. finite: NaN and Infinity, which Python takes for JSON, are none.

    Raises ValueError where it is no JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant) if finite else json.loads(text)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def sha256_of(value: Any) -> str:
    """SHA-256 (hex) over the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def is_name(text: str) -> bool:
    """Whether a text is a name, as in `NAME_IN_WORDS`."""
    return bool(re.fullmatch(NAME, text))


def is_stage_id(text: str) -> bool:
    """Whether a text has the form of a stage id. In a store, files of other names are somebody else's."""
    return _STAGE_ID.fullmatch(text) is not None


def is_commit(revision: str) -> bool:
    """Whether `revision` is the full hash of a commit; a tag or a branch may name other content tomorrow."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def require_commit(what: str, revision: str) -> None:
    """Raises ValueError unless `revision` is a commit."""
    if not is_commit(revision):
        raise ValueError(
            f"{what}: revision {revision!r} is not pinned. Expected the 40 hexadecimal digits of a commit; the hub "
            "shows them under Files and versions."
        )


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return sha256_of_file(file)


def sha256_of_file(file: BufferedReader) -> str:
    """SHA-256 (hex) of what is left to read of an open file."""
    return hashlib.file_digest(file, "sha256").hexdigest()


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
