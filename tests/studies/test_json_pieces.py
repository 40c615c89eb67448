"""JSON read piece by piece: the values are those of the whole text, wherever a piece of the file ends."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from harness.studies import json_pieces
from harness.studies.json_pieces import JsonPieces

TREE: dict[str, Any] = {
    "cells": [{"seed": 123456, "text": 'a "quoted" } ] text \\ é'}, [], [1.5e-7, True, None]],
    "empty": {},
    "stages": {"a": {"x": -12.5}, "b": {}, "c": "d", 'e "\\ \n é': 1, "f: ": ",", "": [1, "]"]},
    "last": 1234567890,
}


def by_pieces(text: str) -> dict[str, Any]:
    pieces, found = JsonPieces(io.StringIO(text)), dict[str, Any]()
    for member in pieces.members():
        match member:
            case "cells":
                found[member] = list(pieces.elements())
            case "stages":
                found[member] = {key: pieces.value() for key in pieces.members()}
            case _:
                found[member] = pieces.value()
    pieces.end()
    return found


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 18])
@pytest.mark.parametrize("indent", [None, 0, 3])
def test_the_values_are_those_of_the_whole_text(
    monkeypatch: pytest.MonkeyPatch, block: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_pieces, "BLOCK", block)
    text = json.dumps(TREE, indent=indent, ensure_ascii=False)
    assert by_pieces(f" {text}\n") == TREE
    assert list(JsonPieces(io.StringIO(text)).members()) == list(TREE), "what is not taken is passed over"


@pytest.mark.parametrize("block", [1, 1 << 18])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "{1: 2}",
        '{"a" 1}',
        '{"a": 1',
        '{"a": 1,}',
        '{"a": 1 "b": 2}',
        "{} {}",
        '{"cells": {}}',
        '{"a": tru}',
        '{"a\n": 1}',
        '{"a\\x": 1}',
        '{"a": 1,, "b": 2}',
        '{"a": 1, }',
        '{"cells": [1,]}',
        '{"cells": [1, ]}',
        '{"cells": [1 2]}',
    ],
)
def test_what_is_no_such_json_is_refused(monkeypatch: pytest.MonkeyPatch, text: str, block: int) -> None:
    monkeypatch.setattr(json_pieces, "BLOCK", block)
    with pytest.raises(ValueError, match="."):
        by_pieces(text)


def test_a_text_that_is_nested_too_deep_is_no_json_either() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        by_pieces('{"a": ' + "[" * 100_000)
