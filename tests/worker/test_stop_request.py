"""What a process learns from the signals that ask it to stop."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from grid_world import environment

from harness.errors import Interrupted, TimeLimit
from harness.worker.stop_request import StopRequest, reason_told

TERM, USR2 = signal.SIGTERM, signal.SIGUSR2


@pytest.mark.parametrize(
    ("signals", "is_time_limit", "message"),
    [
        ([], False, "stopped; the same command goes on."),
        ([TERM], False, "stopped by SIGTERM; the same command goes on."),
        ([signal.SIGINT, TERM], False, "stopped by SIGINT; the same command goes on."),
        ([USR2], True, "stopped by SIGUSR2, ahead of a time limit; the same command goes on."),
        ([TERM, USR2], True, "stopped by SIGUSR2, ahead of a time limit; the same command goes on."),
    ],
)
def test_a_time_limit_is_told_from_a_signal(signals: list[int], is_time_limit: bool, message: str) -> None:
    request = StopRequest()
    assert not request()
    for number in signals:
        request.ask(number)
    assert request() is bool(signals)
    error = request.interruption("stopped")
    assert (str(error), type(error)) == (message, TimeLimit if is_time_limit else Interrupted)
    assert request.signal == (USR2 if is_time_limit else TERM)
    with pytest.raises(Interrupted, match="^after step 7$") as told, reason_told(request):
        raise Interrupted("after step 7")
    assert type(told.value) is type(error)


def test_who_waits_is_woken_by_what_came_before_and_after() -> None:
    woken: list[str] = []
    request = StopRequest()
    request.wake(lambda: woken.append("early"))
    assert woken == []
    request.ask()
    request.wake(lambda: woken.append("late"))
    assert woken == ["early", "late"]


def test_a_worker_listens_before_it_imports_what_takes_time() -> None:
    """What is imported when `main` is called, beyond an interpreter's own start: two small modules of ours."""
    code = "import sys; import harness.worker.main; print(*(m for m in sys.modules if m.startswith('harness')))"
    found = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    ours = {"harness", "harness.errors", "harness.wording", "harness.worker"}
    assert set(found.stdout.split()) == ours | {"harness.worker.main", "harness.worker.stop_request"}
