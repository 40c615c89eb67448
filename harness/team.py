"""Team: the processes that train a stage together, as whoever starts them knows them. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.errors import HarnessError

LOST = 3  # exit code of a rank: the worker is gone, or another rank


class RankLost(HarnessError):
    """Another rank of this stage died: the attempt cannot go on."""


class RankFailed(HarnessError):
    """Another rank of this stage ended by an error of its own, which the message gives."""


class FollowerDone(Exception):
    """What a rank other than 0 raises once the training is over: the rest is rank 0's."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """The ranks of a stage; `harness.training.ranks` connects them.

    size: how many there are. rank: this one's number; 0 is the worker's. is_local: all are on this machine.
    start: the worker's: a free port -> a context manager within which the others run and are told that port.
    address: another rank's: host and port of the worker.
    """

    size: int
    rank: int = 0
    is_local: bool = True
    start: Callable[[int], AbstractContextManager[object]] | None = None
    address: tuple[str, int] | None = None
