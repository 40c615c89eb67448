"""Shared fixtures: a store, stages without torch and the command line on them; and a setup that trains in seconds."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import fake_stages
import pytest
from grid_world import Ran, World, make_world
from stub_cluster import StubCluster
from stub_slurm import StubSlurm

from harness.cli.main import main
from harness.planning.kinds import KINDS
from harness.store import processes, slurm_command, squeue
from harness.store.store import Store

collect_ignore = ["support/example_method"]  # a package of its own, tested where it is installed


class TinySetup(NamedTuple):
    """Folders of a model and of data that real stages run on; see `tiny_world`."""

    model: Path
    data: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinySetup:
    from tiny_world import make_data, make_model

    folder = tmp_path_factory.mktemp("tiny")
    return TinySetup(make_model(folder / "model"), make_data(folder / "data"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Every stage kind runs its fake; none misbehaves until ACTIONS says so."""
    for name, kind in fake_stages.FAKE_KINDS.items():
        monkeypatch.setitem(KINDS, name, kind)
    fake_stages.CALLS.clear()
    fake_stages.ACTIONS.clear()
    yield fake_stages
    fake_stages.ACTIONS.clear()


@pytest.fixture
def run_harness(capsys: pytest.CaptureFixture[str], fakes: ModuleType) -> Iterator[Callable[[Sequence[str]], Ran]]:
    """run_harness(arguments) -> exit code and what was printed. A grid that starts runs the fakes."""
    logger = logging.getLogger("harness")
    before = list(logger.handlers)

    def run(arguments: Sequence[str]) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        return Ran(code, *capsys.readouterr())

    yield run
    logger.handlers[:] = before


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubCluster]:
    """A cluster's commands on one file, on PATH: what sbatch takes is queued, and nothing runs."""
    made = StubCluster.make(tmp_path / "stub")
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    _forget_the_queue(monkeypatch)
    yield made
    slurm_command.cluster_settings.cache_clear()


def _forget_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process knows of a cluster."""
    monkeypatch.delenv(processes.ALLOCATION, raising=False)
    monkeypatch.setattr(squeue.THE_QUEUE, "_last", squeue.Queue())
    monkeypatch.setattr(squeue.THE_QUEUE, "_heard", float("-inf"))
    monkeypatch.setattr(squeue.THE_QUEUE, "users", set())
    monkeypatch.setattr(squeue.THE_QUEUE, "_seen", {})
    slurm_command.cluster_settings.cache_clear()


@pytest.fixture
def stub_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubSlurm]:
    """A cluster's commands as scripts, asked by this process and by those that it starts; nothing is in the queue."""
    stub = StubSlurm(tmp_path / "slurm bin")
    stub.make()
    monkeypatch.setenv("PATH", f"{stub.folder}{os.pathsep}{os.environ['PATH']}")
    _forget_the_queue(monkeypatch)
    yield stub
    slurm_command.cluster_settings.cache_clear()


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[[str, dict[str, Any]], Path]:
    """write_parquet("sst2/train", columns) -> the file under tmp_path."""

    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(name: str, columns: dict[str, Any]) -> Path:
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        return path

    return write


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """mounted(options) -> a small file system of its own; called again it is mounted anew, or changed by "remount,..".

    Skips where mounting is not permitted.
    """
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no mount command here")
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def pytest_collection_finish() -> None:
    """What the imports left, a few million objects, is out of the garbage collector's sight from here on.

    Accelerate collects garbage after every training, and each time walked through all of it: half of a tiny training.
    """
    gc.collect()
    gc.freeze()
