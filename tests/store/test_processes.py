import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from grid_world import environment, gone_process, plan
from stub_cluster import StubCluster

from harness.store import processes, squeue
from harness.store.leases import Holder, acquire, current_holder
from harness.store.processes import FIRST_PID_NAMESPACE, is_gone, process_start, this_process
from harness.store.store import Store
from harness.studies.activity import read_activity


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def holder_of(**changed: object) -> Holder:
    return Holder(generation=1, owner={**this_process(), **changed}, beats=0, released=False)


def test_this_process_is_not_gone() -> None:
    assert not is_gone(holder_of())


def test_an_id_that_was_given_to_a_new_process_is_not_the_holder() -> None:
    assert is_gone(Holder(1, gone_process(), 0, released=False))


@pytest.mark.parametrize("changed", [{"host": "another-host"}, {"process_started": ""}, {"host": None}])
def test_of_what_runs_elsewhere_nothing_is_known(changed: dict[str, object]) -> None:
    assert not is_gone(holder_of(**changed))


HERE = {"host": "h", "machine": "m", "pid_namespace": FIRST_PID_NAMESPACE, "process": 7, "process_started": "boot:5"}
CONTAINER = {**HERE, "pid_namespace": 4026532179, "process_started": "boot:6"}


@pytest.mark.parametrize(
    ("here", "owner", "gone"),
    [
        pytest.param(HERE, {**HERE, "process_started": "boot:4"}, True, id="its id is another process's"),
        pytest.param(HERE, HERE, False, id="it lives"),
        pytest.param(HERE, CONTAINER, False, id="it is in a container that has this host's name"),
        pytest.param(CONTAINER, {**HERE, "process_started": "boot:4"}, False, id="it is outside of our container"),
        pytest.param(CONTAINER, {**CONTAINER, "process_started": "boot:4"}, True, id="it was in our container"),
        pytest.param(HERE, {**HERE, "process_started": "old:9"}, True, id="it was there before this machine's boot"),
        pytest.param(HERE, {**HERE, "process_started": "x:9", "machine": "n"}, False, id="a machine of equal name"),
        pytest.param(
            {**HERE, "machine": ""}, {**HERE, "process_started": "x:9", "machine": ""}, False, id="machines unknown"
        ),
        pytest.param(CONTAINER, {**CONTAINER, "process_started": "x:9"}, False, id="equal names on two machines"),
        pytest.param(
            {**HERE, "pid_namespace": 0},
            {**HERE, "pid_namespace": 0, "process_started": "boot:4"},
            False,
            id="namespaces unknown",
        ),
        pytest.param(
            HERE,
            {"host": "h", "process": 7, "process_started": "boot:4"},
            True,
            id="written by an earlier version: dead",
        ),
        pytest.param(HERE, {"host": "h", "process": 7, "process_started": "boot:5"}, False, id="the same: alive"),
    ],
)
def test_who_is_gone(
    here: dict[str, object], owner: dict[str, object], gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In all of these our /proc has one process, number 7, with our own start."""
    monkeypatch.setattr(processes, "this_process", lambda: here)
    monkeypatch.setattr(processes, "process_start", lambda number: here["process_started"] if number == 7 else "")
    assert is_gone(Holder(1, owner, 0, released=False)) is gone


def test_a_holder_in_another_pid_namespace_keeps_its_lease(tmp_path: Path) -> None:
    """As in a container of the same host name: its process id is no process, or another one, in our /proc."""
    unshare = shutil.which("unshare")
    inside = [unshare or "", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if unshare is None or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace of processes can be made here")
    take = (
        "import sys, pathlib, harness.store.leases as leases, harness.store.processes as processes\n"
        "lease = leases.acquire(pathlib.Path(sys.argv[1]), processes.this_process(), processes.is_gone)\n"
        "print(lease.generation, flush=True); sys.stdin.read()"
    )
    command = [*inside, sys.executable, "-P", "-c", take, str(tmp_path / "s")]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        holder = current_holder(tmp_path / "s")
        assert holder is not None
        assert process_start(int(holder.owner["process"])) != holder.owner["process_started"]
        assert acquire(tmp_path / "s", this_process(), is_gone) is None
        process.kill()


def test_a_killed_process_is_gone_even_before_it_is_waited_for(sleeper: subprocess.Popen[bytes]) -> None:
    holder = holder_of(process=sleeper.pid, process_started=process_start(sleeper.pid))
    assert not is_gone(holder)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, not reaped: a zombie
    assert is_gone(holder)
    sleeper.wait()
    assert process_start(sleeper.pid) == ""
    assert is_gone(holder)


def test_two_processes_tell_apart(sleeper: subprocess.Popen[bytes]) -> None:
    assert process_start(sleeper.pid) != ""
    assert process_start(os.getpid()) == this_process()["process_started"]
    assert process_start(sleeper.pid) != process_start(os.getpid())


def test_the_snapshot_holds_stages_whose_lease_is_held(store: Store) -> None:
    planned = plan(methods=["dense"], tasks=["sst2"])
    dense, evaluation = planned.stages
    assert not read_activity(planned, store).running
    lease = store.stage(dense).acquire_lease()
    assert lease is not None
    acquire(store.stage(evaluation).lease_path, gone_process(), is_gone)
    assert set(read_activity(planned, store).running) == {dense}
    lease.release()
    assert not read_activity(planned, store).running


def test_a_finished_stage_is_not_running_whatever_its_lease_says(store: Store) -> None:
    planned = plan(methods=["dense"], tasks=["sst2"])
    dense = next(iter(planned.stages))
    store.stage(dense).acquire_lease()
    store.stage(dense).publish_record({})
    assert not read_activity(planned, store).running


def test_an_owner_that_says_too_little_is_not_known_to_be_gone() -> None:
    here = this_process()
    for missing in ("host", "process", "process_started", "pid_namespace", "machine"):
        owner = {key: value for key, value in here.items() if key != missing}
        assert not is_gone(Holder(1, owner, 0, False)), missing
    for owner in ({**here, "process": "x"}, {**here, "process": None}, {}):
        assert not is_gone(Holder(1, owner, 0, False))


# -- tasks of a cluster

TASK = "a" * 32 + "_3"


@pytest.fixture
def in_task(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, object]]:
    """in_task(restart) -> the identity of this process within the task."""

    def enter(restart: int, task: str = TASK) -> dict[str, object]:
        monkeypatch.setenv(processes.ALLOCATION, task)
        monkeypatch.setenv("SLURM_CLUSTER_NAME", "stub")
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart)) if restart else None
        return dict(this_process())

    return enter


def elsewhere(owner: dict[str, object]) -> Holder:
    """A holder of that task on another node."""
    node = {"host": "n1", "pid_namespace": 7, "process": 1, "process_started": "boot:1"}
    return Holder(1, {**owner, **node}, 0, released=False)


def test_a_process_in_a_task_says_which_and_its_restart(in_task: Callable[..., dict[str, object]]) -> None:
    assert "allocation" not in this_process()
    first = in_task(0)
    assert (first["allocation"], first["restart"], first["cluster"], first["user"]) == (TASK, 0, "stub", os.getuid())
    assert in_task(2)["restart"] == 2


def test_within_a_task_only_its_own_earlier_starts_are_gone_and_nobody_is_asked(
    in_task: Callable[..., dict[str, object]], stub: StubCluster
) -> None:
    earlier, other = elsewhere(in_task(0)), elsewhere(in_task(0, "b" * 32 + "_0"))
    now = in_task(1)
    assert is_gone(earlier)
    assert not is_gone(elsewhere(now))
    assert not is_gone(other)
    assert not stub.calls("squeue")


@pytest.mark.parametrize(
    ("queued", "gone"),
    [
        ({}, False),
        ({"state": "R", "restarts": 0}, False),
        ({"state": "CG", "restarts": 0}, False),
        ({"state": "R", "restarts": 1}, True),
        ({"state": "PD", "restarts": 1}, True),
        (None, True),
    ],
)
def test_on_a_login_node_the_queue_says_whose_task_is_over(
    in_task: Callable[..., dict[str, object]],
    stub: StubCluster,
    monkeypatch: pytest.MonkeyPatch,
    queued: dict[str, object] | None,
    gone: bool,
) -> None:
    """None: the task is not in the queue any more."""
    owner = in_task(0)
    monkeypatch.delenv(processes.ALLOCATION)
    task = {"name": "a" * 32, "job": "7", "index": 3, "state": "R", "reason": "None", "restarts": 0}
    stub.set(tasks=[] if queued is None else [{**task, **queued}])
    assert is_gone(elsewhere(owner)) is gone
    assert not is_gone(elsewhere({**owner, "user": os.getuid() + 1})), "squeue may hide others' tasks"
    assert not is_gone(elsewhere({**owner, "cluster": "another"}))


def test_a_task_that_started_after_the_question_is_not_gone(
    in_task: Callable[..., dict[str, object]], stub: StubCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer from before the holder was seen says nothing about it: the queue is asked again, once."""
    owner = in_task(0)
    monkeypatch.delenv(processes.ALLOCATION)
    assert squeue.THE_QUEUE.queue().tasks == {}
    stub.set(tasks=[{"name": "a" * 32, "job": "7", "index": 3, "state": "R", "reason": "None", "restarts": 0}])
    held = elsewhere(owner)
    assert not is_gone(held)
    assert not is_gone(held)
    assert len(stub.calls("squeue")) == 2


def test_where_the_queue_does_not_answer_nobody_is_gone(
    in_task: Callable[..., dict[str, object]], stub: StubCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = in_task(0)
    monkeypatch.delenv(processes.ALLOCATION)
    monkeypatch.setattr(squeue.ask_squeue, "__defaults__", ((), 0.2))
    stub.set(silent=["squeue"])
    assert not is_gone(elsewhere(owner))


def test_other_jobs_in_the_queue_are_passed_over() -> None:
    def line(*values: object) -> str:
        widths = squeue._COLUMNS.values()
        return "".join(str(value)[:width].ljust(width) for value, width in zip(values, widths, strict=True))

    name = "c" * 32
    text = "\n".join(
        [
            line(name, 12, 0, "PD", 0, "Dependency"),
            line("interactive", 13, "N/A", "R", 0, "None"),
            line(name, 12, 1, "R", 2, "None"),
            "a line that squeue never prints",
        ]
    )
    assert squeue.parse_squeue(text) == {
        f"{name}_0": squeue.QueuedTask("12_0", "PD", "Dependency", 0),
        f"{name}_1": squeue.QueuedTask("12_1", "R", "None", 2),
    }


def test_of_many_tasks_seen_before_the_question_one_question_tells(
    in_task: Callable[..., dict[str, object]], stub: StubCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when their holders are read again, after it; not of one that was seen for the first time after it."""
    owners = [in_task(0, f"{'b' * 32}_{index}") for index in range(20)]
    monkeypatch.delenv(processes.ALLOCATION)
    for _ in range(3):
        holders = [elsewhere(owner) for owner in owners]
        assert all(map(is_gone, holders))
    assert len(stub.calls("squeue")) == 1
    new = elsewhere({**owners[0], "restart": 1})
    stub.set(tasks=[{"name": "b" * 32, "job": "7", "index": 0, "state": "R", "reason": "None", "restarts": 1}])
    assert not is_gone(new)
    assert len(stub.calls("squeue")) == 2
