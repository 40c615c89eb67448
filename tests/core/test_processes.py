import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from core_world import plan

from harness.leases import Holder, acquire
from harness.processes import is_gone, local_snapshot, process_start, this_process
from harness.store import Store


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
    assert is_gone(holder_of(process_started="another boot:1"))


@pytest.mark.parametrize("changed", [{"host": "another-host"}, {"process_started": ""}, {"host": None}])
def test_of_what_runs_elsewhere_nothing_is_known(changed: dict[str, object]) -> None:
    assert not is_gone(holder_of(**changed))


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
    assert not local_snapshot(planned, store).running
    lease = acquire(store.lease_path(dense), this_process(), is_gone)
    assert lease is not None
    acquire(store.lease_path(evaluation), {**this_process(), "process_started": "gone"}, is_gone)
    assert set(local_snapshot(planned, store).running) == {dense}
    lease.release()
    assert not local_snapshot(planned, store).running


def test_a_finished_stage_is_not_running_whatever_its_lease_says(store: Store) -> None:
    planned = plan(methods=["dense"], tasks=["sst2"])
    dense = next(iter(planned.stages))
    acquire(store.lease_path(dense), this_process(), is_gone)
    store.publish_record({"stage_id": dense})
    assert not local_snapshot(planned, store).running
