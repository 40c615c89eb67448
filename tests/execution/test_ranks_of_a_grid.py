"""A grid whose stages are trained by several processes: what it leaves, and what happens when one of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_world
from grid_world import environment
from part_of_a_store import copy_without

from harness.errors import RankFailed, RankLost
from harness.store.store import Store
from harness.studies.study import read_study
from harness.worker import ranks as module
from harness.worker.run import outcome_of

LONG = {"student_pruning.steps": 60, "common.frequency": 0.05, "transfer.epochs": 1.0, "dense.epochs": 1.0}
STORE = "STORE_OF_THIS_TEST"  # in the environment of a grid's processes
CELL = ("--methods", "prune-ofa", "--tasks", "sst2", "--sparsities", "0.85")


# -- what another rank says when it ends


def others(monkeypatch: pytest.MonkeyPatch, program: str) -> Any:
    monkeypatch.setattr(module, "RANK_COMMAND", (sys.executable, "-c", program))
    return module._started({"any": "order"}, 2, ())


def test_a_rank_that_fails_gives_the_attempt_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys; sys.stdin.readline(); print('Traceback'); sys.exit('ValueError: the label is 7')"
    with pytest.raises(RankFailed, match="ValueError: the label is 7") as found, others(monkeypatch, program):
        raise RankLost("gone")
    assert outcome_of(found.value) == "code"


def test_a_rank_out_of_memory_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys; sys.stdin.readline(); sys.exit('OutOfMemoryError: CUDA out of memory')"
    with pytest.raises(RankFailed) as found, others(monkeypatch, program):
        raise RankLost("gone")
    assert outcome_of(found.value) == "out-of-memory"


@pytest.mark.parametrize(
    "end",
    ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "import sys; sys.exit(3)", "import sys; sys.exit(137)"],
)
def test_a_rank_that_is_killed_or_lost_leaves_the_attempt_killed(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    with pytest.raises(RankLost) as found, others(monkeypatch, f"import sys; sys.stdin.readline(); {end}"):
        raise RankLost("gone")
    assert outcome_of(found.value) == "killed"


def test_ranks_end_with_an_error_of_the_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And they heard the order."""
    program = f"import sys, os; open({str(tmp_path / 'heard')!r}, 'w').write(sys.stdin.readline()); sys.stdin.read()"
    with pytest.raises(KeyError, match="mine"), others(monkeypatch, program):
        wait_and_raise(tmp_path / "heard")
    assert json.loads((tmp_path / "heard").read_text()) == {"any": "order"}


def wait_and_raise(file: Path) -> None:
    while not file.exists() or not file.read_text():
        time.sleep(0.01)
    raise KeyError("mine")


def test_devices_are_given_one_to_each_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.DEVICES, "4,5,6")
    shown = [each["CUDA_VISIBLE_DEVICES"] for _, each in module._commands(3, ())]
    assert shown == ["5", "6"]
    ((words, each),) = module._commands(3, ("srun", "--overlap"))
    assert (words[:2], each["CUDA_VISIBLE_DEVICES"]) == (["srun", "--overlap"], "4,5,6")


# -- whole grids


