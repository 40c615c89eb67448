"""What stands inside the page's script elements, and the text that it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from paper_tables.report.embedded import as_script_json, policy_source
from paper_tables.report.legible import legible

HOSTILE = "</script><!--<script>&amp;\u2028\u2029\"'\\"


def test_no_text_ends_its_element_and_all_come_back() -> None:
    value = {HOSTILE: [HOSTILE, 1, None, 0.5]}
    text = as_script_json(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_script_json([number])


def test_the_policys_source_is_the_digest_of_the_text() -> None:
    kind, _, encoded = policy_source("alert(1)").partition("-")
    assert kind == "sha256"
    assert base64.b64decode(encoded) == hashlib.sha256(b"alert(1)").digest()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("prune-ofa", "prune-ofa"),
        ("größe 你好", "größe 你好"),
        ("<b>&", "<b>&"),  # who embeds it escapes
        ("a\u202eb", "a\\u202eb"),
        ("a\nb\x1b[0m", "a\\u000ab\\u001b[0m"),
        ("a\u2028b", "a\\u2028b"),
        (0.85, "0.85"),
        ("abcdef", "abc.. (6 letters)"),
    ],
)
def test_what_is_not_seen_is_spelled_and_what_is_long_is_cut(text: object, shown: str) -> None:
    assert legible(text, 3 if text == "abcdef" else 80) == shown
