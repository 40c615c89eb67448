"""logs: what attempts wrote, and following one that runs."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from grid_world import HERE, Ran, World, environment, of_kind

from harness.cli.commands import logs
from harness.stages.context import StageContext
from harness.store.processes import this_process
from harness.store.store import Store
from harness.studies.study import read_study

Run = Callable[[list[str]], Ran]


@pytest.fixture
def tried(run_harness: Run, world: World, fakes: ModuleType) -> str:
    """The dense stage of a study of two: failed in its first attempt, done in its second."""

    def fail(context: StageContext) -> None:
        logging.getLogger("harness").info("größer als 1")
        raise RuntimeError("weights exploded")

    grid = world.grid("--tasks", "sst2", "--methods", "dense")
    fakes.ACTIONS["dense"] = fail
    run_harness(grid)
    fakes.ACTIONS["dense"] = lambda context: logging.getLogger("harness").info("step 1 of 1")
    run_harness(grid)
    (stage_id,) = of_kind(read_study(Store(world.store), "slice").plan, "dense")
    return stage_id


def test_the_last_attempt_or_another_as_it_was_written(run_harness: Run, world: World, tried: str) -> None:
    store = Store(world.store)
    last = run_harness(world.reading("logs", tried))
    assert (last.code, last.out) == (0, store.stage(tried).log_path(2).read_text())
    assert "step 1 of 1" in last.out
    first = run_harness(world.reading("logs", tried[:6], "--attempt", "1"))
    assert first.out == "failed: RuntimeError: weights exploded\n" + store.stage(tried).log_path(1).read_text()
    assert "größer als 1" in first.out
    missing = run_harness(world.reading("logs", tried, "--attempt", "3"))
    assert (missing.code, missing.out) == (2, "")
    assert "no attempt 3 yet" in missing.err


def test_several_stages_have_a_heading_each(run_harness: Run, world: World, tried: str) -> None:
    done = run_harness(world.reading("logs", "task=sst2"))
    headings = [line for line in done.out.splitlines() if line.startswith("== ")]
    assert [heading.split()[1] for heading in headings] == ["dense", "evaluation"]
    assert headings[0].endswith(f"({tried}), attempt 2")
    some = run_harness(world.reading("logs", "task=sst2", "--attempt", "2"))
    assert some.code == 0
    assert some.err == "1 stage without such an attempt.\n"
    follow = run_harness(world.reading("logs", "task=sst2", "-f"))
    assert follow.code == 2
    assert "matches 2 stages; -f follows one" in follow.err


def test_following_ends_when_the_attempt_does(
    run_harness: Run, world: World, tried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.02)
    store = Store(world.store)
    lease = store.stage(tried).acquire_lease()
    assert lease is not None
    number = store.stage(tried).begin_attempt({"time": 1.0, **this_process()})
    log = store.stage(tried).log_path(number)

    def write() -> None:
        for line in ("one\n", "zw", "ö", "lf\n"):
            with log.open("a", encoding="utf-8") as handle:
                handle.write(line)
            time.sleep(0.05)
        store.stage(tried).end_attempt(number, {"time": 2.0, "outcome": "done"})

    writer = threading.Thread(target=write)
    writer.start()
    done = run_harness(world.reading("logs", tried, "-f"))
    writer.join()
    assert (done.code, done.out) == (0, "one\nzwölf\n")


def test_following_ends_when_nobody_is_left_to_end_the_attempt(run_harness: Run, world: World, tried: str) -> None:
    store = Store(world.store)
    number = store.stage(tried).begin_attempt({"time": 1.0})
    store.stage(tried).log_path(number).write_text("begun\n")
    assert run_harness(world.reading("logs", tried, "--follow")).out == "begun\n"


def test_a_stage_that_was_never_tried_has_no_log(run_harness: Run, world: World, fakes: ModuleType) -> None:
    def fail(context: StageContext) -> None:
        raise RuntimeError("no")

    fakes.ACTIONS["dense"] = fail
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    done = run_harness(world.reading("logs", "evaluation"))
    assert (done.code, done.out) == (2, "")
    assert "no attempt yet at what 'evaluation' matches (1 blocked)" in done.err


def test_headings_stand_above_their_logs_in_a_pipe(world: World, tried: str) -> None:
    command = [sys.executable, "-P", str(HERE / "fake_stages.py"), "--", *world.reading("logs", "task=sst2")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("== dense")
    assert "step 1 of 1" in lines[1]


def test_a_log_that_is_empty_is_said_to_be(run_harness: Run, world: World, tried: str) -> None:
    log = Store(world.store).stage(tried).last_log()
    assert log is not None
    log.write_bytes(b"")
    for more in ([], ["-f"]):
        done = run_harness(world.reading("logs", tried, *more))
        assert (done.code, done.err) == (0, f"the log of attempt 2 is empty ({log}).\n")
    log.unlink()
    assert run_harness(world.reading("logs", tried)).err == f"the log of attempt 2 is empty ({log}).\n"
