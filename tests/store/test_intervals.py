"""How often a run touches its store."""

import pytest

from harness.store.intervals import OFTEN, SELDOM, Intervals
from harness.store.leases import EXPIRY_SECONDS


def test_on_a_disk_of_ones_own_it_is_as_often_as_ever() -> None:
    assert Intervals(heartbeat=10.0, progress=2.0, cancel=2.0, poll=0.1) == Intervals() == OFTEN


@pytest.mark.parametrize("intervals", [OFTEN, SELDOM])
def test_a_lease_outlives_three_missed_heartbeats(intervals: Intervals) -> None:
    assert 4 * intervals.heartbeat <= EXPIRY_SECONDS


def test_heartbeats_too_far_apart_for_a_lease_and_no_interval_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="^heartbeat=31: expected at most 30 seconds, since a lease expires after 120"):
        Intervals(heartbeat=31)
    for name in ("heartbeat", "progress", "cancel", "poll"):
        with pytest.raises(ValueError, match=f"^{name}=0: expected seconds above 0"):
            Intervals(**{name: 0})
