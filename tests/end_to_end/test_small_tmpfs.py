"""Real training on a disk that fills under its checkpoints: the reason is told, and the next start ends with the same
numbers as a run that was never disturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
import tiny_world

from harness.files import folder_digest
from harness.store.store import Store
from harness.studies.study import read_study
from harness.studies.verification import verified_records


def grid(tiny: Any, store: Path, output: Path, *words: str, method: str = "dense") -> forked.Forked:
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, store, dense__epochs=2.0)
    chosen = ["--methods", method, "--tasks", "sst2", "--resource", "checkpoint_minutes=0", *words]
    return forked.run(["-m", "harness", *arguments, *chosen], output, timeout=600)


def digests(store: Path) -> dict[str, str]:
    """The digest of every stage's artifact, which its record and its files agree on."""
    read = Store(store)
    planned = read_study(read, tiny_world.STUDY).plan
    records = verified_records(planned, read)
    assert records.keys() == planned.stages.keys()
    for stage_id, record in records.items():
        assert folder_digest(read.stage(stage_id).artifact_path) == record["artifact"]["digest"]
    return {stage_id: record["artifact"]["digest"] for stage_id, record in records.items()}


@pytest.fixture(scope="module")
def undisturbed(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = grid(tiny, folder / "runs", folder / "printed.txt", "--executor", "debug")
    assert done.poll() == 0, done.printed()
    return digests(folder / "runs")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "size_kib", "checkpoint_fits"),
    [("debug", 120, False), ("local", 420, True)],  # no room for a first checkpoint; for one, and no second beside it
)
def test_training_on_a_disk_that_fills_goes_on_and_ends_as_if_undisturbed(
    tiny: Any,
    undisturbed: dict[str, str],
    tmp_path: Path,
    mounted: Callable[[str], Path],
    executor: str,
    size_kib: int,
    checkpoint_fits: bool,
) -> None:
    store = mounted(f"size={size_kib}k") / "runs"
    full = grid(tiny, store, tmp_path / "full.txt", "--executor", executor)
    assert full.poll() == 1
    (reason,) = (line for line in full.printed().splitlines() if "failed: " in line)
    assert "the disk is full (" in reason
    assert "Traceback" not in full.printed()
    assert any(store.glob("checkpoints/*/checkpoint-*")) == checkpoint_fits
    mounted("remount,size=50m")
    again = grid(tiny, store, tmp_path / "again.txt", "--executor", executor)
    assert again.poll() == 0, again.printed()
    assert not list((store / "checkpoints").iterdir())
    assert digests(store) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("size_kib", [80, 104])
def test_a_disk_that_fills_under_a_librarys_own_files_is_the_reason(
    tiny: Any, tmp_path: Path, mounted: Callable[[str], Path], size_kib: int
) -> None:
    """The pairs are written by `datasets`, which raises an error of its own while it handles the one of the disk."""
    store = mounted(f"size={size_kib}k") / "runs"
    full = grid(tiny, store, tmp_path / "full.txt", method="prune-ofa-no-kd")
    assert full.poll() == 1
    (reason,) = (line for line in full.printed().splitlines() if "failed: " in line)
    assert "failed: pairs seed 42: the disk is full (OSError: [Errno 28] No space left on device" in reason
    (pairs,) = store.glob("checkpoints/*")
    assert read_study(Store(store), tiny_world.STUDY).plan.stages[pairs.name].kind == "pairs"
    last = Store(store).stage(pairs.name).last_attempt()
    assert last is not None
    assert last.outcome in ("infrastructure", None)  # None: no room for the attempt's end either
