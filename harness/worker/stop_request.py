"""Whether somebody asked this process to stop, and whether that was a time limit: what the handlers of signals set.

SLURM sends SIGUSR2 ahead of a job's time limit to every process of its step, and Python's default is to die of it. So a
process that runs stages listens from its first line; this module imports little, so that it can be there first.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.errors import Interrupted, TimeLimit

AHEAD_OF_TIME_LIMIT = signal.SIGUSR2  # --signal=USR2@SECONDS
STOPPING = (signal.SIGTERM, AHEAD_OF_TIME_LIMIT)


@dataclass
class StopRequest:
    """Called, it says whether a stop was requested: what stages poll. by: the signals, in the order they came."""

    by: list[int] = field(default_factory=list)  # no lock: the handler of a signal may run inside itself
    _asked: list[bool] = field(default_factory=list)
    _wake: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self) -> bool:
        return bool(self._asked)

    def ask(self, number: int | None = None, frame: object = None) -> None:
        """Request a stop, as the handler of signal `number` or for another reason."""
        if number is not None:
            self.by.append(number)
        self._asked.append(True)
        for call in self._wake:
            call()

    def listen(self) -> None:
        """SIGTERM and SIGUSR2 request a stop from here on; one that was held back until now does so at once."""
        for number in STOPPING:
            signal.signal(number, self.ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def wake(self, call: Callable[[], None]) -> None:
        """`call` at every request, and now if there was one. It may run inside itself."""
        self._wake.append(call)
        if self():
            call()

    @property
    def is_time_limit(self) -> bool:
        """Whether the time limit is near, whatever else asked for a stop: a driver passes it on as SIGTERM."""
        return AHEAD_OF_TIME_LIMIT in self.by

    @property
    def signal(self) -> signal.Signals:
        """To pass on to a worker."""
        return AHEAD_OF_TIME_LIMIT if self.is_time_limit else signal.SIGTERM

    def interruption(self, what: str) -> Interrupted:
        """The error of a run that was stopped. what: "stopped", and where; the signal's name is put after it."""
        if self.is_time_limit:
            return TimeLimit(f"{what} by {AHEAD_OF_TIME_LIMIT.name}, ahead of a time limit; the same command goes on.")
        by = f" by {signal.Signals(self.by[0]).name}" if self.by else ""
        return Interrupted(f"{what}{by}; the same command goes on.")


@contextmanager
def reason_told(should_stop: Callable[[], bool]) -> Iterator[None]:
    """An Interrupted of the block goes on as a TimeLimit where the stop was requested ahead of one."""
    try:
        yield
    except Interrupted as error:
        if isinstance(should_stop, StopRequest) and should_stop.is_time_limit:
            raise TimeLimit(str(error)) from None
        raise


@contextmanager
def held_back() -> Iterator[None]:
    """A process that is started in the block gets SIGUSR2 only once it listens, and so does not die of it before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (AHEAD_OF_TIME_LIMIT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
