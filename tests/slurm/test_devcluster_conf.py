"""The texts of a dev cluster's configuration, and what a machine or a folder must be like. No daemon is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.devcluster import conf, machine
from slurm.devcluster.__main__ import main
from slurm.devcluster.cluster import Cluster
from slurm.devcluster.conf import Layout, Ports, Settings
from slurm.devcluster.daemons import Recorded, free_ports

LAYOUT = Layout(Path("/tmp/some"))
PORTS = Ports(slurmctld=20001, slurmdbd=20002, mariadb=20003, slurmd={"n1": 20004, "n2": 20005, "n3": 20006})


def slurm_conf(settings: Settings) -> list[str]:
    return conf.slurm_conf(LAYOUT, settings, PORTS, "here").splitlines()


def test_slurm_conf_names_each_node_with_a_port_of_its_own_on_the_loopback() -> None:
    nodes = [line for line in slurm_conf(Settings(nodes=3, slots=6, memory_mb=1200)) if line.startswith("NodeName")]
    assert nodes == [
        f"NodeName=n{number} NodeHostname=n{number} NodeAddr=127.0.0.1 Port={20003 + number} "
        "CPUs=6 RealMemory=1200 State=UNKNOWN"
        for number in (1, 2, 3)
    ]


def test_a_job_that_asks_for_no_memory_gets_its_slots_share() -> None:
    assert "DefMemPerCPU=200" in slurm_conf(Settings(slots=6, memory_mb=1200))


def test_two_partitions_share_the_nodes_and_the_higher_one_pre_empts() -> None:
    lines = slurm_conf(Settings())
    assert "PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 State=UP" in lines
    assert "PartitionName=high Nodes=n1,n2 Default=NO PriorityTier=10 State=UP" in lines
    assert {"PreemptType=preempt/partition_prio", "PreemptMode=REQUEUE", "JobRequeue=1"} <= set(lines)


def test_memory_is_enforced_and_the_hold_of_a_requeue_is_short() -> None:
    lines = slurm_conf(Settings())
    assert {"SelectTypeParameters=CR_Core_Memory", "JobAcctGatherParams=OverMemoryKill"} <= set(lines)
    assert "AuthInfo=socket=/tmp/some/munge/socket,cred_expire=10" in lines


def test_accounting_is_a_switch() -> None:
    assert "AccountingStorageType=accounting_storage/none" in slurm_conf(Settings(accounting=False))
    lines = slurm_conf(Settings())
    assert {"AccountingStoragePort=20002", "AccountingStoragePass=/tmp/some/munge/socket"} <= set(lines)


def test_every_path_of_every_text_is_below_the_folder() -> None:
    commands = [*conf.munged_command(LAYOUT), *conf.mariadbd_command(LAYOUT, PORTS)]
    texts = [*slurm_conf(Settings(gpus=1)), *conf.slurmdbd_conf(LAYOUT, PORTS, "here", "word").splitlines(), *commands]
    paths = [text.partition("=/")[2] for text in texts if "=/" in text]
    assert len(paths) > 12
    assert [path for path in paths if not path.startswith("tmp/some/")] == []


def test_slurmdbd_asks_the_own_database_with_its_password() -> None:
    lines = conf.slurmdbd_conf(LAYOUT, PORTS, "here", "word").splitlines()
    assert {"StorageHost=127.0.0.1", "StoragePort=20003", "StoragePass=word", "DbdPort=20002"} <= set(lines)
    assert "IDENTIFIED BY 'word'" in conf.mariadb_init("word")


def test_gpus_stand_in_both_files_or_in_none() -> None:
    assert conf.gres_conf(LAYOUT, Settings()) == ""
    assert not [line for line in slurm_conf(Settings()) if "gpu" in line.lower()]
    assert conf.gres_conf(LAYOUT, Settings(nodes=1, gpus=2)).splitlines() == [
        "NodeName=n1 Name=gpu File=/tmp/some/gpu/gpu0",
        "NodeName=n1 Name=gpu File=/tmp/some/gpu/gpu1",
    ]
    lines = slurm_conf(Settings(gpus=2))
    assert "GresTypes=gpu" in lines
    assert [line for line in lines if line.startswith("NodeName=n1 ") and " Gres=gpu:2 " in line]


def test_extra_lines_stand_last() -> None:
    assert slurm_conf(Settings(extra=("KillWait=3",)))[-1] == "KillWait=3"


def test_the_names_of_all_nodes_and_of_this_machine_resolve_on_a_node() -> None:
    names = [line.split()[1] for line in conf.hosts(Settings(), "here").splitlines()]
    assert names == ["localhost", "n1", "n2", "here"]


def test_free_ports_are_all_different_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def test_a_process_that_only_has_the_same_id_is_not_ended() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        recorded = Recorded.of(child.pid)
        boot, _, tick = recorded.started.rpartition(":")
        earlier = Recorded(child.pid, f"{boot}:{int(tick) - 1}")
        assert recorded.lives
        assert not earlier.lives
        earlier.end(patience_s=0)
        assert child.poll() is None
        recorded.end(patience_s=0)
        assert not recorded.lives
    finally:
        child.kill()
        child.wait()


def test_a_zombie_does_not_live() -> None:
    child = subprocess.Popen(["true"])
    recorded = Recorded.of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not recorded.lives
    child.wait()


@pytest.mark.parametrize("name", ["a b", "100%", "quo'te", "com,ma", "#"])
def test_a_folder_whose_name_slurm_conf_would_take_apart_is_refused(tmp_path: Path, name: str) -> None:
    problem = machine.problem_of_folder(tmp_path / name)
    assert problem is not None
    assert "take apart" in str(problem)


def test_a_folder_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    problem = machine.problem_of_folder(tmp_path / ("x" * 100))
    assert problem is not None
    assert "too long a path" in str(problem)


def test_where_slurm_is_missing_the_line_that_installs_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SYSTEM_PATH", "/nowhere")
    problem = machine.problem_here.__wrapped__()
    assert "slurmctld" in str(problem)
    assert str(problem).endswith("needs a real SLURM: apt-get install slurm-wlm slurmdbd munge mariadb-server")


def test_only_root_starts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROGRAMS", ())
    monkeypatch.setattr(machine, "PROGRAMS_OF_ACCOUNTING", ())
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    assert "root" in str(machine.problem_here.__wrapped__())


def test_refused_namespaces_are_said_with_the_systems_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROGRAMS", ())
    monkeypatch.setattr(machine, "PROGRAMS_OF_ACCOUNTING", ())
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "UNSHARE", ("sh", "-c", "echo unshare failed: Operation not permitted >&2; exit 1"))
    problem = str(machine.problem_here.__wrapped__())
    assert "refuses the namespaces" in problem
    assert "Operation not permitted" in problem


def test_stop_where_nothing_was_started_is_fine_and_makes_nothing(tmp_path: Path) -> None:
    Cluster(tmp_path / "none").stop()
    assert main(["stop", str(tmp_path / "none")]) == 0
    assert list(tmp_path.iterdir()) == []


def test_status_where_nothing_was_started_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 1
    assert "No cluster was started in" in capsys.readouterr().err


def test_nothing_of_it_imports_torch() -> None:
    told = "import sys, slurm.devcluster.__main__; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True).stdout == "False\n"
