"""The standard streams of a command that was started with some of them closed, as by `harness grid >&-`.

The next file to be opened would get the number of a closed one, and what is printed by number (by a library, by a
process that inherits it) would end up in a file of the store.
"""

from __future__ import annotations

import os
import sys

STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


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
