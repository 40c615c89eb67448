"""The standard streams of a command, as it finds them: some closed, or with an encoding that lacks a letter.

Of a command that was started with some of them closed, as by `harness grid >&-`, the next file to be opened would get
the number of a closed one, and what is printed by number (by a library, by a process that inherits it) would end up in
a file of the store. And a terminal in latin-1 has no Δ: a page is worth more than its letters.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable

from harness.wording import harmless

STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))
ERRORS = "harness-spelled"  # name of the handler for what an encoding lacks
_SPELLED = {"±": "+/-", "Δ": "delta", "×": "x", "–": "-", "…": ".."}


def open_closed_streams() -> None:
    """Let what is missing of the three be /dev/null. To be called before any other file is opened."""
    for number, name, mode in STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, hence this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the process ends


def spell_what_cannot_be_encoded() -> None:
    """Let both outputs spell a letter that their encoding lacks, or write its code, in the place of an error."""
    codecs.register_error(ERRORS, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """For `codecs`: the text for the first letter that cannot be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if letter in _SPELLED:
        return _SPELLED[letter], error.start + 1
    one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    return codecs.backslashreplace_errors(one)


def tell(sentence: str) -> None:
    """On standard error: a sentence that may name what stands in a file, which no terminal shall obey."""
    print(harmless(sentence), file=sys.stderr)


def print_notes(sentences: Iterable[str]) -> None:
    """On standard error: what changes nothing of what the command prints, and should be known."""
    for sentence in sentences:
        tell(f"note: {sentence}")
