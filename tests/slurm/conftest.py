"""Fixtures of the cluster's room: a stub of SLURM's commands on PATH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stub_cluster import StubCluster

from harness.store import processes, squeue


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubCluster:
    made = StubCluster.make(tmp_path / "stub")
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(squeue.THE_QUEUE, "_last", squeue.Queue())
    monkeypatch.setattr(squeue.THE_QUEUE, "_heard", float("-inf"))
    monkeypatch.setattr(squeue.THE_QUEUE, "users", set())
    processes.this_cluster.cache_clear()
    return made
