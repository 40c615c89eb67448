"""What this machine computes on, where its system says less than Linux does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from grid_world import Ran, World

from harness.execution.hardware import this_machine

Run = Callable[[list[str]], Ran]


def test_a_grid_is_planned_where_the_system_keeps_no_process_to_some_cores(
    run_harness: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.sched_getaffinity")
    assert run_harness(world.grid("--dry-run")).code == 0
    assert run_harness(world.reading("doctor")).code == 0
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert this_machine().cores == 1
    monkeypatch.setattr("os.sysconf", lambda name: int(f"no {name} here"))
    assert this_machine().memory_bytes() is None
