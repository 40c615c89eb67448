"""The right to run a stage, with a generation number; safe on a shared file system.

    leases/STAGE/N            generation N: who holds it; created once, never removed
    leases/STAGE/N.beat       its heartbeat: a counter that the holder raises while it lives
    leases/STAGE/N.released   the holder has released it

The highest generation counts. Taking over from a dead holder creates generation N + 1; a worker that finds a higher
generation than its own has lost the lease: it must not publish, nor touch the stage's checkpoints. It looks at each
heartbeat and before each checkpoint. Nothing is ever unlinked, so no contender can remove
another's claim.
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
from harness.identity import parse_json
from harness.store.attempts import Attempt

HEARTBEAT_SECONDS = 10.0
EXPIRY_SECONDS = 120.0  # without a heartbeat


class LeaseLost(HarnessError):
    """Another worker took the stage over, or may have: the lease is gone. This one must not publish its result."""


@dataclass(frozen=True)
class Holder:
    """The highest generation of a lease. owner: process, host and more; beats: its heartbeat counter.

    seen: when it was read, on the reader's monotonic clock.
    """

    generation: int
    owner: Mapping[str, Any]
    beats: int
    released: bool
    seen: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True)
class Lease:
    """A generation that this worker holds. lost: set once a heartbeat finds a later one."""

    folder: Path
    generation: int
    lost: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    def is_held(self) -> bool:
        """Whether no later generation was taken."""
        return _highest(self.folder) == self.generation

    def check(self) -> None:
        """Raises LeaseLost unless the lease is still held."""
        self.check_not_taken_over()
        if not self.is_held():  # nobody takes one back: its file is gone
            gone = self.folder if self.folder.parent.is_dir() else self.folder.parent
            raise LeaseLost(
                f"{gone} was removed or renamed while the stage ran, and with it the lease: another worker may run the "
                "stage. Its result was not kept; give the same command again."
            )

    def check_not_taken_over(self) -> None:
        """Raises LeaseLost where a later generation was taken; its worker has removed what this one left unfinished."""
        if (generation := _highest(self.folder)) > self.generation:
            raise LeaseLost(f"the lease of stage {self.folder.name} was taken over (generation {generation}).")

    def beat(self, count: int) -> None:
        replace_file(self.folder / f"{self.generation}.beat", str(count))

    def look(self) -> None:
        """Set `lost` where a later generation was taken."""
        if _highest(self.folder) > self.generation:
            self.lost.set()

    def release(self) -> None:
        """Let the next contender have the lease at once.

        A full disk must not hide how the stage ended: where nothing can be written, the lease expires.
        """
        with contextlib.suppress(OSError):
            write_new(self.folder / f"{self.generation}.released", "")

    @contextlib.contextmanager
    def held(self, seconds: float = HEARTBEAT_SECONDS) -> Iterator[Lease]:
        """Sends heartbeats from a thread while the block runs, and releases the lease however the block ends."""
        with held_together([self], seconds):
            yield self


@contextlib.contextmanager
def held_together(leases: Sequence[Lease], seconds: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Holds several leases with one heartbeat thread while the block runs, and releases all of them at its end."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(seconds):
            count += 1
            for lease in leases:
                with contextlib.suppress(OSError):  # a full disk must not end the work; the leases expire
                    lease.beat(count)
                with contextlib.suppress(OSError):
                    lease.look()

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
    """The highest generation of the lease in `folder`; None where nobody ever took it."""
    generation = _highest(folder)
    if generation == 0:
        return None
    try:
        beats = int((folder / f"{generation}.beat").read_text())
    except (OSError, ValueError):
        beats = 0
    try:
        owner = parse_json((folder / str(generation)).read_bytes())
    except (OSError, ValueError):
        owner = {}
    owner = owner if isinstance(owner, dict) else {}
    return Holder(generation, owner, beats, (folder / f"{generation}.released").exists())


def belongs_to(attempt: Attempt, holder: Holder) -> bool:
    """Whether the lease's holder made the attempt, rather than a predecessor or another driver."""
    if attempt.generation:
        return attempt.generation == holder.generation
    made = (attempt.host, attempt.process, attempt.process_started)
    return made == tuple(holder.owner.get(key) for key in ("host", "process", "process_started"))


def acquire(folder: Path, owner: Mapping[str, Any], is_dead: Callable[[Holder], bool]) -> Lease | None:
    """Take the lease in `folder` for `owner`: a new one, one that was released, or that of a holder that `is_dead`.

    None while somebody holds it, or took it at the same moment: of any number of contenders one gets it.
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
class HeartbeatMonitor:
    """Finds expired leases: those whose heartbeat counter has not changed for `seconds` on this observer's own clock.

    Clocks of different machines are never compared. A lease seen for the first time has not expired.
    """

    seconds: float = EXPIRY_SECONDS
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, tuple[int, int, float]] = field(default_factory=dict)

    def is_expired(self, folder: Path, holder: Holder) -> bool:
        now = self.clock()
        generation, beats, since = self._seen.get(folder, (0, -1, now))
        if (generation, beats) != (holder.generation, holder.beats):
            self._seen[folder] = (holder.generation, holder.beats, now)
            return False
        return now - since >= self.seconds


def is_number(name: str) -> bool:
    """Whether a file's name is a number, as those of generations and attempts are."""
    return name.isascii() and name.isdigit()


def _highest(folder: Path) -> int:
    try:
        return max((int(path.name) for path in folder.iterdir() if is_number(path.name)), default=0)
    except FileNotFoundError:
        return 0
