"""A dev cluster: start, stop, look, submit, and the faults that tests cause."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import Problem, UsageError
from slurm.devcluster import conf
from slurm.devcluster.conf import Layout, Ports, Settings
from slurm.devcluster.daemons import SYSTEM_PATH, ClusterFailed, Daemon, free_ports, output_of, wait_until
from slurm.devcluster.machine import problem_here, problem_of_folder
from slurm.devcluster.node import Node, Process

START_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Cluster:
    """A cluster in its folder, started by this process or by another.

    Every command is asked with `environment`; merge it into os.environ to use squeue or sbatch directly.
    """

    folder: Path

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.folder)

    @property
    def environment(self) -> dict[str, str]:
        """What names this cluster to SLURM's commands: SLURM_CONF."""
        return self.layout.environment

    @property
    def settings(self) -> Settings:
        """Of the last start."""
        fields = json.loads(self.layout.started.read_text())["settings"]
        return Settings(**{**fields, "extra": tuple(fields["extra"])})

    @property
    def nodes(self) -> dict[str, Node]:
        return {name: Node(name, self.layout) for name in self.settings.node_names}

    def _daemon(self, name: str) -> Daemon:
        return Daemon(name, self.layout.pids / name, self.layout.output(name))

    @property
    def daemons(self) -> list[Daemon]:
        """Everything that was started and is recorded, in the order in which it ends."""
        if not self.layout.started.exists():
            return []
        nodes = [each for node in self.nodes.values() for each in (node.slurmd, node.namespace)]
        return [*nodes, *map(self._daemon, ("slurmctld", "slurmdbd", "mariadbd", "munged"))]

    @property
    def status(self) -> dict[str, bool]:
        """Whether it runs, by the daemon's name; {} where no cluster was ever started."""
        without = () if not self.layout.started.exists() or self.settings.accounting else ("slurmdbd", "mariadbd")
        return {daemon.name: daemon.lives for daemon in self.daemons if daemon.name not in without}

    def stop(self) -> None:
        """End all that was started here, jobs on the nodes included, and nothing else. Nothing runs: nothing happens.

        The folder stays as it is; a later start goes on with its job ids and its accounts.
        """
        if self.layout.started.exists():
            with _locked(self.layout):
                self._end_all()

    def _end_all(self) -> None:
        if not self.layout.started.exists():
            return
        for node in self.nodes.values():
            node.crash()
        for daemon in self.daemons:
            daemon.end()

    # Commands

    def run(self, *command: str, user: str | None = None, stdin: str | None = None) -> str:
        """Run a command that asks this cluster and return what it printed, as root or as another user.

        In the folder /. Raises ClusterFailed with what it said, where it fails.
        """
        return output_of(command, self.environment, user=user, stdin=stdin)

    def sbatch(self, script: str, *options: str, user: str | None = None) -> int:
        """Submit lines of bash and return the job's id. Output goes nowhere, unless the options say where."""
        submit = ("sbatch", "--parsable", "--output=/dev/null", *options)
        return int(self.run(*submit, user=user, stdin=f"#!/bin/bash\n{script}\n").partition(";")[0])

    def job(self, job: int | str) -> dict[str, str]:
        """All that slurmctld knows of a job or of one task of an array ("12_3"), by scontrol's names."""
        return _fields(self.run("scontrol", "--oneliner", "show", "job", str(job)).splitlines()[0])

    def state(self, job: int | str) -> str:
        """PENDING, RUNNING, COMPLETED, .. as slurmctld says it."""
        return self.job(job)["JobState"]

    def wait_for(self, job: int | str, *states: str, patience_s: float = 60.0) -> str:
        """Wait until the job is in one of these states and return it. Raises ClusterFailed with the job as it is."""
        seen: list[str] = []

        def arrived() -> bool:
            seen.append(self.state(job))
            return seen[-1] in states

        if not wait_until(arrived, patience_s, poll_s=0.1):
            raise ClusterFailed(f"Job {job} is not {' or '.join(states)} after {patience_s:.0f} s: {self.job(job)}")
        return seen[-1]

    def cancel_all(self) -> None:
        """Cancel every job of every user and return when none is left on a node."""
        left = sorted(set(self.run("squeue", "--noheader", "--format=%F").split()))  # %F: an array's id
        if left:
            self.run("scancel", "--quiet", *left)
        if not wait_until(lambda: not self.run("squeue", "--noheader").strip(), 60, poll_s=0.1):
            raise ClusterFailed(f"Jobs do not end:\n{self.run('squeue')}")

    def lift_hold(self, job: int | str) -> None:
        """End the hold of a requeued job, which otherwise lasts until its credential has expired.

        Waits for its old processes to end before, since their end begins the hold anew; and it starts two seconds later
        at the earliest, since a node takes no credential that is not newer, by the second, than the former one's end.
        """
        self.wait_for(job, "PENDING")
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now+2")

    def set_limit(self, limit: str, value: int | None, *, user: str = "root") -> None:
        """Set a limit of a user's association (MaxSubmitJobs, MaxJobs, ..). None: no limit."""
        self._sacctmgr("modify", "user", user, "set", f"{limit}={-1 if value is None else value}")

    def set_qos_limit(self, limit: str, value: int | None, *, qos: str = "normal") -> None:
        """Set a limit of a QOS (MaxSubmitJobsPerUser, GrpSubmitJobs, ..). None: no limit."""
        self._sacctmgr("modify", "qos", qos, "set", f"{limit}={-1 if value is None else value}")

    def _sacctmgr(self, *words: str) -> str:
        return self.run("sacctmgr", "--immediate", "--noheader", "--parsable2", *words)

    # Faults

    def crash_node(self, name: str) -> None:
        """Cut a node's power: everything on it dies at once. slurmctld notices after SlurmdTimeout, 20 s."""
        self._node(name).crash()

    def restart_node(self, name: str) -> None:
        """Start a node again, crashed or not, and wait until it takes jobs."""
        node = self._node(name)
        node.crash()
        node.start_namespace()
        node.wait_for_namespace()
        self.start_slurmd(name)

    def kill_slurmd(self, name: str) -> None:
        """kill -9 of slurmd alone: what runs on the node lives on."""
        self._node(name).kill_slurmd()

    def start_slurmd(self, name: str) -> None:
        """Start slurmd on a node that has none, and wait until the node takes jobs."""
        self._begin_slurmd(name)()

    def _begin_slurmd(self, name: str) -> Callable[[], None]:
        """Start slurmd and return what waits until slurmctld has heard of this start and gives the node jobs."""
        node, began = self._node(name), time.strftime("%Y-%m-%dT%H:%M:%S")
        node.start_slurmd()

        def wait() -> None:
            try:
                self._wait(node.slurmd, lambda: self._takes_jobs(name, since=began))
            except ClusterFailed as error:
                told = "".join(f" {key}={self._of_node(name).get(key, '')}" for key in ("State", "Reason"))
                raise ClusterFailed(f"{error}\nslurmctld says of {name}:{told}") from None

        return wait

    def _of_node(self, name: str) -> dict[str, str]:
        """What slurmctld knows of a node; {} where it does not answer."""
        with suppress(ClusterFailed):
            return _fields(self.run("scontrol", "--oneliner", "show", "node", name))
        return {}

    def set_down(self, name: str) -> None:
        """An administrator's word that the node is down: its jobs are requeued, whatever still runs on it."""
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def resume(self, name: str) -> None:
        """An administrator's word that the node is well again."""
        self.run("scontrol", "update", f"NodeName={name}", "State=RESUME")

    def mend(self) -> None:
        """Start again what a fault ended, nodes set down included, and wait until every node takes jobs."""
        for name, start_again in (("slurmdbd", self.start_slurmdbd), ("slurmctld", self.start_slurmctld)):
            if self.status.get(name) is False:
                start_again()
        for name, node in self.nodes.items():
            if not node.namespace.lives:
                self.restart_node(name)
            elif not node.slurmd.lives:
                self.start_slurmd(name)
        for name in self.nodes:
            self._make_take_jobs(name)

    def _make_take_jobs(self, node: str) -> None:
        """Resume a node that is down; wait for one of which a slurmctld just started has not heard yet."""
        if {"DOWN", "DRAIN"} & set(self._of_node(node).get("State", "").split("+")):
            self.resume(node)
        if not wait_until(lambda: self._takes_jobs(node), START_PATIENCE_S, poll_s=0.1):
            raise ClusterFailed(f"Node {node} takes no jobs: {self._of_node(node)}")

    def stop_slurmctld(self) -> None:
        self._daemon("slurmctld").end()

    def start_slurmctld(self) -> None:
        """Start slurmctld and wait until it answers."""
        daemon = self._daemon("slurmctld")
        _must_not_run(daemon)
        daemon.start(["slurmctld", "-D"], self.environment)
        self._wait(daemon, lambda: self._answers("scontrol", "ping"))

    def restart_slurmctld(self) -> None:
        self.stop_slurmctld()
        self.start_slurmctld()

    def stop_slurmdbd(self) -> None:
        self._daemon("slurmdbd").end()

    def start_slurmdbd(self) -> None:
        """Start slurmdbd and wait until it answers."""
        daemon = self._daemon("slurmdbd")
        _must_not_run(daemon)
        daemon.start(["slurmdbd", "-D"], self.environment)
        self._wait(daemon, lambda: self._answers("sacctmgr", "--noheader", "list", "cluster"))

    def on_node(self, name: str, *command: str) -> str:
        """Run a command on a node, as root, and return what it printed. Raises CalledProcessError."""
        return self._node(name).run(*command)

    def processes(self, name: str) -> list[Process]:
        """All that runs on a node; [] after its crash."""
        return self._node(name).processes()

    def _node(self, name: str) -> Node:
        if name not in self.nodes:
            raise UsageError(Problem(f"No node is called {name!r}. Nodes: {', '.join(self.nodes)}"))
        return self.nodes[name]

    # Waiting for daemons

    def _wait(self, daemon: Daemon, is_ready: Callable[[], bool]) -> None:
        """Ask until the daemon is ready. Raises ClusterFailed with the tail of its log, at once where it ended."""
        ready = wait_until(lambda: not daemon.lives or is_ready(), START_PATIENCE_S) and daemon.lives
        if not ready:
            found = f"was not ready within {START_PATIENCE_S:.0f} s" if daemon.lives else "ended"
            raise ClusterFailed(f"{daemon.name} {found}. The end of {daemon.output}:\n{daemon.tail()}")

    def _answers(self, *command: str) -> bool:
        with suppress(ClusterFailed):
            self.run(*command)
            return True
        return False

    def _takes_jobs(self, node: str, since: str = "") -> bool:
        """Whether slurmctld has heard of a start of its slurmd not before `since`, and it answers."""
        told = self._of_node(node)
        state = told.get("State", "").split("+")
        well = state[0] in ("IDLE", "MIXED", "ALLOCATED") and not {"DRAIN", "NOT_RESPONDING"} & set(state)
        return well and told.get("SlurmdStartTime", "") >= since


