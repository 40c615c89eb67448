"""Errors a user can act on, and their problems: what was found, what was expected, and the next move."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from harness.wording import for_command_line, for_python

T = TypeVar("T")
MOST_NAMES_LISTED = 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Some libraries raise classes of their own where the system reports a full disk.
DISK_FULL_WORDS = ("no space left on device", "disk quota exceeded", "not enough disk space")


class HarnessError(Exception):
    """Something the user can correct; printed without a traceback."""


class IntegrityError(Exception):
    """A result that must not be, whatever was asked for: a bug here, or in a library. Nothing is recorded."""


def require(holds: bool, told: str) -> None:
    """A guard of a result, which `python -O` does not take away. Raises IntegrityError with what was found."""
    if not holds:
        raise IntegrityError(told)


@dataclass(frozen=True)
class Problem:
    """One thing for the user to mend. Its texts name options by `harness.wording.option`.

    found: what was found; where the other two are not given, the whole sentence.
    option: the option of the command line that it concerns, as "sparse-from"; None: no single one.
    expected: what could stand there instead. next_move: a sentence that says what to do.
    """

    found: str
    option: str | None = None
    expected: str | None = None
    next_move: str | None = None

    @property
    def message(self) -> str:
        """The sentence for people, in which options are still references."""
        if self.expected is None and self.next_move is None:
            return self.found
        first = self.found if self.expected is None else f"{self.found}: expected {self.expected}"
        return f"{first}." if self.next_move is None else f"{first}. {self.next_move}"

    def __str__(self) -> str:
        """As Python shows it; `on_command_line` is the other surface."""
        return for_python(self.message)

    @property
    def on_command_line(self) -> str:
        return for_command_line(self.message)

    def spelled(self, spell: Callable[[str], str]) -> Problem:
        """The problem in which a surface has spelled the options, by one of `harness.wording`."""
        expected = None if self.expected is None else spell(self.expected)
        next_move = None if self.next_move is None else spell(self.next_move)
        return replace(self, found=spell(self.found), expected=expected, next_move=next_move)

    def as_json(self) -> dict[str, str | None]:
        """option, found, expected and next_move, null where there is none, and the whole sentence as message."""
        parts = {"found": self.found, "expected": self.expected, "next_move": self.next_move}
        spelled = {name: None if text is None else for_command_line(text) for name, text in parts.items()}
        return {"option": self.option, **spelled, "message": self.on_command_line}


class UsageError(HarnessError):
    """An invalid grid, recipe or argument. Carries every problem found, not only the first. Exit code 2.

    A text is a problem that concerns no single option.
    """

    def __init__(self, problems: Iterable[Problem | str] | Problem | str) -> None:
        found = [problems] if isinstance(problems, Problem | str) else problems
        self.problems = tuple(each if isinstance(each, Problem) else Problem(each) for each in found)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass
class Problems:
    """Collects the problems of several checks instead of stopping at the first."""

    found: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem | str, option: str | None = None) -> None:
        """Note a problem. option: what it concerns, where the problem itself does not say."""
        noted = problem if isinstance(problem, Problem) else Problem(problem)
        self.found.append(replace(noted, option=noted.option or option))

    def extend(self, problems: Iterable[Problem | str], option: str | None = None) -> None:
        for problem in problems:
            self.add(problem, option)

    def attempt(self, action: Callable[[], T], otherwise: T, option: str | None = None) -> T:
        """The action's value, or `otherwise` with its problems noted."""
        try:
            return action()
        except UsageError as error:
            self.extend(error.problems, option)
            return otherwise

    def concern(self, option: str) -> bool:
        """Whether a problem of this option was noted."""
        return any(problem.option == option for problem in self.found)

    def check(self) -> None:
        """Raises UsageError with all that was noted, each problem once."""
        if self.found:
            raise UsageError(dict.fromkeys(self.found))


class StoreError(HarnessError):
    """A file of the store is not what it claims to be (edited record, swapped parent, other schema)."""


class CannotCheck(HarnessError):
    """What was asked cannot be answered now: who would know does not respond."""


class Interrupted(HarnessError):
    """A signal stopped the run; the last checkpoint is on disk. Exit code 130."""


class TimeLimit(Interrupted):
    """The signal came ahead of the time limit of a job: nothing is wrong with the stage, which goes on in another."""


class Cancelled(HarnessError):
    """`harness cancel` stopped this one stage. Not an Interrupted: the rest of the run goes on."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not among the known ones, with the nearest."""
    return unknown(kind, name, known).message


def unknown(kind: str, name: str, known: Iterable[str], *, where: str = "") -> Problem:
    """The problem of a name that is not among the known ones, with the nearest. where: what stands before it."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    moves = [f"Did you mean {' or '.join(repr(n) for n in near)}?"] if near else []
    moves += [f"Known: {', '.join(names) or 'none'}."] if len(names) <= MOST_NAMES_LISTED or not near else []
    return Problem(f"{where}{kind} {name!r} is not known", next_move=" ".join(moves))


def text_of(error: BaseException) -> str:
    """What an error says; empty where its own class fails to say it."""
    try:
        return str(error)
    except Exception:
        return ""


def full_disk_behind(error: BaseException) -> BaseException | None:
    """The error of a full disk or quota that caused `error`, or is it; None where there is none.

    Whichever library raises it: some raise their own class from the system's, which says no more of the disk.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            return cause
        if any(words in text_of(cause).lower() for words in DISK_FULL_WORDS):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk or quota caused an error."""
    return full_disk_behind(error) is not None


def system_problem(error: OSError) -> str:
    """The sentence for an error of the operating system: the file, what happened, and the next move."""
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error) or type(error).__name__
    if is_disk_full(error):
        return f"{where}the disk is full ({what}). Free some space and give the same command again; nothing is lost."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{where}{what}. Expected a place that may be written; name another one."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where}{what}: a file, or a link to nothing, stands in the way. Name another place, or move it away."
    if error.errno == errno.EISDIR:
        return f"{where}{what}. Expected the name of a file; name another one, or move the folder away."
    return f"{where}{what}."


class RankLost(HarnessError):
    """Another rank of this stage died: the attempt cannot go on."""


class RankFailed(HarnessError):
    """Another rank of this stage ended by an error of its own, which the message gives."""


class FollowerDone(Exception):
    """What a rank other than 0 raises once the training is over: the rest is rank 0's."""
