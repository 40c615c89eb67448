"""The heap of a process that trains: what a step frees is kept for the next step.

glibc gives large blocks back to the system as soon as they are free, and every step asks for the same ones again: the
gradient of the embeddings, the logits of a chunk. Each page is then mapped and zeroed anew, some 4 % of the time of a
pruning step. No number changes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_NEVER = 2**31 - 1  # bytes at the end of the heap before some are given back
_DEFAULTS = {_MMAP_MAX: 65536, _TRIM_THRESHOLD: 128 * 1024}  # glibc's own, as of mallopt(3)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Memory that the block frees stays with the process until its end, then glibc has its defaults again.

    A stage may run in a process that is not ours, a notebook's. Without glibc nothing happens.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        for option, value in _DEFAULTS.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)  # between two stages a worker holds no more than it uses


@cache
def _glibc() -> Any:
    """The C library where it has both calls; None elsewhere."""
    try:
        libc = ctypes.CDLL(None)
        return libc if libc.mallopt and libc.malloc_trim else None
    except (AttributeError, OSError, TypeError):
        return None
