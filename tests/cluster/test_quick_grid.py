"""The demo's grid on a real SLURM and on this machine: the same tables, byte for byte, and the same artifacts.

Every row of it, on one task with one seed and short trainings: which numbers they give is of no matter here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import same_numbers
from grid_world import environment

from harness.store.store import Store
from slurm.devcluster.cluster import Cluster
from slurm.devcluster.daemons import wait_until

SHORT = {
    "teacher_preparation.steps": 200,
    "student_pruning.steps": 200,
    "dense.epochs": 1.0,
    "task_pruning.epochs": 1.0,
    "transfer.epochs": 1.0,
}
GRID = (
    "grid",
    "--preset",
    "quick",
    "--tasks",
    "sst2",
    "--seeds",
    "0",
    *(w for k, v in SHORT.items() for w in ("--set", f"{k}={v}")),
)
CELLS, STAGES = 7, 19
# A task fills a node of the dev cluster, so that two run at a time, as with the two workers of the other executor.
PROFILE = """[default]
time = 30
cpus = 4
memory = "4G"
stages_at_once = 1
bundles_per_task = 4
"""
PATIENCE_S = 1800

Harness = Callable[..., str]


@pytest.fixture
def harness(tmp_path: Path, cluster: Cluster) -> Harness:
    """harness(*words) -> what `python -m harness WORDS` printed, in a folder of its own, asking the cluster."""

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness", *words],
            cwd=tmp_path,
            env={**environment(), **cluster.environment, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_quick_grid_gives_the_same_tables_and_artifacts_as_on_one_machine(
    harness: Harness, cluster: Cluster, tmp_path: Path
) -> None:
    started = time.monotonic()
    harness(*GRID, "--store", "here", "--executor", "local", "--workers", "2")
    local = time.monotonic() - started

    (tmp_path / "profile.toml").write_text(PROFILE)
    started = time.monotonic()
    harness(*GRID, "--store", "there", "--executor", "slurm", "--profile", "profile.toml")
    submitted = time.monotonic() - started

    def is_empty() -> bool:
        return not cluster.run("squeue", "--noheader").strip()

    assert wait_until(is_empty, PATIENCE_S, poll_s=1.0), harness("status", "--store", "there", code=4)
    on_cluster = time.monotonic() - started
    print(f"\n{os.cpu_count()} cores: local {local:.0f} s, cluster {on_cluster:.0f} s (submitted in {submitted:.1f} s)")

    assert f"{CELLS} of {CELLS} cells done" in harness("status", "--store", "there")
    for name in ("here", "there"):
        harness("tables", "--store", name, "--out", f"tables of {name}")
    for suffix in ("md", "csv"):
        here, there = (tmp_path / f"tables of {name}" / f"quick.{suffix}" for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
        assert here.read_text().count("prune-ofa") >= 4
    one, other = (same_numbers.read(tmp_path / name) for name in ("here", "there"))
    compared = same_numbers.compare(one, other)
    assert (compared.differences, compared.new_results, compared.stages) == ([], {}, STAGES)
    assert {stage: record["artifact"] for stage, record in one.records.items()} == {
        stage: record["artifact"] for stage, record in other.records.items()
    }
    assert {Store(tmp_path / "there").stage(i).attempts()[-1].host for i in other.records} == {"n1", "n2"}
    jobs = [path.read_text().strip() for path in (tmp_path / "there" / "submissions").glob("*.job")]
    states = {line for job in jobs for line in cluster.run("sacct", "-nXo", "state", "-j", job).split()}
    assert (len(jobs) >= 5, states) == (True, {"COMPLETED"})
