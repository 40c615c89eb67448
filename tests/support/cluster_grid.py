"""A grid on the dev cluster: submitted by the real command line, run by tasks on fake stages, and checked at its end.

What a test may rely on is asked of those who know: of slurmctld for jobs, of the files of the store for stages.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from grid_world import HERE, ROOT, SLICE, Ran

from harness.files import folder_digest
from harness.planning.graph import Plan
from harness.store.attempts import OUTCOMES, Attempt
from harness.store.store import Store
from harness.store.submissions import task_name
from harness.studies.study import read_study
from slurm.devcluster.cluster import Cluster
from slurm.devcluster.daemons import ClusterFailed, wait_until

FAKE_STAGES = HERE / "fake_stages.py"
STUDY = SLICE.stem
PATIENCE_S = 60.0
COUNTS_SBATCH = """#!/bin/sh
echo "$@" >> {calls}
exec {sbatch} $MORE_FLAGS "$@"
"""
# What two runs of one stage never share.
OF_A_RUN = ("times", "provenance", "parent_digests", "digest")


@dataclass(frozen=True)
class QueuedJob:
    """A task of ours that slurmctld has not ended. job: "12_3"; task: its name in the store."""

    task: str
    job: str
    state: str
    reason: str


@dataclass
class ClusterGrid:
    """One grid in a world of its own. words: of the command line, without store and executor.

    settings: keys of the profile's [default], beside what is here, and further tables by their names.
    """

    cluster: Cluster
    folder: Path
    words: Sequence[str]
    settings: Mapping[str, object] = field(default_factory=dict)
    store_folder: Path | None = None
    _records: dict[Path, tuple[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin.mkdir(parents=True, exist_ok=True)
        sbatch = self.bin / "sbatch"
        sbatch.write_text(COUNTS_SBATCH.format(calls=shlex.quote(str(self._calls)), sbatch=_path_of("sbatch")))
        sbatch.chmod(0o755)
        self.act()
        self.write_profile()

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def _calls(self) -> Path:
        return self.folder / "sbatch-calls"

    @property
    def num_submissions(self) -> int:
        """How often sbatch was called so far."""
        return len(self._calls.read_text().splitlines()) if self._calls.exists() else 0

    @property
    def store(self) -> Store:
        return Store(self.store_folder or self.folder / "runs")

    @cached_property
    def plan(self) -> Plan:
        return read_study(self.store, STUDY).plan

    def id_of(self, label: str) -> str:
        """The stage with this label."""
        (found,) = (stage_id for stage_id in self.plan.stages if self.plan.label(stage_id) == label)
        return found

    # What tasks do

    @property
    def python(self) -> Path:
        return self.folder / "python"

    def act(self, *actions: str, environment: Mapping[str, str] | None = None) -> None:
        """How fake stages of tasks that start from now on behave: KEY=ACTION each, as in `fake_stages`."""
        command = shlex.join([sys.executable, "-P", str(FAKE_STAGES), *actions, "--task"])
        variables = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in (environment or {}).items())
        text = f'#!/bin/sh\n{variables}exec {command} "$@"\n'
        beside = self.python.with_suffix(".new")
        beside.write_text(text)
        beside.chmod(0o755)
        beside.replace(self.python)

    def write_profile(self, **settings: object) -> None:
        """settings: keys of [default], beside those of the grid and the least that a profile needs; tables by name."""
        least = {"time": 3, "signal_minutes": 1, "python": str(self.python)}
        given = {**least, **self.settings, **settings}
        tables = {"default": {key: value for key, value in given.items() if not isinstance(value, dict)}}
        tables.update({name: value for name, value in given.items() if isinstance(value, dict)})
        lines = [f"{key} = {json.dumps(value)}" for key, value in tables.pop("default").items()]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        self.profile.write_text("\n".join(["[default]", *lines, ""]))

    @property
    def profile(self) -> Path:
        return self.folder / "profile.toml"

    # The command line

    @property
    def environment(self) -> dict[str, str]:
        """Of a login node of this cluster."""
        return {
            **os.environ,
            **self.cluster.environment,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE))),
            "OMP_NUM_THREADS": "1",
        }

    def grid_words(self, *words: str, store: Path | None = None) -> list[str]:
        place = ["--store", str(store or self.store.root)]
        return ["grid", "--preset", str(SLICE), *self.words, *place, *words]

    def submission(self, *words: str, program: Sequence[str] = ("-m", "harness")) -> list[str]:
        """The command that submits. program: of Python, in place of the command line."""
        on_cluster = ["--executor", "slurm", "--profile", str(self.profile)]
        return [sys.executable, "-P", *program, *self.grid_words(*on_cluster, *words)]

    def grid(self, *words: str, code: int = 0, environment: Mapping[str, str] | None = None) -> Ran:
        """Submit: the one command of a user. code: with which it is to end."""
        ran = self._run(self.submission(*words), environment or {})
        assert ran.code == code, ran
        self.look()
        return ran

    def start_grid(self, *words: str) -> subprocess.Popen[str]:
        """The same, not waited for."""
        return subprocess.Popen(
            self.submission(*words), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def harness(self, *words: str) -> Ran:
        """Another verb of the command line, on this store."""
        command = [sys.executable, "-P", "-m", "harness", words[0], "--store", str(self.store.root), *words[1:]]
        return self._run(command, {})

    def status(self) -> dict[str, Any]:
        """`harness status --json`; every stage that failed is named in it, with the reason and a log that is there."""
        said = json.loads(self.harness("status", "--json").out)
        failed = {stage_id: last for stage_id in self.plan.stages if (last := self._failure(stage_id)) is not None}
        named = {each["id"]: each for each in (*said["failed"], *said["cancelled"])}
        assert named.keys() == failed.keys(), (named, failed)
        for stage_id, last in failed.items():
            assert named[stage_id]["message"] == last.message != ""
            assert Path(named[stage_id]["log"]).is_file()
        return said  # type: ignore[no-any-return]

    def states(self) -> dict[str, str]:
        """The state of every stage by its label, as status has them."""
        return {each["label"]: each["state"] for each in self.status()["stages"]}

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> Ran:
        done = subprocess.run(
            command, env={**self.environment, **environment}, capture_output=True, text=True, timeout=120, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    # The cluster

    def queue(self) -> list[QueuedJob]:
        """Our tasks that slurmctld has: they wait, run or are being ended."""
        ours = set(self._names())
        lines = self.cluster.run("squeue", "--noheader", "--array", "--format=%j|%F|%K|%T|%r").splitlines()
        found = [line.split("|") for line in lines]
        return [
            QueuedJob(task_name(name, int(index)), f"{array}_{index}", state, reason)
            for name, array, index, state, reason in found
            if name in ours
        ]

    def _names(self) -> Iterator[str]:
        """Of all submissions, those that were withdrawn or have no entry too."""
        for path in self.store.ledger.folder.glob("*.sh"):
            yield path.stem
        yield from self.store.ledger.uuids()

    def jobs(self) -> dict[str, str]:
        """Of all tasks of the ledger, by their names, SLURM's ids."""
        ledger = self.store.ledger
        return {
            submission.task(index): f"{ledger.job(submission.uuid)}_{index}"
            for submission in ledger.read_sound(ledger.uuids())
            for index in range(len(submission.tasks))
        }

    def job_of(self, stage_id: str) -> str:
        """SLURM's id of the task that was submitted last with a stage."""
        ledger = self.store.ledger
        entries = sorted(ledger.read_sound(ledger.uuids()), key=lambda entry: entry.created)
        homes = {stage: name for entry in entries for stage, name in entry.stages()}
        return self.jobs()[homes[stage_id]]

    def wait(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Until it is so. Whatever a requeue holds back meanwhile may start."""

        def is_so() -> bool:
            self.lift_holds()
            self.look()
            return condition()

        if not wait_until(is_so, patience_s, poll_s=0.25):
            raise AssertionError(f"not within {patience_s:g} s.\n{self.told()}")

    def lift_holds(self) -> None:
        with suppress(ClusterFailed):  # slurmctld may be stopped
            for each in self.queue():
                if each.state == "PENDING" and each.reason == "BeginTime" and self._is_held(each.job):
                    self.cluster.lift_hold(each.job)

    def _is_held(self, job: str) -> bool:
        """Whether it is to start later than one whose hold was lifted just now."""
        begins = datetime.fromisoformat(self.cluster.job(job)["EligibleTime"])
        return begins - datetime.now() > timedelta(seconds=3)

    def wait_until_empty(self, patience_s: float = PATIENCE_S) -> None:
        """Until nothing of ours is in the queue, and so nobody waits for anything."""
        self.wait(lambda: not self.queue(), patience_s)

    def wait_for_step(self, stage_id: str, step: int = 1) -> Attempt:
        """Until a stage runs and has a checkpoint at or after `step`; returns the attempt at it."""

        def is_there() -> bool:
            newest = self.store.stage(stage_id).newest_checkpoint()
            last = self.store.stage(stage_id).last_attempt()
            return last is not None and last.outcome is None and int(newest.rpartition("-")[2] or 0) >= step

        self.wait(is_there)
        return self.last(stage_id)

    def wait_for_start(self, stage_id: str, number: int = 1) -> Attempt:
        """Until an attempt has begun."""
        self.wait(lambda: len(self.store.stage(stage_id).attempts()) >= number)
        return self.last(stage_id)

    def last(self, stage_id: str) -> Attempt:
        last = self.store.stage(stage_id).last_attempt()
        assert last is not None
        return last

    def worker(self, attempt: Attempt) -> int:
        """The worker of an attempt: its process on this machine."""
        (pid,) = (each.pid for each in self.cluster.processes(attempt.host) if each.pid_there == attempt.process)
        return pid

    def driver(self, attempt: Attempt) -> int:
        """The task itself: the worker's parent."""
        return int(Path(f"/proc/{self.worker(attempt)}/stat").read_text().rpartition(")")[2].split()[1])

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    # The store

    def log(self, stage_id: str) -> str:
        """Of the last attempt."""
        return self.store.stage(stage_id).log_path(self.last(stage_id).number).read_text()

    def progress(self, stage_id: str) -> str:
        """What the last attempt said of how far it is; "": nothing yet."""
        path = self.store.stage(stage_id).progress_path(self.last(stage_id).number)
        return path.read_text() if path.exists() else ""

    def outcomes(self, stage_id: str) -> list[str | None]:
        return [attempt.outcome for attempt in self.store.stage(stage_id).attempts()]

    def look(self) -> None:
        """No record that was ever seen has changed or is gone."""
        now = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in self.store.root.glob("records/*/*.json")}
        changed = [path for path, content in self._records.items() if now.get(path) != content]
        assert not changed, f"a finished stage was done again: {changed}"
        self._records.update(now)

    def _failure(self, stage_id: str) -> Attempt | None:
        """The last attempt at a stage without a record, where it ended in an error."""
        stage = self.store.stage(stage_id)
        last = stage.last_attempt()
        if stage.has_record() or last is None or last.outcome is None or not OUTCOMES[last.outcome].is_failure:
            return None
        return last

    def told(self) -> str:
        """All that helps to see why a test failed."""
        lines = []
        with suppress(ClusterFailed):
            lines += [self.cluster.run("squeue", "--array"), self.cluster.run("sinfo", "-N")]
        for stage_id in self.plan.stages:
            attempts = self.store.stage(stage_id).attempts()
            lines.append(f"{self.plan.label(stage_id)} ({stage_id}): {self.store.stage(stage_id).has_record()}")
            lines += [f"    {attempt}" for attempt in attempts]
        for path in sorted(self.store.ledger.folder.glob("*.log")):
            lines += [f"-- {path.name}", path.read_text(errors="replace")]
        return "\n".join(lines)

    def records(self) -> dict[str, dict[str, Any]]:
        return records_of(self.store)

    # The end

    def check_end(self, undisturbed: Mapping[str, Any] | None, *, unfinished: int = 0) -> None:
        """What must hold after every fault, once nothing of the grid is queued or runs.

        undisturbed: the records of a run in peace. unfinished: stages that cannot be done.
        """
        self.look()
        assert self.queue() == []
        said = self.status()
        states = [each["state"] for each in said["stages"]]
        assert len(states) - states.count("done") == unfinished, (states, self.told())
        if not unfinished:
            assert said["cells"]["done"] == said["cells"]["total"]
            assert said["failed"] == said["cancelled"] == said["running"] == []
        for stage_id in self.plan.stages:
            self._check_stage(stage_id)
        found = self.records()
        if undisturbed is not None:
            assert found == {stage_id: record for stage_id, record in undisturbed.items() if stage_id in found}
        self._check_jobs()

    def _check_stage(self, stage_id: str) -> None:
        """Published once, by one attempt, and as its record says; or not at all."""
        stage = self.store.stage(stage_id)
        outcomes = self.outcomes(stage_id)
        if not stage.has_record():
            assert "done" not in outcomes
            assert not stage.artifact_path.exists()
            return
        assert outcomes.count("done") == 1, (stage_id, outcomes)
        record = stage.read_record()
        done = stage.attempts()[outcomes.index("done")]
        assert record["times"]["attempt"] == done.number
        assert folder_digest(stage.artifact_path) == record["artifact"]["digest"]
        assert not stage.checkpoints_path.exists()

    def _check_jobs(self) -> None:
        """slurmctld itself says that each task ran where its attempts say, and as often."""
        jobs = self.jobs()
        for stage_id in self.plan.stages:
            for attempt in self.store.stage(stage_id).attempts():
                if not attempt.allocation:
                    continue
                told = self.cluster.job(jobs[attempt.allocation])
                assert told["JobName"] == attempt.allocation.rpartition("_")[0]
                assert attempt.restart <= int(told["Restarts"])
                if attempt.restart == int(told["Restarts"]):
                    assert attempt.host in (told["BatchHost"], told["NodeList"]), (attempt, told)


def records_of(store: Store) -> dict[str, dict[str, Any]]:
    """The records of a store by stage, without what two runs never share."""
    found = {}
    for path in store.root.glob("records/*/*.json"):
        record = store.stage(path.stem).read_record()
        record["result"].get("training", {}).pop("seconds", None)
        found[path.stem] = {key: value for key, value in record.items() if key not in OF_A_RUN}
    return found


def run_in_peace(grid: ClusterGrid, store: Path, *actions: str) -> dict[str, dict[str, Any]]:
    """The records of the same grid in a process of this machine, without a cluster."""
    command = [sys.executable, "-P", str(FAKE_STAGES), *actions, "--"]
    command += grid.grid_words("--executor", "debug", store=store)
    done = subprocess.run(command, env=grid.environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return records_of(Store(store))


@cache
def _path_of(program: str) -> str:
    path = subprocess.run(["which", program], capture_output=True, text=True, check=True).stdout
    return re.sub(r"\s", "", path)
