"""Embedded: data and code inside a page, such that a browser takes the data as data and runs the code alone."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

# A script element ends at its first "</script", whatever is open; U+2028 and U+2029 once ended lines of JavaScript.
_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def as_script_json(value: Any) -> str:
    """The value as JSON for the inside of a script element. Raises ValueError for NaN and infinity."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)  # they occur in strings alone


def policy_source(text: str) -> str:
    """The text of a script or style element as a source of a content security policy: it alone may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