class Grid:
    """A grid on the tiny world with long pruning, run by `harness grid` in a process of its own."""

    def __init__(self, tiny: Any, store: Path, quantization: str = "int8") -> None:
        self.store = Store(store)
        arguments = tiny_world.grid_arguments(
            tiny.model, tiny.data, store, **{k.replace(".", "__"): v for k, v in LONG.items()}
        )
        at = arguments.index("--executor")
        self.words = [sys.executable, "-P", "-m", "harness", *arguments[:at], *arguments[at + 2 :], *CELL]
        self.words += ["--quantization", quantization]

    def start(self, ranks: int) -> subprocess.Popen[str]:
        resources = ["--resource", f"ranks={ranks}", "--resource", "checkpoint_minutes=0.005", "--workers", "1"]
        return subprocess.Popen(
            [*self.words, *resources],
            env={**environment(), "OMP_NUM_THREADS": "1", STORE: str(self.store.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, ranks: int, code: int = 0) -> str:
        process = self.start(ranks)
        said, _ = process.communicate(timeout=900)
        assert process.returncode == code, said
        return said

    def stage(self, kind: str) -> Any:
        plan = read_study(self.store, tiny_world.STUDY).plan
        (found,) = (stage_id for stage_id, spec in plan.stages.items() if spec.kind == kind)
        return self.store.stage(found)

    def wait_for_step(self, kind: str, step: int) -> None:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            try:
                checkpoints = [
                    int(p.name.split("-")[1]) for p in self.stage(kind).checkpoints_path.glob("checkpoint-*")
                ]
            except Exception:
                checkpoints = []
            if max(checkpoints, default=0) >= step:
                return
            time.sleep(0.05)
        raise AssertionError(f"{kind} did not come to step {step}")


def ranks_running(store: Path) -> list[int]:
    """Processes of ranks other than 0 of the grid on this store, by what they inherited: it lasts when parents die."""
    mark = f"{STORE}={store}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words, inherited = (file.read_bytes().split(b"\0") for file in (path, path.with_name("environ")))
        except OSError:
            continue
        if b"harness.worker.rank" in words and mark in inherited:
            found.append(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def undisturbed(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    grid = Grid(tiny, tmp_path_factory.mktemp("undisturbed") / "runs")
    grid.run(2)
    return grid


@pytest.fixture
def grid(tiny: Any, undisturbed: Grid, tmp_path: Path) -> Iterator[Grid]:
    """All is done before student pruning, of whose ranks the tests are: each would be imported anew for every stage."""
    copy_without(undisturbed.store.root, tmp_path / "runs", tiny_world.STUDY, "student_pruning")
    made = Grid(tiny, tmp_path / "runs")
    yield made
    assert not ranks_running(made.store.root)


@pytest.mark.slow
def test_what_ranks_train_is_recorded_as_theirs_and_exact(undisturbed: Grid) -> None:
    for kind in ("teacher_preparation", "student_pruning", "dense", "transfer", "quantization"):
        record = undisturbed.stage(kind).read_record()
        assert record["result"]["training"]["ranks"] == 2
        assert "trained by 2 ranks, each of which drew dropout for itself" in record["result"]["did"]
        assert [attempt.outcome for attempt in undisturbed.stage(kind).attempts()] == ["done"]
    pruned, locked = (
        undisturbed.stage(kind).read_record()["result"]["sparsity"] for kind in ("student_pruning", "transfer")
    )
    assert pruned["pattern_sha256"] == locked["pattern_sha256"]
    assert all(zeros > 0 for zeros in pruned["zeros_by_matrix"].values())


@pytest.mark.slow
def test_after_a_rank_was_killed_the_stage_goes_on_and_ends_as_if_it_had_not_been(
    grid: Grid, undisturbed: Grid
) -> None:
    process = grid.start(2)
    grid.wait_for_step("student_pruning", 20)
    (other,) = ranks_running(grid.store.root)
    os.kill(other, signal.SIGKILL)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    stage = grid.stage("student_pruning")
    first, last = stage.attempts()
    assert (first.outcome, last.outcome) == ("killed", "done")
    assert first.checkpoint != ""
    assert "another rank of this stage is gone" in first.message
    for kind in ("student_pruning", "quantization"):
        mine, theirs = (each.stage(kind).read_record()["artifact"]["digest"] for each in (grid, undisturbed))
        assert mine == theirs, kind


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_another_number_of_ranks(tiny: Any, grid: Grid) -> None:
    """Without quantization, which no fact here is of."""
    grid = Grid(tiny, grid.store.root, quantization="none")
    process = grid.start(2)
    grid.wait_for_step("student_pruning", 20)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert not ranks_running(grid.store.root)
    grid.run(3)
    first, last = grid.stage("student_pruning").attempts()
    assert (first.outcome, last.outcome) == ("interrupted", "done")
    result = grid.stage("student_pruning").read_record()["result"]
    assert result["training"]["steps"] == LONG["student_pruning.steps"]
    begun = int(first.checkpoint.removeprefix("checkpoint-")) + 1
    assert (
        f"trained by 2 ranks, from step {begun} on by 3; where they were several, each drew dropout for itself"
        in result["did"]
    )
    spans = result["training"]["rank_spans"]
    assert [(span["from_step"], span["ranks"]) for span in spans] == [(1, 2), (begun, 3)]
    assert sum(span["seconds"] for span in spans) == pytest.approx(result["training"]["seconds"], abs=0.2)
    assert f"resuming from {first.checkpoint}" in grid.stage("student_pruning").log_path(2).read_text()


@pytest.mark.slow
def test_ranks_do_not_outlive_a_killed_worker(grid: Grid) -> None:
    process = grid.start(2)
    grid.wait_for_step("student_pruning", 5)
    worker = grid.stage("student_pruning").attempts()[-1].process
    (other,) = ranks_running(grid.store.root)
    (copy,) = grid.stage("student_pruning").checkpoints_path.glob("*.arrow")
    assert str(copy) in Path(f"/proc/{other}/maps").read_text(), "it maps the worker's copy of the pairs"
    process.send_signal(signal.SIGSTOP)  # so that no other worker follows
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while ranks_running(grid.store.root) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not ranks_running(grid.store.root)
    process.kill()
    process.wait()
