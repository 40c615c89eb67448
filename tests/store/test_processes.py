import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from grid_world import environment, gone_process, plan

from harness.store import processes
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
