"""The texts of a dev cluster's configuration, and where its files stand. Pure: reads nothing, writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CLUSTER = "dev"
ACCOUNT = "test"
OTHER_USER = "nobody"  # beside root: whom tests of another user's jobs submit as
LOOPBACK = "127.0.0.1"
CREDENTIAL_LIFE_S = 10  # a requeued job is held until its credential has expired; SLURM's default makes that 121 s
LONGEST_SOCKET_PATH = 107  # bytes: sun_path of unix(7), less its closing zero


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cluster is made of. slots: CPUs that each node presents, whatever the machine has.

    memory_mb: of each node; a job may use what it asked for, by default its slots' share. gpus: of each node; counted
    by SLURM and named in CUDA_VISIBLE_DEVICES, with empty files as their devices. extra: lines that stand last in
    slurm.conf and so win.
    """

    nodes: int = 2
    slots: int = 4
    memory_mb: int = 8000
    gpus: int = 0
    accounting: bool = True
    extra: tuple[str, ...] = ()

    @property
    def node_names(self) -> tuple[str, ...]:
        """n1, n2, .."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))


@dataclass(frozen=True, kw_only=True)
class Ports:
    """TCP ports of the daemons; slurmd: by the node's name."""

    slurmctld: int
    slurmdbd: int
    mariadb: int
    slurmd: Mapping[str, int]


@dataclass(frozen=True)
class Layout:
    """Where a cluster's files stand: all of them under one folder. folder: absolute."""

    folder: Path

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def gres_conf(self) -> Path:
        return self.folder / "gres.conf"

    @property
    def slurmdbd_conf(self) -> Path:
        return self.folder / "slurmdbd.conf"

    @property
    def started(self) -> Path:
        """The settings and ports of the last start."""
        return self.folder / "started.json"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def hosts(self) -> Path:
        """What stands in place of /etc/hosts on the nodes."""
        return self.folder / "hosts"

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def pids(self) -> Path:
        return self.folder / "pid"

    @property
    def controller_state(self) -> Path:
        return self.folder / "state"

    @property
    def munge_key(self) -> Path:
        return self.folder / "munge" / "key"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge" / "socket"

    @property
    def mariadb_data(self) -> Path:
        return self.folder / "mariadb" / "data"

    @property
    def mariadb_temporary(self) -> Path:
        """Of its own: a server that starts removes what another one has in a folder that both use."""
        return self.folder / "mariadb" / "tmp"

    @property
    def mariadb_socket(self) -> Path:
        return self.folder / "mariadb" / "socket"

    @property
    def mariadb_init(self) -> Path:
        return self.folder / "mariadb" / "init.sql"

    @property
    def environment(self) -> dict[str, str]:
        """What names the cluster to SLURM's commands and daemons."""
        return {"SLURM_CONF": str(self.slurm_conf)}

    def spool(self, node: str) -> Path:
        return self.folder / "spool" / node

    def gpu(self, number: int) -> Path:
        """What stands for the device of a GPU, on each node."""
        return self.folder / "gpu" / f"gpu{number}"

    def output(self, daemon: str) -> Path:
        """What a daemon prints. daemon: slurmctld, slurmdbd, munged, mariadbd, slurmd.NODE or node.NODE."""
        return self.logs / f"{daemon}.out"

    def log(self, daemon: str) -> Path:
        """The same with times, of slurmctld, slurmdbd or slurmd.NODE."""
        return self.logs / f"{daemon}.log"


def slurm_conf(layout: Layout, settings: Settings, ports: Ports, host: str) -> str:
    """The text of slurm.conf. host: this machine's name, under which slurmctld looks itself up.

    MinJobAge and what else is not named is SLURM's default (a job stays in memory 300 s after its end).
    """
    lines = [
        f"ClusterName={CLUSTER}",
        f"SlurmctldHost={host}({LOOPBACK})",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_socket},cred_expire={CREDENTIAL_LIFE_S}",
        f"SlurmctldPort={ports.slurmctld}",
        f"SlurmctldPidFile={layout.folder}/state/slurmctld.pid",
        f"SlurmctldLogFile={layout.log('slurmctld')}",
        f"StateSaveLocation={layout.controller_state}",
        f"SlurmdPidFile={layout.spool('%n')}/slurmd.pid",
        f"SlurmdLogFile={layout.log('slurmd.%n')}",
        f"SlurmdSpoolDir={layout.spool('%n')}",
        "MpiDefault=none",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SwitchType=switch/none",
        "ReturnToService=2",
        "SlurmdTimeout=20",
        "KillWait=10",
        "SlurmdParameters=config_overrides",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        f"DefMemPerCPU={settings.memory_mb // settings.slots}",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "JobRequeue=1",
        "MaxArraySize=1001",
        "MaxJobCount=50000",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=task=1",
        "JobAcctGatherParams=OverMemoryKill",
        *_accounting_lines(layout, settings, ports),
        *(["GresTypes=gpu"] if settings.gpus else []),
        *(_node_line(node, settings, ports) for node in settings.node_names),
        f"PartitionName=low Nodes={','.join(settings.node_names)} Default=YES PriorityTier=1 State=UP",
        f"PartitionName=high Nodes={','.join(settings.node_names)} Default=NO PriorityTier=10 State=UP",
        *settings.extra,
    ]
    return _text(lines)


