"""A dev cluster is a SLURM: jobs run, are pre-empted and kept within their memory; and each fault does what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from harness.errors import UsageError
from slurm.devcluster.__main__ import main
from slurm.devcluster.cluster import Cluster, start, temporary
from slurm.devcluster.conf import Settings
from slurm.devcluster.daemons import ClusterFailed, wait_until

SMALL = Settings(nodes=1, accounting=False)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def pids_of(cluster: Cluster, node: str, command: str) -> list[int]:
    """Ids of what runs on a node with exactly this command line, once there is any."""

    def found() -> list[int]:
        return [each.pid for each in cluster.processes(node) if each.command == command]

    assert wait_until(lambda: bool(found()), 10), cluster.processes(node)
    return found()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Which other users can enter, as they cannot pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="devcluster-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def small(folder: Path, real_slurm: None) -> Iterator[Cluster]:
    cluster = start(folder, SMALL)
    yield cluster
    cluster.stop()


# Jobs


def test_a_job_runs_on_each_node_and_slurmctld_and_accounting_say_so(cluster: Cluster) -> None:
    jobs = {node: cluster.sbatch("hostname", f"--nodelist={node}") for node in ("n1", "n2")}
    for node, job in jobs.items():
        cluster.wait_for(job, "COMPLETED")
        assert cluster.job(job)["NodeList"] == node

        def told(job: int = job) -> str:
            return cluster.run("sacct", "-nXP", "-j", str(job), "--format=State,NodeList").strip()

        assert wait_until(lambda told=told, node=node: told() == f"COMPLETED|{node}", 10), told()


def test_each_node_has_a_host_name_and_process_ids_of_its_own(cluster: Cluster) -> None:
    assert [cluster.on_node(node, "hostname").strip() for node in ("n1", "n2")] == ["n1", "n2"]
    namespaces = {cluster.on_node(node, "readlink", "/proc/self/ns/pid") for node in ("n1", "n2")}
    assert len(namespaces | {os.readlink("/proc/self/ns/pid") + "\n"}) == 3
    assert cluster.processes("n1")[0].pid_there == 1


def test_the_name_of_each_node_resolves_on_the_other(cluster: Cluster) -> None:
    assert cluster.on_node("n1", "getent", "hosts", "n2").split()[0] == "127.0.0.1"


def test_four_jobs_of_one_slot_run_on_a_node_at_once_whatever_the_machine_has(cluster: Cluster) -> None:
    job = cluster.sbatch("sleep 60", "--nodelist=n1", "--array=0-4")
    for index in range(4):
        cluster.wait_for(f"{job}_{index}", "RUNNING")
    assert cluster.state(f"{job}_4") == "PENDING"


def test_a_job_of_the_high_partition_pre_empts_one_of_the_low_by_requeue(cluster: Cluster) -> None:
    low = cluster.sbatch("sleep 300", "--nodelist=n1", "--exclusive")
    cluster.wait_for(low, "RUNNING")
    high = cluster.sbatch("sleep 1", "--nodelist=n1", "--exclusive", "--partition=high")
    cluster.wait_for(high, "COMPLETED")
    assert (cluster.state(low), cluster.job(low)["Restarts"]) == ("PENDING", "1")
    cluster.lift_hold(low)
    cluster.wait_for(low, "RUNNING")


def test_a_job_that_takes_more_memory_than_it_asked_for_is_ended(cluster: Cluster) -> None:
    take = f"""{sys.executable} -c "import time; taken = bytearray({{mb}} * 2**20); time.sleep({{seconds}})" """
    within = cluster.sbatch(take.format(mb=60, seconds=3), "--mem=100")
    beyond = cluster.sbatch(take.format(mb=300, seconds=60), "--mem=100")
    assert cluster.wait_for(beyond, "FAILED", "OUT_OF_MEMORY", "COMPLETED") != "COMPLETED"
    cluster.wait_for(within, "COMPLETED")


def test_another_user_submits_and_is_seen(cluster: Cluster) -> None:
    job = cluster.sbatch("sleep 60", user="nobody")
    cluster.wait_for(job, "RUNNING")
    assert cluster.run("squeue", "--noheader", "--user=nobody", "--format=%i %u").split() == [str(job), "nobody"]
    assert str(job) not in cluster.run("squeue", "--noheader", "--me", "--format=%i").split()
    with pytest.raises(ClusterFailed, match="Access/permission denied"):
        cluster.run("scancel", str(cluster.sbatch("sleep 60")), user="nobody")


def test_a_requeued_job_is_held_until_its_credential_has_expired_and_lifting_ends_that(cluster: Cluster) -> None:
    job = cluster.sbatch("sleep 300")
    cluster.wait_for(job, "RUNNING")
    before = datetime.now()
    cluster.run("scontrol", "requeue", str(job))
    cluster.wait_for(job, "PENDING")
    held = (datetime.fromisoformat(cluster.job(job)["EligibleTime"]) - before).total_seconds()
    assert 9 <= held <= 20
    cluster.lift_hold(job)
    cluster.wait_for(job, "RUNNING")
    began = datetime.fromisoformat(cluster.job(job)["StartTime"])
    assert (began - before).total_seconds() < held


@pytest.mark.parametrize("whose", ["the user's", "the QOS's"])
def test_a_submit_limit_refuses_what_is_beyond_it_and_names_itself(cluster: Cluster, whose: str) -> None:
    def set_to(value: int | None) -> None:
        if whose == "the user's":
            cluster.set_limit("MaxSubmitJobs", value, user="nobody")
        else:
            cluster.set_qos_limit("MaxSubmitJobsPerUser", value)

    def refusal() -> str:
        try:
            cluster.sbatch("true", "--array=0-9", "--hold", user="nobody")
        except ClusterFailed as error:
            return str(error)
        return ""

    set_to(9)
    try:
        assert wait_until(lambda: "SubmitJob" in refusal(), 10, poll_s=0.2), refusal()
        cluster.cancel_all()
        cluster.sbatch("true", "--array=0-8", "--hold", user="nobody")
    finally:
        set_to(None)
    assert wait_until(lambda: refusal() == "", 10, poll_s=0.2), refusal()


# Faults


def test_a_crashed_node_takes_its_processes_with_it_and_its_job_is_requeued(cluster: Cluster) -> None:
    job = cluster.sbatch("sleep 3131", "--nodelist=n1")
    cluster.wait_for(job, "RUNNING")
    [sleeper] = pids_of(cluster, "n1", "sleep 3131")
    cluster.crash_node("n1")
    assert not alive(sleeper)
    assert cluster.processes("n1") == []
    cluster.wait_for(job, "PENDING")
    assert cluster.job(job)["Restarts"] == "1"
    cluster.restart_node("n1")
    cluster.lift_hold(job)
    cluster.wait_for(job, "RUNNING")
    assert pids_of(cluster, "n1", "sleep 3131") != [sleeper]


def test_a_job_outlives_its_slurmd_and_a_new_slurmd_finds_it(cluster: Cluster, folder: Path) -> None:
    job = cluster.sbatch(
        f"until [ -e {folder}/end ]; do sleep 0.1; done; exit 3", "--nodelist=n1", f"--output={folder}/log"
    )
    cluster.wait_for(job, "RUNNING")
    pids_of(cluster, "n1", f"slurmstepd: [{job}.batch]")
    cluster.kill_slurmd("n1")
    commands = [each.command for each in cluster.processes("n1")]
    assert f"slurmstepd: [{job}.batch]" in commands
    assert not [command for command in commands if command.startswith("slurmd ")]
    cluster.start_slurmd("n1")
    (folder / "end").touch()
    cluster.wait_for(job, "FAILED")
    assert (cluster.job(job)["ExitCode"], cluster.job(job)["Restarts"]) == ("3:0", "0")


def test_the_job_of_a_node_set_down_is_requeued_while_its_process_lives_on(cluster: Cluster) -> None:
    job = cluster.sbatch("sleep 3232", "--nodelist=n1")
    cluster.wait_for(job, "RUNNING")
    [sleeper] = pids_of(cluster, "n1", "sleep 3232")
    cluster.kill_slurmd("n1")
    cluster.set_down("n1")
    cluster.wait_for(job, "PENDING")
    cluster.run("scontrol", "update", f"JobId={job}", "ReqNodeList=n2")
    cluster.lift_hold(job)
    cluster.wait_for(job, "RUNNING")
    assert (cluster.job(job)["NodeList"], cluster.job(job)["Restarts"]) == ("n2", "1")
    assert alive(sleeper)
    assert [each.pid for each in cluster.processes("n1") if each.command == "sleep 3232"] == [sleeper]


def test_a_node_set_down_takes_no_jobs_until_it_is_resumed(cluster: Cluster) -> None:
    cluster.set_down("n1")
    job = cluster.sbatch("true", "--nodelist=n1")
    assert wait_until(lambda: "UnavailableNodes:n1" in cluster.job(job)["Reason"], 20, poll_s=0.1), cluster.job(job)
    cluster.resume("n1")
    cluster.wait_for(job, "COMPLETED")


def test_what_faults_broke_is_mended(cluster: Cluster) -> None:
    cluster.stop_slurmdbd()
    cluster.stop_slurmctld()
    cluster.crash_node("n1")
    cluster.kill_slurmd("n2")
    cluster.mend()
    assert all(cluster.status.values())
    cluster.set_down("n1")
    cluster.mend()
    cluster.wait_for(cluster.sbatch("true", "--nodes=2"), "COMPLETED")


def test_jobs_run_through_a_restart_of_slurmctld_and_without_slurmdbd(cluster: Cluster) -> None:
    job = cluster.sbatch("sleep 5")
    cluster.wait_for(job, "RUNNING")
    cluster.stop_slurmdbd()
    with pytest.raises(ClusterFailed, match="sacct"):
        cluster.run("sacct")
    cluster.restart_slurmctld()
    cluster.wait_for(job, "COMPLETED")
    assert cluster.job(job)["Restarts"] == "0"
    cluster.wait_for(cluster.sbatch("true"), "COMPLETED")
    cluster.start_slurmdbd()

    def told() -> list[str]:
        return cluster.run("sacct", "-nXP", "-j", str(job), "--format=State").split()

    assert wait_until(lambda: told() == ["COMPLETED"], 20, poll_s=0.2), told()


def test_while_slurmctld_is_stopped_nothing_answers(cluster: Cluster) -> None:
    cluster.stop_slurmctld()
    assert not cluster.status["slurmctld"]
    with pytest.raises(ClusterFailed):
        cluster.run("scontrol", "show", "config")
    cluster.start_slurmctld()
    assert "slurmctld" in cluster.run("scontrol", "ping").lower()


def test_what_runs_is_not_started_twice(cluster: Cluster) -> None:
    for begin in (cluster.start_slurmctld, cluster.start_slurmdbd, lambda: cluster.start_slurmd("n1")):
        with pytest.raises(ClusterFailed, match="already"):
            begin()


# Start and stop


def test_a_second_start_in_a_folder_says_that_one_runs(small: Cluster) -> None:
    with pytest.raises(UsageError, match=f"runs in {small.folder} already"):
        start(small.folder, SMALL)
    assert all(small.status.values())


def test_stop_ends_its_jobs_and_daemons_and_no_one_elses(small: Cluster, cluster: Cluster) -> None:
    job = small.sbatch("sleep 3333")
    small.wait_for(job, "RUNNING")
    [sleeper] = pids_of(small, "n1", "sleep 3333")
    other = cluster.sbatch("sleep 3333", "--nodelist=n1")
    cluster.wait_for(other, "RUNNING")
    [others] = pids_of(cluster, "n1", "sleep 3333")
    small.stop()
    assert not any(small.status.values())
    assert not alive(sleeper)
    assert alive(others)
    assert all(cluster.status.values())
    assert cluster.state(other) == "RUNNING"
    small.stop()  # again: nothing to do


def test_a_recorded_id_that_belongs_to_another_process_now_is_not_ended(small: Cluster) -> None:
    record = small.layout.pids / "munged"
    _, _, started = record.read_text().partition(" ")
    small.stop()
    boot, _, tick = started.strip().rpartition(":")
    with subprocess.Popen(["sleep", "60"]) as other:
        record.write_text(f"{other.pid} {boot}:{int(tick) - 1}\n")
        small.stop()
        assert other.poll() is None, "it lives"
        other.kill()


def test_a_folder_goes_on_with_its_job_ids_after_stop_and_start(small: Cluster) -> None:
    first = small.sbatch("true")
    small.wait_for(first, "COMPLETED")
    small.stop()
    again = start(small.folder, SMALL)
    assert again.sbatch("true") == first + 1


def test_without_accounting_jobs_run_and_sacct_does_not(small: Cluster) -> None:
    small.wait_for(small.sbatch("true"), "COMPLETED")
    assert "slurmdbd" not in small.status
    with pytest.raises(ClusterFailed, match="storage is disabled"):
        small.run("sacct")


def test_memory_is_enforced_without_accounting_too(small: Cluster) -> None:
    take = f"""{sys.executable} -c "import time; taken = bytearray(300 * 2**20); time.sleep(60)" """
    assert small.wait_for(small.sbatch(take, "--mem=100"), "FAILED", "OUT_OF_MEMORY", "COMPLETED") != "COMPLETED"


def test_a_start_that_fails_shows_the_log_that_says_why_and_leaves_nothing_running(
    folder: Path, real_slurm: None
) -> None:
    with pytest.raises(ClusterFailed, match=r"(?s)slurmctld ended\. The end of .*slurmctld\.out:.*NoSuchOption"):
        start(folder, Settings(nodes=1, accounting=False, extra=("NoSuchOption=1",)))
    cluster = Cluster(folder)
    assert not any(cluster.status.values())
    assert cluster.processes("n1") == []


def test_a_folder_that_other_users_cannot_reach_is_refused(tmp_path: Path, real_slurm: None) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(UsageError, match=r"closed to other users.*chmod o\+x"):
        start(closed, SMALL)


def test_a_folder_that_others_can_write_in_is_refused(folder: Path, real_slurm: None) -> None:
    folder.chmod(0o775)
    with pytest.raises(UsageError, match="can write in"):
        start(folder, SMALL)
    folder.chmod(0o755)
    os.chown(folder, 65534, -1)
    with pytest.raises(UsageError, match="can write in"):
        start(folder, SMALL)


def test_a_temporary_cluster_leaves_no_folder(real_slurm: None) -> None:
    with temporary(SMALL) as cluster:
        assert cluster.folder.exists()
    assert not cluster.folder.exists()


def test_gpus_are_counted(folder: Path, real_slurm: None) -> None:
    cluster = start(folder, Settings(nodes=1, accounting=False, gpus=2))
    try:
        jobs = [cluster.sbatch("sleep 60", "--gpus-per-node=1") for _ in range(3)]
        for job in jobs[:2]:
            cluster.wait_for(job, "RUNNING")
        time.sleep(1.5)  # the scheduler has looked at the third too
        assert cluster.state(jobs[2]) == "PENDING"
    finally:
        cluster.stop()


def test_the_command_line_starts_shows_and_stops(
    folder: Path, real_slurm: None, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"export SLURM_CONF={folder}/slurm.conf\n"
    try:
        assert main(["start", str(folder), "--nodes", "1", "--no-accounting"]) == 0
        assert capsys.readouterr().out == line
        assert main(["start", str(folder), "--nodes", "1", "--no-accounting"]) == 2
        assert "already" in capsys.readouterr().err
        assert main(["status", str(folder)]) == 0
        shown = capsys.readouterr().out
        assert "# slurmctld: runs" in shown
        assert shown.endswith(line)
    finally:
        assert main(["stop", str(folder)]) == 0
    assert main(["stop", str(folder)]) == 0
    assert main(["status", str(folder)]) == 1
    assert "# slurmctld: does not run" in capsys.readouterr().out
