"""How SLURM behaves where the executor relies on it. Each was seen on 22.05; another version may do otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slurm.devcluster.cluster import Cluster
from slurm.devcluster.daemons import ClusterFailed, wait_until

FIELDS = "--Format=Name:64|,ArrayJobID:12|,ArrayTaskID:12|,State:12|,RestartCnt:6|,Reason:32"
ONE_FAILS = '[ "$SLURM_ARRAY_TASK_ID" != 1 ]'


def after(cluster: Cluster, kind: str, script: str, *options: str) -> int:
    """Submit what depends on others, as "afterok:12", and is cancelled where that can never be met."""
    return cluster.sbatch(script, f"--dependency={kind}", "--kill-on-invalid-dep=yes", *options)


def queue(cluster: Cluster) -> list[list[str]]:
    """Name, array, index, state, restarts and reason of every task."""
    shown = cluster.run("squeue", "--noheader", "--array", FIELDS).splitlines()
    return [[field.strip() for field in line.split("|")] for line in shown]


def nothing_queued(cluster: Cluster, patience_s: float = 30) -> bool:
    return wait_until(lambda: queue(cluster) == [], patience_s, poll_s=0.1)


# Dependencies


def test_afterok_on_an_array_waits_for_all_of_it(cluster: Cluster, tmp_path: Path) -> None:
    parent = cluster.sbatch(f"sleep $SLURM_ARRAY_TASK_ID; touch {tmp_path}/$SLURM_ARRAY_TASK_ID", "--array=0-2")
    child = after(cluster, f"afterok:{parent}", f"ls {tmp_path}", "--array=0-1", f"--output={tmp_path}/child%a")
    cluster.wait_for(f"{child}_1", "COMPLETED")
    assert (tmp_path / "child1").read_text().split()[:3] == ["0", "1", "2"]


def test_one_failed_task_cancels_all_that_depend_on_its_array_and_leaves_nothing_queued(cluster: Cluster) -> None:
    parent = cluster.sbatch(ONE_FAILS, "--array=0-2")
    child = after(cluster, f"afterok:{parent}", "true", "--array=0-3")
    grandchild = after(cluster, f"afterok:{child}", "true")
    assert nothing_queued(cluster), queue(cluster)
    assert cluster.state(f"{parent}_1") == "FAILED"
    assert (cluster.state(child), cluster.state(grandchild)) == ("CANCELLED", "CANCELLED")


def test_afterok_on_single_tasks_of_an_array_waits_for_these_alone(cluster: Cluster) -> None:
    parent = cluster.sbatch(ONE_FAILS, "--array=0-2")
    other = cluster.sbatch(ONE_FAILS, "--array=0-2")
    child = after(cluster, f"afterok:{parent}_0:{parent}_2:{other}_0", "true", "--array=0-1")
    cut_off = after(cluster, f"afterok:{parent}_0:{other}_1", "true", "--array=0-1")
    assert nothing_queued(cluster), queue(cluster)
    assert [cluster.state(f"{child}_{index}") for index in (0, 1)] == ["COMPLETED", "COMPLETED"]
    assert cluster.state(cut_off) == "CANCELLED"


def test_aftercorr_pairs_the_tasks_of_equal_index(cluster: Cluster) -> None:
    parent = cluster.sbatch(ONE_FAILS, "--array=0-2")
    child = after(cluster, f"aftercorr:{parent}", "true", "--array=0-2")
    assert nothing_queued(cluster), queue(cluster)
    assert [cluster.state(f"{child}_{index}") for index in (0, 2)] == ["COMPLETED", "COMPLETED"]
    assert cluster.state(f"{child}_1") == "CANCELLED"


@pytest.mark.parametrize("who", ["an administrator", "the job itself"])
def test_afterok_waits_through_a_requeue_of_the_parent(cluster: Cluster, tmp_path: Path, who: str) -> None:
    itself = who == "the job itself"
    again = "scontrol requeue $SLURM_JOB_ID; sleep 60; exit 75" if itself else "sleep 300"
    parent = cluster.sbatch(
        f'[ "${{SLURM_RESTART_COUNT:-0}}" = 0 ] || {{ sleep 1; exit 0; }}; touch {tmp_path}/began; {again}'
    )
    child = after(cluster, f"afterok:{parent}", "true")
    assert wait_until((tmp_path / "began").exists, 30)
    if not itself:
        cluster.run("scontrol", "requeue", str(parent))
    assert wait_until(lambda: cluster.job(parent)["Restarts"] == "1", 30, poll_s=0.1)
    cluster.wait_for(parent, "PENDING")
    assert (cluster.state(child), cluster.job(child)["Reason"]) == ("PENDING", "Dependency")
    cluster.lift_hold(parent)
    cluster.wait_for(child, "COMPLETED")
    assert cluster.state(parent) == "COMPLETED"


def test_afterok_on_a_job_that_nobody_knows_starts_at_once(cluster: Cluster) -> None:
    held = cluster.sbatch("true", "--hold")
    job = after(cluster, f"afterok:{held + 1000}", "true")
    cluster.wait_for(job, "COMPLETED")
    assert (cluster.state(job), cluster.state(held)) == ("COMPLETED", "PENDING")


# Signals


def test_the_signal_before_the_time_limit_reaches_every_process_of_an_srun_step(
    cluster: Cluster, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import os, signal, sys, time
def note(*_):
    open(f"{tmp_path}/told.{{os.environ['SLURM_PROCID']}}.{{role}}", "w").close()
    os._exit(0)
role = "child" if os.fork() == 0 else "parent"
signal.signal(signal.SIGUSR2, note)
open(f"{tmp_path}/began.{{os.environ['SLURM_PROCID']}}.{{role}}", "w").close()
time.sleep(300)
""")
    job = cluster.sbatch(
        f"srun {sys.executable} {program}; touch {tmp_path}/shell-lives",
        "--ntasks=2",
        "--time=1",
        "--signal=USR2@30",
        f"--output={tmp_path}/log",
    )
    cluster.wait_for(job, "RUNNING")
    cluster.wait_for(job, "COMPLETED", patience_s=120)
    names = {path.name for path in tmp_path.iterdir()}
    for task in "01":
        for role in ("parent", "child"):
            assert {f"began.{task}.{role}", f"told.{task}.{role}"} <= names
    assert "shell-lives" in names


