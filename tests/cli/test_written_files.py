"""The files that a verb writes: all of them whole, or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest
from grid_world import Ran, World

Run = Callable[[list[str]], Ran]


def test_tables_are_written_both_or_neither(run_harness: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    full_from_the_second(monkeypatch)
    done = run_harness(world.reading("tables", "--out", str(world.folder / "out")))
    assert (done.code, done.out) == (2, "")
    assert "the disk is full (No space left on device). Free some space" in done.err
    assert list((world.folder / "out").iterdir()) == []


def test_pictures_are_written_all_or_none(run_harness: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    full_from_the_second(monkeypatch)
    done = run_harness(world.reading("plots", "--out", str(world.folder / "out")))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: --out: no picture was written: ")
    assert "the disk is full (No space left on device). Free some space" in done.err
    assert list((world.folder / "out").iterdir()) == []


def full_from_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has room for one more file."""
    sync, calls = os.fsync, 0

    def fill(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
