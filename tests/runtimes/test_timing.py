"""Times of calls, and the memory they take."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.runtimes.timing import FEWEST, MOST, WARM_UP, MemoryWatch, summary, timed


class Clock:
    """A clock that a call moves on by itself."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds, self.calls = 0.0, seconds, 0

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.calls += 1
        self.now += self.seconds if self.calls > WARM_UP else 100.0  # the first are slow, and not counted


@pytest.mark.parametrize(("seconds", "calls"), [(0.1, 10), (0.01, 100), (1e-5, MOST), (3.0, FEWEST)])
def test_calls_are_timed_for_so_many_seconds_within_bounds(seconds: float, calls: int) -> None:
    clock = Clock(seconds)
    found = timed(clock.call, 1.0, clock=clock)
    assert found.calls == pytest.approx(calls, abs=1)
    assert clock.calls == found.calls + WARM_UP
    assert found.p50_ms == found.p99_ms == pytest.approx(1000 * seconds, rel=1e-3)
    assert found.mean_half_width_ms == pytest.approx(0, abs=1e-3)


def test_the_summary_is_numpys() -> None:
    seconds = np.random.default_rng(0).gamma(3.0, 0.01, 500)
    found = summary(seconds.tolist())
    assert found.p50_ms == pytest.approx(1000 * np.median(seconds), abs=1e-3)
    assert found.p99_ms == pytest.approx(1000 * np.quantile(seconds, 0.99), abs=1e-3)
    assert found.mean_ms == pytest.approx(1000 * seconds.mean(), abs=1e-3)
    assert found.mean_half_width_ms == pytest.approx(1960 * seconds.std(ddof=1) / math.sqrt(500), abs=1e-3)


def test_memory_is_the_peak_since_the_watch_began() -> None:
    np.ones(30_000_000)  # 240 MB, gone again before it begins
    watch = MemoryWatch()
    held = np.ones(10_000_000)  # 80 MB
    del held
    assert 70e6 < watch.peak() < 130e6
