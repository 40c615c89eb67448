"""What SLURM's commands are asked with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import processes, slurm_command, squeue
from harness.store.scancel import scancel_waiting
from slurm import batch_file, cluster


@pytest.mark.parametrize(
    "ask",
    [
        squeue.ask_squeue,
        lambda: scancel_waiting(["1_0"]),
        processes.this_cluster,
        cluster.read_limits,
        lambda: cluster.sbatch(Path("x"), batch_file.submission_environment(os.environ)),
    ],
    ids=["squeue", "scancel", "cluster's name", "limits", "sbatch"],
)
def test_a_users_variables_do_not_change_what_slurms_commands_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    for name in ("squeue", "scancel", "scontrol", "sbatch"):
        (tmp_path / name).write_text(f"#!/bin/sh\nenv > '{tmp_path}/seen'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    changing = ("SQUEUE_PARTITION", "SQUEUE_STATES", "SLURM_CLUSTERS", "SCANCEL_PARTITION", "SCONTROL_ALL")
    for name in (*changing, "SLURM_CONF"):
        monkeypatch.setenv(name, "of the user")
    slurm_command.cluster_settings.cache_clear()
    ask()
    slurm_command.cluster_settings.cache_clear()
    seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert seen >= {"PATH", "SLURM_CONF"}
    assert seen.isdisjoint(changing)