def test_scancel_ends_the_batch_shell_too_so_that_its_last_lines_do_not_run(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.sbatch(f"srun sh -c 'touch {tmp_path}/began; sleep 300'; touch {tmp_path}/after")
    assert wait_until((tmp_path / "began").exists, 30)
    cluster.run("scancel", str(job))
    assert nothing_queued(cluster)
    assert cluster.state(job) == "CANCELLED"
    assert not (tmp_path / "after").exists()


def test_an_exit_code_is_kept(cluster: Cluster) -> None:
    job = cluster.sbatch("exit 76")
    cluster.wait_for(job, "FAILED")
    assert cluster.job(job)["ExitCode"] == "76:0"


# Submitting and asking


def test_a_batch_file_of_an_array_is_tried_without_being_submitted(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "array.sh"
    file.write_text("#!/bin/bash\n#SBATCH --array=0-9\n#SBATCH --time=5\ntrue\n")
    cluster.run("sbatch", "--test-only", str(file))
    assert queue(cluster) == []
    file.write_text("#!/bin/bash\n#SBATCH --array=0-9\n#SBATCH --partition=nowhere\ntrue\n")
    with pytest.raises(ClusterFailed, match="invalid partition"):
        cluster.run("sbatch", "--test-only", str(file))


def test_an_index_beyond_the_largest_array_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ClusterFailed, match="Invalid job array specification"):
        cluster.sbatch("true", "--array=0-1001", "--hold")
    cluster.sbatch("true", "--array=0-1000", "--hold")


def test_squeue_shows_a_line_for_each_task_with_its_restarts_and_its_reason(cluster: Cluster) -> None:
    waiting = cluster.sbatch("true", "--array=0-1", "--hold", "--job-name=waiting")
    job = cluster.sbatch("sleep 300", "--array=3-4", "--job-name=1b4e28ba-2fa1-11d2-883f-0016d3cca427")
    cluster.wait_for(f"{job}_4", "RUNNING")
    cluster.run("scontrol", "requeue", f"{job}_4")
    cluster.wait_for(f"{job}_4", "PENDING")
    assert sorted(queue(cluster)) == [
        ["1b4e28ba-2fa1-11d2-883f-0016d3cca427", str(job), "3", "RUNNING", "0", "None"],
        ["1b4e28ba-2fa1-11d2-883f-0016d3cca427", str(job), "4", "PENDING", "1", "BeginTime"],
        ["waiting", str(waiting), "0", "PENDING", "0", "JobHeldUser"],
        ["waiting", str(waiting), "1", "PENDING", "0", "JobHeldUser"],
    ]


def test_five_thousand_queued_tasks_are_five_thousand_lines(cluster: Cluster) -> None:
    for _ in range(5):
        cluster.sbatch("true", "--array=0-999", "--hold")
    assert len({(array, index) for _, array, index, *_ in queue(cluster)}) == 5000


def test_a_submission_that_slurmctld_does_not_answer_fails(cluster: Cluster) -> None:
    cluster.stop_slurmctld()
    with pytest.raises(ClusterFailed, match="Unable to contact slurm controller"):
        cluster.sbatch("true")
