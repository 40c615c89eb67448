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

DEFAULT_STORE = Path("runs")  # where a command looks that names no store
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
    """KEY=VALUE as a user writes it after --set: text as it is, everything else as JSON."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}"


def command(*words: str, store: Path = DEFAULT_STORE, study: str | None = None) -> str:
    """The command `harness WORDS`, to be copied into a shell: quoted where that would take a word apart.

    It names the store where that is not the default, and the study where there is one to name.
    """
    where = [] if store == DEFAULT_STORE else ["--store", str(store)]
    return shlex.join(["harness", *words, *where, *([] if study is None else ["--study", study])])


def counted(count: int, noun: str) -> str:
    """ "1 cell", "2 cells"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
