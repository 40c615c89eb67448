"""A disk that is full or may not be written: a clear reason, nothing lost or half-written, the next start goes on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from grid_world import HERE, ROOT, Ran, World, environment, files_below, gone_process, plan

from harness import files
from harness.errors import is_disk_full, system_problem
from harness.execution.driver import Driver
from harness.execution.local import LocalScheduler
from harness.files import folder_digest
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import FolderData
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources
from harness.store import stage
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.studies.study import read_study
from harness.studies.verification import verified_records
from harness.worker import run as worker
from harness.worker.run import first_line, outcome_of

Run = Callable[[Sequence[str]], Ran]
SMALL = ("--methods", "dense", "--tasks", "sst2")  # two stages: dense and its evaluation


def refusal(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Disk:
    """Counts what makes files durable or gives them their names, and refuses from the n-th on (or the n-th alone)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.full_from: int | None = None
        self.only_once = False
        for name in ("fsync", "link", "rename", "mkdir"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any, **options: Any) -> Any:
            self.calls += 1
            if self.full_from is not None:
                hit = self.calls == self.full_from if self.only_once else self.calls >= self.full_from
                if hit:
                    raise refusal(errno.ENOSPC)
            return call(*words, **options)

        return counted

    def fill(self, full_from: int | None, *, only_once: bool = False) -> None:
        self.calls, self.full_from, self.only_once = 0, full_from, only_once


def assert_whole(world: World) -> None:
    """Every record exists and is valid, every artifact is the one its record describes, nothing is half-written."""
    store = Store(world.store)
    planned = read_study(store, "slice").plan
    records = verified_records(planned, store)
    assert records.keys() == planned.stages.keys()
    for stage_id, record in records.items():
        assert folder_digest(store.stage(stage_id).artifact_path) == record["artifact"]["digest"]
    assert not [path for path in world.store.rglob(".*") if path.parent.name != "leases"]


@pytest.mark.parametrize("only_once", [False, True], ids=["from then on", "once"])
def test_a_disk_that_fills_at_any_moment_costs_no_result(
    run_harness: Run, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, only_once: bool
) -> None:
    # Every run in this process stands for a process of its own: a lease that could not be released is a dead one's.
    monkeypatch.setattr(worker, "this_process", gone_process)
    monkeypatch.setattr(stage, "this_process", gone_process)
    disk = Disk(monkeypatch)
    disk.fill(None)
    assert run_harness(world.grid(*SMALL)).code == 0
    total = disk.calls
    assert total > 30
    for moment in range(1 + only_once, total + 1, 6):
        world.store.rename(tmp_path / f"before-{moment}")
        disk.fill(moment, only_once=only_once)
        done = run_harness(world.grid(*SMALL))
        if done.code:
            assert "the disk is full" in done.err, moment
        else:  # only a lease's or an attempt's end, or the cache of hashes, was not written
            assert_whole(world)
        assert "Traceback" not in done.err
        disk.fill(None)
        again = run_harness(world.grid(*SMALL))
        assert (again.code, moment) == (0, moment), again.err
        assert_whole(world)


def test_a_disk_that_is_full_at_the_start_is_said_before_anything_runs(
    run_harness: Run, world: World, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch).fill(1)
    done = run_harness(world.grid(*SMALL))
    assert done.code == 2
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    assert line.startswith("error: nothing was started: ")
    assert "the disk is full (No space left on device). Free some space and give the same command again" in line
    assert fakes.CALLS == []


# -- a store that may only be read


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """read_only() makes every write of the store fail as on a read-only mount."""

    def protect() -> None:
        def refuse(path: Path, text: str) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        monkeypatch.setattr(files, "_durable", refuse)

    return protect


def test_a_finished_store_that_is_read_only_is_read_and_its_grid_has_nothing_to_do(
    run_harness: Run, world: World, read_only: Callable[[], None]
) -> None:
    assert run_harness(world.grid(*SMALL)).code == 0
    before = files_below(world.store)
    read_only()
    for words in (
        world.reading("status"),
        world.reading("tables"),
        world.reading("logs", "dense"),
        world.grid(*SMALL, "--dry-run"),
        world.grid(*SMALL),
        [*world.grid(*SMALL), "--executor", "local"],
    ):
        done = run_harness(words)
        assert (done.code, words[0]) == (0, words[0]), done.err
    assert files_below(world.store) == before


def test_a_read_only_store_with_work_left_is_refused_before_anything_runs(
    run_harness: Run, world: World, fakes: ModuleType, read_only: Callable[[], None]
) -> None:
    assert run_harness(world.grid(*SMALL)).code == 0
    before = files_below(world.store)
    fakes.CALLS.clear()
    read_only()
    for more in (["--seeds", "5"], ["--seeds", "5", "--executor", "local"]):
        done = run_harness([*world.grid(*SMALL), *more])
        assert done.code == 2
        assert f"error: nothing was started: {world.store}" in done.err
        assert "Read-only file system. Expected a place that may be written" in done.err
    assert (fakes.CALLS, files_below(world.store)) == ([], before)


# -- worker processes


