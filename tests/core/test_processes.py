import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from core_world import plan

from harness.processes import is_alive, local_snapshot, process_start, this_process
from harness.store import Attempt, Store


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def attempt_of(**changed: object) -> Attempt:
    return Attempt(
        **{"number": 1, "started": 1.0, "ended": None, "outcome": None, "message": "", **this_process(), **changed}
    )


def test_this_process_is_alive() -> None:
    assert is_alive(attempt_of())


@pytest.mark.parametrize(
    "changed",
    [
        {"outcome": "done"},
        {"outcome": "code"},
        {"host": "another-host"},
        {"process_started": "another boot:1"},  # the id was given to a new process
        {"process_started": ""},
        {"process": 0, "process_started": ""},
    ],
)
def test_what_ended_or_is_not_that_process_is_not_alive(changed: dict[str, object]) -> None:
    assert not is_alive(attempt_of(**changed))


def test_a_killed_process_is_not_alive_even_before_it_is_waited_for(sleeper: subprocess.Popen[bytes]) -> None:
    attempt = attempt_of(process=sleeper.pid, process_started=process_start(sleeper.pid))
    assert is_alive(attempt)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, not reaped: a zombie
    assert not is_alive(attempt)
    sleeper.wait()
    assert process_start(sleeper.pid) == ""
    assert not is_alive(attempt)


def test_two_processes_tell_apart(sleeper: subprocess.Popen[bytes]) -> None:
    assert process_start(sleeper.pid) != ""
    assert process_start(os.getpid()) == this_process()["process_started"]
    assert process_start(sleeper.pid) != process_start(os.getpid())


def test_the_snapshot_holds_stages_with_a_live_last_attempt(store: Store) -> None:
    planned = plan(methods=["dense"], tasks=["sst2"])
    dense, evaluation = planned.stages
    assert not local_snapshot(planned, store).running
    store.begin_attempt(dense, {"time": 1.0, **this_process()})
    store.begin_attempt(evaluation, {"time": 1.0, **this_process(), "host": "another-host"})
    assert set(local_snapshot(planned, store).running) == {dense}
    store.publish_record({"stage_id": dense})
    assert not local_snapshot(planned, store).running