def start(folder: Path, settings: Settings | None = None) -> Cluster:
    """Start a cluster in this folder, made where it is missing, and return when every node takes jobs.

    In a folder whose cluster was stopped it goes on with that one's job ids and accounts. Raises UsageError where this
    machine or folder cannot have one or has one that runs; ClusterFailed, with the end of the log that says why, where
    a part does not come up: then all that was started has been ended.
    """
    settings = settings or Settings()
    problem = problem_here(settings.accounting)
    if problem is not None:
        raise UsageError(problem)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    problem = problem_of_folder(folder)
    if problem is not None:
        raise UsageError(problem)
    cluster = Cluster(folder)
    with _locked(cluster.layout):
        if any(cluster.status.values()):
            raise UsageError(
                Problem(
                    f"A cluster runs in {folder} already",
                    next_move=f"Use it, or stop it: python -m slurm.devcluster stop {folder}",
                )
            )
        try:
            _start(cluster, settings)
        except BaseException:
            cluster._end_all()
            raise
    return cluster


@contextmanager
def temporary(settings: Settings | None = None) -> Iterator[Cluster]:
    """A cluster in a folder of its own, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="devcluster-"))
    folder.chmod(0o755)
    try:
        cluster = start(folder, settings)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(cluster: Cluster, settings: Settings) -> None:
    layout = cluster.layout
    ports = _write_files(layout, settings)
    for node in cluster.nodes.values():
        node.start_namespace()
    munged = cluster._daemon("munged")
    layout.munge_socket.unlink(missing_ok=True)
    munged.start(conf.munged_command(layout), {})
    if settings.accounting:
        _start_mariadb(cluster, ports)
    cluster._wait(munged, layout.munge_socket.exists)
    if settings.accounting:
        cluster.start_slurmdbd()
        _make_accounts(cluster)
    for node in cluster.nodes.values():
        node.wait_for_namespace()
    until_they_take_jobs = [cluster._begin_slurmd(name) for name in cluster.nodes]
    cluster.start_slurmctld()
    for wait in until_they_take_jobs:
        wait()


def _write_files(layout: Layout, settings: Settings) -> Ports:
    slurmctld, slurmdbd, mariadb, *rest = free_ports(3 + settings.nodes)
    ports = Ports(
        slurmctld=slurmctld,
        slurmdbd=slurmdbd,
        mariadb=mariadb,
        slurmd=dict(zip(settings.node_names, rest, strict=True)),
    )
    host = socket.gethostname().partition(".")[0]
    for path in (layout.logs, layout.pids, layout.controller_state, *map(layout.spool, settings.node_names)):
        path.mkdir(parents=True, exist_ok=True)
    layout.munge_key.parent.mkdir(exist_ok=True)
    if not layout.munge_key.exists():
        _write(layout.munge_key, secrets.token_hex(64), mode=0o600)
    _write(layout.hosts, conf.hosts(settings, host))
    _write(layout.gres_conf, conf.gres_conf(layout, settings))
    for gpu in map(layout.gpu, range(settings.gpus)):
        gpu.parent.mkdir(exist_ok=True)
        gpu.touch()
    _write(layout.slurm_conf, conf.slurm_conf(layout, settings, ports, host))
    if settings.accounting:
        password = secrets.token_hex(16)
        layout.mariadb_init.parent.mkdir(exist_ok=True)
        _write(layout.mariadb_init, conf.mariadb_init(password), mode=0o600)
        _write(layout.slurmdbd_conf, conf.slurmdbd_conf(layout, ports, host, password), mode=0o600)
    _write(layout.started, json.dumps({"settings": dataclasses.asdict(settings), "ports": dataclasses.asdict(ports)}))
    return ports


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text)


def _start_mariadb(cluster: Cluster, ports: Ports) -> None:
    layout, daemon = cluster.layout, cluster._daemon("mariadbd")
    layout.mariadb_temporary.mkdir(parents=True, exist_ok=True)
    if not layout.mariadb_data.exists():
        install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={layout.mariadb_data}"]
        made = subprocess.run(
            [*install, "--skip-test-db", "--skip-name-resolve"],
            env={"PATH": SYSTEM_PATH, "TMPDIR": str(layout.mariadb_temporary)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if made.returncode != 0:
            raise ClusterFailed(f"mariadb-install-db ended with {made.returncode}:\n{made.stdout}{made.stderr}")
    daemon.start(conf.mariadbd_command(layout, ports), {})
    cluster._wait(daemon, lambda: _listens(ports.mariadb))


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((conf.LOOPBACK, port)) == 0


def _make_accounts(cluster: Cluster) -> None:
    """The cluster, an account and its users, where slurmdbd does not know them yet."""
    if conf.CLUSTER in cluster._sacctmgr("list", "cluster", "format=cluster").split():
        return
    cluster._sacctmgr("add", "cluster", conf.CLUSTER)
    cluster._sacctmgr("add", "account", conf.ACCOUNT, "Description=test", "Organization=test")
    cluster._sacctmgr("add", "user", f"root,{conf.OTHER_USER}", f"account={conf.ACCOUNT}")


def _fields(line: str) -> dict[str, str]:
    """A line of scontrol by name: NAME=VALUE words, and words without = that go on with the value before them."""
    found: dict[str, str] = {}
    name = ""
    for word in line.split():
        before, equals, value = word.partition("=")
        name = before if equals else name
        found[name] = value if equals else f"{found.get(name, '')} {word}"
    return found


def _must_not_run(daemon: Daemon) -> None:
    if daemon.lives:
        raise ClusterFailed(f"{daemon.name} runs already.")


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """One start or stop at a time in a folder."""
    with layout.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