@pytest.fixture
def scheduler(
    store: Store, tmp_path: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., LocalScheduler]]:
    """One worker, whose fake stages misbehave as in `misdeeds`. None outlives the test."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{HERE}")
    made: list[LocalScheduler] = []

    def build(*misdeeds: str) -> LocalScheduler:
        sources = Sources(models={}, data=FolderData(tmp_path))
        made.append(LocalScheduler(store, sources, Resources(), 1, (), fakes.worker_command(*misdeeds)))
        return made[-1]

    yield build
    for scheduler in made:
        scheduler.close(kill=True)


@pytest.fixture
def planned() -> Plan:
    return plan(tasks=["sst2"], methods=["dense"], seeds=[0])


def test_a_disk_that_fills_under_a_worker_fails_its_stages_with_the_reason(
    planned: Plan, store: Store, scheduler: Callable[..., LocalScheduler]
) -> None:
    pool = scheduler("dense=fill")
    outcome = Driver(planned, store, pool, pool.wait, lambda line: None).run(lambda: False, pool.stop)
    pool.close()
    dense, evaluation = planned.stages
    holder = store.stage(dense).holder()
    assert holder is not None
    assert not holder.released, "the worker could not release its lease, and the driver did not wait until it expired"
    assert outcome.failed[dense].startswith("the disk is full (")
    assert outcome.blocked == [evaluation]
    pool = scheduler()
    outcome = Driver(planned, store, pool, pool.wait, lambda line: None).run(lambda: False, pool.stop)
    assert set(outcome.done) == {dense, evaluation}


def test_a_driver_that_cannot_note_a_death_goes_on(
    planned: Plan, store: Store, scheduler: Callable[..., LocalScheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise refusal(errno.ENOSPC)

    pool = scheduler("dense=die")
    monkeypatch.setattr(StoredStage, "end_attempt", refuse)
    outcome = Driver(planned, store, pool, pool.wait, lambda line: None).run(lambda: False, pool.stop)
    (reason,) = outcome.failed.values()
    assert "SIGKILL" in reason
    assert reason.endswith("tried 3 times")


# -- a real mount, where this machine lets us


def fake_harness(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(HERE / "fake_stages.py"), "--", *words]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["debug", "local"])
def test_on_a_real_small_disk_a_run_goes_on_once_there_is_space(
    world: World, mounted: Callable[..., Path], executor: str
) -> None:
    store = mounted("size=48k") / "runs"
    words = [*world.grid("--tasks", "sst2"), "--store", str(store), "--executor", executor, "--workers", "1"]
    full = fake_harness(words)
    assert full.returncode in (1, 2)
    assert "the disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    mounted("remount,size=8m")
    again = fake_harness(words)
    assert again.returncode == 0, again.stderr
    read = Store(store)
    planned = read_study(read, "slice").plan
    for stage_id, record in verified_records(planned, read).items():
        assert folder_digest(read.stage(stage_id).artifact_path) == record["artifact"]["digest"]
    mounted("remount,ro")
    for more in (words, [*words, "--dry-run"], ["status", "--store", str(store)], ["tables", "--store", str(store)]):
        done = fake_harness(more)
        assert (done.returncode, more[0]) == (0, more[0]), done.stderr
    refused = fake_harness([*words, "--seeds", "7"])
    assert refused.returncode == 2
    assert "nothing was started" in refused.stderr
    assert "Read-only file system" in refused.stderr


# -- what an error of the system is


def test_a_full_disk_is_known_by_number_and_by_the_libraries_words() -> None:
    assert is_disk_full(refusal(errno.ENOSPC))
    assert is_disk_full(refusal(errno.EDQUOT))
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert is_disk_full(OSError("Not enough disk space. Needed: Unknown size"))
    assert is_disk_full(raised_from(refusal(errno.ENOSPC)))
    assert not is_disk_full(raised_from(refusal(errno.EIO)))
    assert not is_disk_full(refusal(errno.EIO))
    assert not is_disk_full(ValueError("full of holes"))


def raised_from(cause: Exception, *, explicitly: bool = True, times: int = 2) -> Exception:
    """The error of a library that raises its own class where another error is handled, some times over."""
    for _ in range(times):
        try:
            try:
                raise cause
            except Exception as error:
                if explicitly:
                    raise RuntimeError("An error occurred while generating the dataset") from error
                raise RuntimeError("An error occurred while generating the dataset")  # noqa: B904 - as some do
        except RuntimeError as error:
            cause = error
    return cause


@pytest.mark.parametrize("explicitly", [True, False])
def test_a_full_disk_behind_a_librarys_own_error_is_the_reason(explicitly: bool) -> None:
    error = raised_from(refusal(errno.ENOSPC), explicitly=explicitly)
    assert outcome_of(error) == "infrastructure"
    reason = "the disk is full (OSError: [Errno 28] No space left on device). Free some space and give the same command"
    assert first_line(error).startswith(reason)
    other = raised_from(ValueError("row 1 has no label"), explicitly=explicitly)
    assert (outcome_of(other), first_line(other)) == ("code", f"RuntimeError: {other}")


def test_an_error_that_hides_what_it_came_from_or_goes_in_a_circle_is_taken_as_it_is() -> None:
    with pytest.raises(ValueError, match="was handled") as caught:  # noqa: PT012 - two errors, one in the other
        try:
            raise refusal(errno.ENOSPC)
        except OSError:
            raise ValueError("a full disk was handled") from None
    assert not is_disk_full(caught.value)
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert not is_disk_full(one)


def test_an_error_of_the_system_names_the_file_and_the_next_move() -> None:
    full = system_problem(OSError(errno.ENOSPC, "No space left on device", "runs/x"))
    assert full.startswith("runs/x: the disk is full (No space left on device). Free some space")
    read_only = system_problem(OSError(errno.EROFS, "Read-only file system", "runs/x"))
    assert read_only == "runs/x: Read-only file system. Expected a place that may be written; name another one."
    assert system_problem(OSError(errno.EIO, "Input/output error")) == "Input/output error."


def test_hashes_that_cannot_be_remembered_are_only_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("rows")
    hashes = ContentHashes(tmp_path / "cache.json")
    hashes.file(tmp_path / "data")

    def refuse(self: Path, *_: object) -> None:
        raise refusal(errno.ENOSPC)

    monkeypatch.setattr(Path, "replace", refuse)
    hashes.remember()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
