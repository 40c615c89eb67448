"""Wording: what sentences for people share: options by the name each surface gives them, commands, counts.

A sentence names an option as `option("sparse-from")`. The surface that shows it decides how that reads: --sparse-from
on the command line, sparse_from in Python. Until then the name stands between two characters that no other text holds.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

COLUMNS = 100  # of a terminal
MOST_STAGES_LISTED = 20
DEFAULT_STORE = Path("runs")  # where a command looks that names no store
MOST_CHARACTERS = 60  # of a value that is shown because it cannot stand where it was given
_BEGIN, _END = "\ue000", "\ue001"  # private use: Unicode assigns them no meaning
_OPTION = re.compile(f"{_BEGIN}([a-z-]+){_END}")


def option(name: str) -> str:
    """A reference to the option --NAME of the command line, for a sentence. name: with hyphens or underscores."""
    return f"{_BEGIN}{name.replace('_', '-')}{_END}"


def for_command_line(sentence: str) -> str:
    """The sentence with its options as --sparse-from."""
    return _OPTION.sub(r"--\1", sentence)


def for_python(sentence: str) -> str:
    """The sentence with its options as arguments: sparse_from."""
    return _OPTION.sub(lambda found: found[1].replace("-", "_"), sentence)


def assignment(key: str, value: Any) -> str:
    """KEY=VALUE as a user writes it after --set: text as it is, everything else as JSON where it can be."""
    if isinstance(value, str):
        return f"{key}={value}"
    try:
        return f"{key}={json.dumps(value, default=str)}"
    except (TypeError, ValueError):  # keys that are no text, a value within itself
        return f"{key}={shown(value)}"


def shown(value: Any) -> str:
    """A value of any kind as Python shows it, cut to `MOST_CHARACTERS`."""
    try:
        text = repr(value)
    except Exception:  # code of its class, or a whole number of thousands of digits
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}.."


def command(*words: str, store: Path = DEFAULT_STORE, study: str | None = None) -> str:
    """The command `harness WORDS`, to be copied into a shell: quoted where that would take a word apart.

    It names the store where that is not the default, and the study where there is one to name.
    """
    where = [] if store == DEFAULT_STORE else ["--store", str(store)]
    return shlex.join(["harness", *words, *where, *([] if study is None else ["--study", study])])


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """ "1 cell", "2 cells". plural: where it is not the noun and an s."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def harmless(text: str) -> str:
    """A text in lines, with nothing in it that a terminal would obey: what is not printable is spelled, as \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def cut(line: str) -> str:
    """A line that fits a terminal."""
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 2]}.."
