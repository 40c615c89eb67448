"""How long a call takes: warm-up, then calls one after the other, each timed by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FEWEST, MOST = 5, 2000  # calls
WARM_UP = 2
_NORMAL_95 = 1.96
KIB = 1024
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call: percentiles, the mean and half of its 95 % interval; calls: that were timed.

    The interval is the mean's over calls that are taken for independent. On a machine with other work they are not, and
    the 99th percentile tells more.
    """

    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    mean_half_width_ms: float


def timed(call: Callable[[], object], seconds: float, *, clock: Callable[[], float] = time.perf_counter) -> Timing:
    """Time calls for so many seconds, at least FEWEST and at most MOST of them, after WARM_UP that are not counted."""
    for _ in range(WARM_UP):
        call()
    took: list[float] = []
    began = clock()
    while len(took) < FEWEST or (len(took) < MOST and clock() - began < seconds):
        before = clock()
        call()
        took.append(clock() - before)
    return summary(took)


def summary(seconds: Sequence[float]) -> Timing:
    """Of calls that took so long; two at least."""
    values = 1000 * np.asarray(seconds)
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    half = _NORMAL_95 * values.std(ddof=1) / math.sqrt(len(values))
    return Timing(len(values), *(round(float(each), 4) for each in (p50, p90, p99, values.mean(), half)))


class MemoryWatch:
    """The most memory that this process has from now on, beside what it has now. Linux's own counts."""

    def __init__(self) -> None:
        self.before: int | None = None
        with suppress(OSError):  # no such counts on this system
            STATUS.with_name("clear_refs").write_text("5")  # the peak is what there is now
            self.before = _status("VmRSS")

    def peak(self) -> int | None:
        """Bytes; None where the system does not count them."""
        return None if self.before is None else max(0, _status("VmHWM") - self.before)


def _status(name: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return KIB * int(line.split()[1])
