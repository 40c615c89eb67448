"""Leases: one owner at a time, takeover by generation, no publishing after a loss."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from harness.store.leases import HeartbeatMonitor, Holder, Lease, LeaseLost, acquire, current_holder, held_together

CONTENDERS, ROUNDS = 8, 150


def alive(holder: Holder) -> bool:
    return False


def dead(holder: Holder) -> bool:
    return True


def test_a_free_stage_is_taken_and_a_held_one_is_not(tmp_path: Path) -> None:
    lease = acquire(tmp_path / "s", {"name": "a"}, alive)
    assert lease is not None
    assert lease.generation == 1
    assert acquire(tmp_path / "s", {"name": "b"}, alive) is None
    holder = current_holder(tmp_path / "s")
    assert holder == Holder(generation=1, owner={"name": "a"}, beats=0, released=False)


def test_a_released_lease_is_taken_at_once(tmp_path: Path) -> None:
    first = acquire(tmp_path, {}, alive)
    assert first is not None
    first.release()
    second = acquire(tmp_path, {}, alive)
    assert second is not None
    assert second.generation == 2


def test_who_was_taken_over_knows_and_cannot_go_on(tmp_path: Path) -> None:
    first = acquire(tmp_path, {"name": "a"}, alive)
    assert first is not None
    first.check()
    second = acquire(tmp_path, {"name": "b"}, dead)
    assert second is not None
    second.check()
    with pytest.raises(LeaseLost, match="taken over .generation 2"):
        first.check()
    first.release()  # the loser's release changes nothing for the winner
    assert second.is_held()
    holder = current_holder(tmp_path)
    assert holder is not None
    assert (holder.owner, holder.released) == ({"name": "b"}, False)


def test_nothing_is_ever_removed(tmp_path: Path) -> None:
    for _ in range(5):
        acquire(tmp_path, {}, dead)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3", "4", "5"]


def test_a_held_lease_beats_and_is_released_at_the_end_of_an_error_too(tmp_path: Path) -> None:
    lease = acquire(tmp_path, {}, alive)
    assert lease is not None
    seen: list[int] = []

    def work() -> None:
        with lease.held(seconds=0.01):
            while len(seen) < 3:
                holder = current_holder(tmp_path)
                assert holder is not None
                if holder.beats > (seen[-1] if seen else 0):
                    seen.append(holder.beats)
            raise RuntimeError("the work failed")

    with pytest.raises(RuntimeError, match="the work failed"):
        work()
    assert seen == sorted(seen)
    holder = current_holder(tmp_path)
    assert holder is not None
    assert holder.released


def test_a_heartbeat_notices_that_another_took_over_and_sets_a_flag(tmp_path: Path) -> None:
    lease, other = acquire(tmp_path / "s", {}, alive), acquire(tmp_path / "other", {}, alive)
    assert lease is not None
    assert other is not None
    with held_together([lease, other], seconds=0.01):
        time.sleep(0.1)
        assert not lease.lost.is_set()
        assert acquire(tmp_path / "s", {}, dead) is not None
        assert lease.lost.wait(10)
        assert not other.lost.is_set()


def test_a_lease_expires_by_an_unchanged_counter_on_the_observers_own_clock(tmp_path: Path) -> None:
    now = [1000.0]
    monitor = HeartbeatMonitor(seconds=60, clock=lambda: now[0])
    lease = acquire(tmp_path, {}, alive)
    assert lease is not None

    def expired() -> bool:
        holder = current_holder(tmp_path)
        assert holder is not None
        return monitor.is_expired(tmp_path, holder)

    assert not expired()  # seen for the first time
    now[0] += 59
    assert not expired()
    lease.beat(1)
    now[0] += 59
    assert not expired()  # it has beaten since
    now[0] += 59
    assert not expired()
    now[0] += 1
    assert expired()
    assert acquire(tmp_path, {}, dead) is not None
    assert not expired()  # another generation begins anew


def contend(root: Path, barrier: Barrier, number: int) -> None:
    """Round after round: everyone sees the same dead holder at the same moment and tries to take it over."""
    for round_number in range(ROUNDS):
        folder = root / str(round_number)
        barrier.wait()
        lease = acquire(folder, {"contender": number}, dead_of_generation_one)
        if lease is not None:
            (folder / f"won-{number}").write_text(str(lease.generation))


def dead_of_generation_one(holder: Holder) -> bool:
    return holder.generation == 1


def test_a_takeover_race_of_8_contenders_has_one_owner_in_each_of_150_rounds(tmp_path: Path) -> None:
    for round_number in range(ROUNDS):
        assert acquire(tmp_path / str(round_number), {"contender": "the dead one"}, alive) is not None
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(CONTENDERS)
    processes = [context.Process(target=contend, args=(tmp_path, barrier, n)) for n in range(CONTENDERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
        assert process.exitcode == 0
    for round_number in range(ROUNDS):
        folder = tmp_path / str(round_number)
        winners = list(folder.glob("won-*"))
        assert len(winners) == 1, f"round {round_number}: {len(winners)} owners"
        assert winners[0].read_text() == "2"
        assert Lease(folder, 2).is_held()