def _accounting_lines(layout: Layout, settings: Settings, ports: Ports) -> list[str]:
    if not settings.accounting:
        return ["AccountingStorageType=accounting_storage/none"]
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        f"AccountingStorageHost={LOOPBACK}",
        f"AccountingStoragePort={ports.slurmdbd}",
        # A munge socket that is not the default one is named here too; AuthInfo is not asked.
        f"AccountingStoragePass={layout.munge_socket}",
        "AccountingStorageEnforce=associations,limits,qos",
    ]


def _node_line(node: str, settings: Settings, ports: Ports) -> str:
    gpus = f" Gres=gpu:{settings.gpus}" if settings.gpus else ""
    return (
        f"NodeName={node} NodeHostname={node} NodeAddr={LOOPBACK} Port={ports.slurmd[node]} "
        f"CPUs={settings.slots} RealMemory={settings.memory_mb}{gpus} State=UNKNOWN"
    )


def gres_conf(layout: Layout, settings: Settings) -> str:
    """The text of gres.conf. A GPU without a device file would not be counted."""
    devices = [layout.gpu(number) for number in range(settings.gpus)]
    return _text([f"NodeName={node} Name=gpu File={gpu}" for node in settings.node_names for gpu in devices])


def slurmdbd_conf(layout: Layout, ports: Ports, host: str, password: str) -> str:
    """The text of slurmdbd.conf, which slurmdbd reads only with mode 600. password: of MariaDB's user slurm."""
    return _text(
        [
            "AuthType=auth/munge",
            f"AuthInfo=socket={layout.munge_socket}",
            f"DbdHost={host}",
            f"DbdAddr={LOOPBACK}",
            f"DbdPort={ports.slurmdbd}",
            "SlurmUser=root",
            f"LogFile={layout.log('slurmdbd')}",
            f"PidFile={layout.folder}/state/slurmdbd.pid",
            "StorageType=accounting_storage/mysql",
            f"StorageHost={LOOPBACK}",
            f"StoragePort={ports.mariadb}",
            "StorageUser=slurm",
            f"StoragePass={password}",
            "StorageLoc=slurm_acct",
        ]
    )


def mariadb_init(password: str) -> str:
    """The SQL that MariaDB runs at each start: its user slurm, who may do anything with SLURM's database."""
    return _text(
        [
            "CREATE DATABASE IF NOT EXISTS slurm_acct;",
            f"CREATE OR REPLACE USER slurm@'{LOOPBACK}' IDENTIFIED BY '{password}';",
            f"GRANT ALL ON slurm_acct.* TO slurm@'{LOOPBACK}';",
        ]
    )


def mariadbd_command(layout: Layout, ports: Ports) -> list[str]:
    """The command line of MariaDB; --no-defaults: nothing of the machine's own configuration."""
    return [
        "mariadbd",
        "--no-defaults",
        "--user=root",
        f"--datadir={layout.mariadb_data}",
        f"--tmpdir={layout.mariadb_temporary}",
        f"--socket={layout.mariadb_socket}",
        f"--port={ports.mariadb}",
        f"--bind-address={LOOPBACK}",
        f"--pid-file={layout.folder}/mariadb/pid",
        f"--init-file={layout.mariadb_init}",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",
    ]


def munged_command(layout: Layout) -> list[str]:
    """The command line of munged. It runs as any user, root too; its key must be the owner's alone."""
    folder = layout.munge_key.parent
    return [
        "munged",
        "--foreground",
        f"--key-file={layout.munge_key}",
        f"--socket={layout.munge_socket}",
        f"--pid-file={folder}/pid",
        f"--seed-file={folder}/seed",
        f"--log-file={folder}/log",
    ]


def hosts(settings: Settings, host: str) -> str:
    """The text of /etc/hosts on a node: every node and this machine, on the loopback."""
    return _text([f"{LOOPBACK} localhost", *(f"{LOOPBACK} {name}" for name in (*settings.node_names, host))])


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
