"""Errors a user can act on: what was found, what was expected, and the next move."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence

MOST_NAMES_LISTED = 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Some libraries raise classes of their own for what the system told them.
DISK_FULL_WORDS = ("no space left on device", "disk quota exceeded", "not enough disk space")


class HarnessError(Exception):
    """Something the user can mend; printed without a traceback."""


class UsageError(HarnessError):
    """An invalid grid, recipe or argument. Carries every problem found, not only the first. Exit code 2.

    problems: one sentence each.
    """

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class StoreError(HarnessError):
    """A file of the store is not what it claims to be (edited record, swapped parent, other schema)."""


class Interrupted(HarnessError):
    """A signal asked the run to stop; the last checkpoint is on disk. Exit code 130."""


class Cancelled(HarnessError):
    """`harness cancel` asked this one stage to stop. No Interrupted: the rest of a run goes on."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not in a catalogue, with the nearest known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    listed = f" Known: {', '.join(names) or 'none'}." if len(names) <= MOST_NAMES_LISTED or not near else ""
    return f"{kind} {name!r} is not known.{hint}{listed}"


def is_disk_full(error: BaseException) -> bool:
    """Whether an error comes of a full disk or a used-up quota, whichever library tells it."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return True
    return any(words in str(error).lower() for words in DISK_FULL_WORDS)


def system_problem(error: OSError) -> str:
    """The sentence for an error of the system: the file, what happened to it, and the next move."""
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error) or type(error).__name__
    if is_disk_full(error):
        return f"{where}the disk is full ({what}). Free some space and give the same command again; nothing is lost."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{where}{what}. Expected a place that may be written; name another one."
    return f"{where}{what}."
