"""kill -9 in the middle of a run of the real command line (on stages without torch), then the same command again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest
from grid_world import HERE, World, environment

from harness.store.store import Store
from harness.studies.activity import Activity
from harness.studies.state import read_states
from harness.studies.study import read_study

FAKE = [sys.executable, "-P", str(HERE / "fake_stages.py")]


def finished(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FAKE, "--", *command], env=environment(), capture_output=True, text=True, timeout=60)


@pytest.fixture
def slow_run(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """A grid of 14 stages, stopped in its first transfer, which never ends by itself."""
    command = [*FAKE, "transfer=sleep", "--", *world.grid("--tasks", "sst2")]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(world.store.glob("checkpoints/*/begun")):
        assert process.poll() is None, "ended before it came to the transfer"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def test_a_run_killed_at_any_moment_goes_on_with_the_same_command(
    slow_run: subprocess.Popen[bytes], world: World
) -> None:
    store = Store(world.store)
    study = read_study(store, "slice")
    (begun,) = (path.parent.name for path in world.store.glob("checkpoints/*/begun"))

    # While it runs, another process sees it running, and starts nothing.
    status = finished(world.reading("status"))
    assert status.returncode == 4
    assert f"({begun})" in next(line for line in status.stdout.splitlines() if line.startswith("running: transfer"))
    second = finished(world.grid("--tasks", "sst2"))
    assert "runs in another process" in second.stderr
    assert second.returncode != 0
    assert len(store.stage(begun).attempts()) == 1

    slow_run.send_signal(signal.SIGKILL)
    assert slow_run.wait(timeout=10) == -signal.SIGKILL
    done = {
        stage_id: store.stage(stage_id).record_path
        for stage_id in study.plan.stages
        if store.stage(stage_id).has_record()
    }
    assert done
    assert begun not in done
    before = {stage_id: (path.stat().st_mtime_ns, path.read_bytes()) for stage_id, path in done.items()}
    (attempt,) = store.stage(begun).attempts()
    assert attempt.outcome is None
    assert read_states(study.plan, store, Activity())[begun] == "pending"

    again = finished(world.grid("--tasks", "sst2"))
    assert again.returncode == 0, again.stderr
    assert f"{14 - len(done)} stages done, 0 failed" in again.stdout
    assert {stage_id: (path.stat().st_mtime_ns, path.read_bytes()) for stage_id, path in done.items()} == before
    assert all(len(store.stage(stage_id).attempts()) == 1 for stage_id in done)
    assert [attempt.outcome for attempt in store.stage(begun).attempts()] == [None, "done"]
    assert set(read_states(study.plan, store, Activity()).values()) == {"done"}
    assert not list((world.store / "checkpoints").iterdir())


@pytest.mark.parametrize("executor", ["debug", "local"])
def test_what_a_kill_just_after_the_record_left_is_closed_by_the_next_start(world: World, executor: str) -> None:
    grid = world.grid("--tasks", "sst2", "--methods", "dense")
    killed = subprocess.run(
        [*FAKE, "evaluation=die_recorded", "--", *grid], env=environment(), capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    store = Store(world.store)
    (end,) = (path.name for path in (world.store / "checkpoints").iterdir())
    assert store.stage(end).has_record()
    assert store.stage(end).attempts()[0].outcome is None
    again = finished([*grid, "--executor", executor])
    assert "0 stages done, 0 failed, 0 blocked" in again.stdout, again.stderr
    (attempt,) = store.stage(end).attempts()
    assert (attempt.outcome, attempt.ended) == ("done", store.stage(end).read_record()["times"]["ended"])
    assert not list((world.store / "checkpoints").iterdir())


def test_two_ctrl_c_stop_it_at_once_with_exit_code_130(slow_run: subprocess.Popen[bytes], world: World) -> None:
    os.kill(slow_run.pid, signal.SIGINT)
    time.sleep(0.1)
    os.kill(slow_run.pid, signal.SIGINT)
    assert slow_run.wait(timeout=10) == 130
    (begun,) = (path.parent.name for path in world.store.glob("checkpoints/*/begun"))
    assert Store(world.store).stage(begun).last_attempt().outcome == "interrupted"
