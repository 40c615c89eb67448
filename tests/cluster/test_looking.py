"""What is said of a grid on a real cluster: while it waits and runs, when it is cancelled, and when a node crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grid_world import environment, of_kind, plan, preset
from stub_slurm import submitted

from harness.store import processes, slurm_command, squeue
from harness.store.leases import acquire
from harness.store.scancel import scancel_waiting
from harness.store.store import Store
from harness.studies.activity import read_activity
from harness.studies.study import merged, write_study
from slurm.devcluster.cluster import Cluster
from slurm.devcluster.daemons import wait_until

Harness = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def store(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Asked of in an environment that names the cluster."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(processes.ALLOCATION, raising=False)
    monkeypatch.setattr(squeue, "KEPT_SECONDS", 0.0)
    slurm_command.cluster_settings.cache_clear()
    return Store(tmp_path / "runs")


@pytest.fixture
def harness(store: Store) -> Harness:
    """harness(*words) -> what `python -m harness WORDS --store ..` came to."""

    def run(*words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "harness", *words, "--store", str(store.root)]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False)

    return run


def status(harness: Harness, *words: str) -> dict[str, Any]:
    return json.loads(harness("status", "--json", *words).stdout)


def test_a_grid_is_followed_from_the_queue_to_its_end(harness: Harness, store: Store, tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('[default]\npartition = "low"\ntime = 10\ncpus = 1\n')
    grid = ["grid", "--preset", "quick", "--models", "tiny-narrow", "--methods", "dense", "--tasks", "sst2"]
    sets = ["--seeds", "0", "--set", "teacher_preparation.steps=300", "--set", "dense.epochs=1"]
    done = harness(*grid, *sets, "--executor", "slurm", "--profile", str(profile))
    assert done.returncode == 0, done.stderr
    found = status(harness)
    (cell,) = found["cell_states"]
    assert (cell["state"], found["queue_problem"]) == ("queued", "")
    assert {stage["kind"] for stage in found["stages"] if stage["state"] in ("queued", "running")} >= {"dense"}
    labels = {stage["id"]: stage["label"] for stage in found["stages"]}
    dense = next(stage["id"] for stage in found["stages"] if stage["kind"] == "dense")
    waits = {stage["id"]: stage["reason"] for stage in found["queued"]}
    prepared = next(label for label in labels.values() if label.startswith("teacher_preparation"))
    soon = "its task has started"  # where the look came late
    assert waits[dense] in ("not yet considered by SLURM", f"waits for {prepared}", soon)

    followed = harness("logs", dense, "-f")
    assert followed.returncode == 0
    assert followed.stderr.startswith(f"queued: {labels[dense]} ({dense}): ")
    assert "step 75 of 75" in followed.stdout
    assert wait_until(lambda: harness("status").returncode == 0, 60, poll_s=1), harness("status").stdout
    found = status(harness, "--hours")
    assert found["cells"] == {"total": 1, "done": 1}
    assert found["hours"]["kinds"]["dense"]["estimated_hours"] > 0
    assert found["hours"]["kinds"]["dense"]["wall_hours"] > 0
    assert found["hours"]["kinds"]["dense"]["gpu_hours"] == 0


def test_what_is_cancelled_leaves_the_queue_and_what_runs_stays(
    harness: Harness, store: Store, cluster: Cluster
) -> None:
    planned = plan(tasks=["sst2"], methods=["dense"], seeds=[0, 1, 2])
    write_study(store, merged(store, "slice", preset(), planned))
    dense = list(of_kind(planned, "dense"))
    name = uuid.uuid4().hex
    job = cluster.sbatch("sleep 300", "--array=0-2", f"--job-name={name}", "--nodelist=n1", "--exclusive")
    cluster.wait_for(f"{job}_0", "RUNNING")
    submitted(store, *([stage_id] for stage_id in dense), cluster=processes.this_cluster(), uuid=name)

    def reasons() -> list[str]:
        return sorted(stage["reason"] for stage in status(harness)["queued"])

    assert wait_until(lambda: reasons()[2:] == ["its task has started"] and "Resources" in reasons(), 20), reasons()
    done = harness("cancel", "queued", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["scancelled"] == [f"{job}_1", f"{job}_2"]

    def there() -> list[str]:
        return cluster.run("squeue", "--noheader", "--array", "--format=%i %T").splitlines()

    # What has started ends by itself.
    assert wait_until(lambda: there() == [f"{job}_0 RUNNING"], 20), there()
    assert {stage["state"] for stage in status(harness)["stages"]} == {"cancelled", "blocked"}


def test_right_after_slurm_knows_of_a_crash_nobody_waits(harness: Harness, store: Store, cluster: Cluster) -> None:
    planned = plan(tasks=["sst2"], methods=["dense"])
    write_study(store, merged(store, "slice", preset(), planned))
    (dense,) = of_kind(planned, "dense")
    name = uuid.uuid4().hex
    job = cluster.sbatch("sleep 300", "--array=0", f"--job-name={name}", "--nodelist=n1", "--requeue")
    cluster.wait_for(f"{job}_0", "RUNNING")
    task = submitted(store, [dense], cluster=processes.this_cluster(), uuid=name).task(0)
    who = {**processes.this_process(), "host": "n1", "process": 1, "process_started": "another:1", "pid_namespace": 1}
    who = {**who, "allocation": task, "restart": 0, "cluster": processes.this_cluster(), "user": os.getuid()}
    acquire(store.stage(dense).lease_path, who, lambda holder: True)
    store.stage(dense).begin_attempt({**who, "generation": 1})
    assert f"running: dense tiny sst2 seed 0 ({dense}) on n1" in harness("status").stdout
    cluster.crash_node("n1")
    assert wait_until(lambda: not read_activity(planned, store).running, 90, poll_s=1)
    assert read_activity(planned, store).queued.keys() == {dense}
    done = harness("cancel", "dense", "--json")
    assert json.loads(done.stdout)["cancelled"] == [dense]
    assert json.loads(done.stdout)["scancelled"] == [f"{job}_0"]


def test_a_stopped_controller_is_told_and_the_rest_is_shown(harness: Harness, store: Store, cluster: Cluster) -> None:
    planned = plan(tasks=["sst2"], methods=["dense"])
    write_study(store, merged(store, "slice", preset(), planned))
    submitted(store, list(planned.stages), cluster="dev")
    cluster.stop_slurmctld()
    try:
        done = harness("status", timeout=60)
        assert done.returncode == 4
        assert "queue: unknown (squeue did not answer" in done.stdout
        assert "cells: 1 pending" in done.stdout
    finally:
        cluster.start_slurmctld()
    assert "queue:" not in harness("status").stdout


def test_another_users_task_is_shown_with_their_name(harness: Harness, store: Store, cluster: Cluster) -> None:
    import pwd

    planned = plan(tasks=["sst2"], methods=["dense"])
    write_study(store, merged(store, "slice", preset(), planned))
    (dense,) = of_kind(planned, "dense")
    other, name = pwd.getpwnam("nobody").pw_uid, uuid.uuid4().hex
    cluster.sbatch("sleep 60", "--array=0", f"--job-name={name}", "--hold", user="nobody")
    submitted(store, [dense], cluster="dev", uuid=name, user=other)
    os.chown(store.ledger.entry_path(name), other, -1)
    assert f"queued: dense tiny sst2 seed 0 ({dense}) of nobody: JobHeldUser" in harness("status").stdout


def test_a_users_variables_hide_no_task(store: Store, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    name = uuid.uuid4().hex
    job = cluster.sbatch("sleep 60", "--array=0-3", f"--job-name={name}", "--hold")
    changing = {
        "SQUEUE_PARTITION": "high",
        "SQUEUE_STATES": "R",
        "SLURM_CLUSTERS": "another",
        "SCANCEL_NAME": "another",
    }
    for variable, value in changing.items():
        monkeypatch.setenv(variable, value)
    tasks = {f"{name}_{index}" for index in range(4)}
    assert squeue.ask_squeue().tasks.keys() == tasks
    slurm_command.cluster_settings.cache_clear()
    assert processes.this_cluster()
    assert scancel_waiting([f"{job}_{index}" for index in range(4)]) == []
    assert wait_until(lambda: not squeue.ask_squeue().tasks, 20)
