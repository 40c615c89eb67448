"""The right to run a stage, with a generation number; safe on a shared file system.

    leases/STAGE/N            generation N: who holds it; created once, never removed
    leases/STAGE/N.beat       a counter that the holder raises while it lives
    leases/STAGE/N.released   the holder is done with it

The highest generation counts. Taking over a dead holder creates generation N + 1; who finds a higher generation than
its own has lost the lease and must not publish. Nothing is ever unlinked, so no contender can remove another's claim.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import replace_file, write_new
from harness.store.attempts import Attempt

BEAT_SECONDS = 10.0
SILENT_SECONDS = 120.0


class LeaseLost(HarnessError):
    """Another worker took the stage over; what this one made must not be published."""


@dataclass(frozen=True)
class Holder:
    """The highest generation of a stage's lease: who, how often it has beaten, whether it is done."""

    generation: int
    owner: Mapping[str, Any]
    beats: int
    released: bool


@dataclass(frozen=True)
class Lease:
    """A generation that this worker holds."""

    folder: Path
    generation: int

    def is_held(self) -> bool:
        """Whether no later generation was taken."""
        return _highest(self.folder) == self.generation

    def check(self) -> None:
        """Raises LeaseLost unless the lease is still held."""
        if not self.is_held():
            raise LeaseLost(
                f"the lease of stage {self.folder.name} was taken over (generation {_highest(self.folder)})."
            )

    def beat(self, count: int) -> None:
        replace_file(self.folder / f"{self.generation}.beat", str(count))

    def release(self) -> None:
        """Say that the holder is done; the next contender need not wait for silence.

        A full disk must not hide how the stage ended: where this cannot be said, the silence says it.
        """
        with contextlib.suppress(OSError):
            write_new(self.folder / f"{self.generation}.released", "")

    @contextlib.contextmanager
    def held(self, seconds: float = BEAT_SECONDS) -> Iterator[Lease]:
        """Beats in a thread of its own while the block runs, and releases the lease at the end, however it comes."""
        with held_together([self], seconds):
            yield self


@contextlib.contextmanager
def held_together(leases: Sequence[Lease], seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Several leases held by one beating thread while the block runs; all are released at its end."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(seconds):
            count += 1
            for lease in leases:
                with contextlib.suppress(OSError):  # a full disk must not end the work; silence is told to others
                    lease.beat(count)

    thread = threading.Thread(target=beat, name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for lease in leases:
            lease.release()


def current_holder(folder: Path) -> Holder | None:
    """The highest generation of a stage's lease; None where nobody ever took it."""
    generation = _highest(folder)
    if generation == 0:
        return None
    try:
        beats = int((folder / f"{generation}.beat").read_text())
    except (OSError, ValueError):
        beats = 0
    try:
        owner = json.loads((folder / str(generation)).read_bytes())
    except (OSError, ValueError):
        owner = {}
    return Holder(generation, owner, beats, (folder / f"{generation}.released").exists())


def is_of(attempt: Attempt, holder: Holder) -> bool:
    """Whether an attempt is a lease's holder's own: not one that a predecessor left, nor that of another driver."""
    if attempt.generation:
        return attempt.generation == holder.generation
    made = (attempt.host, attempt.process, attempt.process_started)
    return made == tuple(holder.owner.get(key) for key in ("host", "process", "process_started"))


def acquire(folder: Path, owner: Mapping[str, Any], is_dead: Callable[[Holder], bool]) -> Lease | None:
    """Take a stage's lease: a new one, one that was released, or that of a holder that `is_dead` says is gone.

    None when somebody holds it, or took it at the same moment: of any number of contenders one gets it.
    """
    holder = current_holder(folder)
    if holder is not None and not holder.released and not is_dead(holder):
        return None
    generation = 1 if holder is None else holder.generation + 1
    try:
        write_new(folder / str(generation), json.dumps(dict(owner), sort_keys=True))
    except FileExistsError:
        return None
    return Lease(folder, generation)


@dataclass
class SilenceWatch:
    """Tells holders that have gone silent: the counter unchanged for `seconds` on this observer's own clock.

    Clocks of different machines are never compared. A holder seen for the first time is not silent yet.
    """

    seconds: float = SILENT_SECONDS
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, tuple[int, int, float]] = field(default_factory=dict)

    def is_silent(self, folder: Path, holder: Holder) -> bool:
        now = self.clock()
        generation, beats, since = self._seen.get(folder, (0, -1, now))
        if (generation, beats) != (holder.generation, holder.beats):
            self._seen[folder] = (holder.generation, holder.beats, now)
            return False
        return now - since >= self.seconds


def _highest(folder: Path) -> int:
    try:
        return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=0)
    except FileNotFoundError:
        return 0
