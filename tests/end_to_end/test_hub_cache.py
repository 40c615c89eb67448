"""Models and data from the hub's cache, laid out as the hub's client lays it out, on a machine without internet."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_world

from harness.data.places import WIKIPEDIA
from harness.models import MODELS, HubSource
from harness.store import Store
from harness.study import read_study
from harness.tasks import TASKS


def cache_snapshot(cache: Path, kind: str, repository: str, revision: str, files: dict[str, Path]) -> None:
    """blobs/HASH, snapshots/REVISION/NAME -> blob, refs/main: what `snapshot_download` leaves behind."""
    root = cache / f"{kind}s--{repository.replace('/', '--')}"
    for name, source in files.items():
        blob = root / "blobs" / hashlib.sha256(source.read_bytes()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, blob)
        link = root / "snapshots" / revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(revision)


@pytest.fixture(scope="module")
def cache(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as bert-base, sst2 in one file, Wikipedia in one shard whose first 5 % are held out."""
    folder = tmp_path_factory.mktemp("cache")
    source = MODELS["bert-base"]
    assert isinstance(source, HubSource)
    model_files = {path.name: path for path in world.model.iterdir()}
    cache_snapshot(folder, "model", source.repository, source.revision, model_files)
    task = TASKS["sst2"]
    splits = {f"sst2/{s}-00000-of-00001.parquet": world.data / "sst2" / f"{s}.parquet" for s in ("train", "validation")}
    cache_snapshot(folder, "dataset", task.hub_path, task.hub_revision, splits)
    repository, configuration, revision = WIKIPEDIA
    shard = {f"{configuration}/train-00000-of-00001.parquet": world.data / "corpus" / "train.parquet"}
    cache_snapshot(folder, "dataset", repository, revision, shard)
    return folder


def harness(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-m", "harness.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def arguments(store: Path) -> list[str]:
    options = tiny_world.grid_arguments(Path("unused"), Path("unused"), store, teacher_preparation__steps=4)
    options[options.index("--models") + 1] = "bert-base"
    options[options.index("--data") + 1] = "hub"
    return [*options, "--tasks", "sst2", "--methods", "prune-ofa-no-kd"]


@pytest.mark.slow
def test_a_grid_runs_from_the_cache_alone(cache: Path, tmp_path: Path) -> None:
    done = harness(cache, *arguments(tmp_path))
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path)
    plan = read_study(store, tiny_world.STUDY).plan
    records = {spec.kind: store.read_record(stage_id) for stage_id, spec in plan.stages.items()}
    assert records["evaluation"]["result"]["metrics"]["sst2"]["num_examples"] == tiny_world.SST2_VALIDATION
    # 40 articles: the first two are held out.
    assert records["corpus"]["result"]["corpus"]["train"]["articles"] == 38
    assert records["corpus"]["result"]["corpus"]["validation"]["articles"] == 2


def test_an_identity_from_the_hub_is_its_revision_and_needs_no_cache(cache: Path, tmp_path: Path) -> None:
    plans = [
        json.loads(harness(place, *arguments(tmp_path / "runs"), "--dry-run", "--json").stdout)
        for place in (cache, tmp_path / "empty")
    ]
    assert [s["id"] for s in plans[0]["stages"]] == [s["id"] for s in plans[1]["stages"]]


def test_a_cache_without_the_weights_counts_as_not_cached(cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "cache", symlinks=True)
    for path in (tmp_path / "cache").glob("models--*/snapshots/*/model.safetensors"):
        path.unlink()
    done = harness(tmp_path / "cache", *arguments(tmp_path / "runs"))
    assert done.returncode == 2
    assert "model 'bert-base': google-bert/bert-base-uncased at 86b5e0934494 is not in the hub's cache" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_fetch_says_all_that_did_not_come(tmp_path: Path) -> None:
    done = harness(tmp_path / "empty", "fetch", "--models", "bert-base", "--tasks", "sst2")
    assert done.returncode == 1
    for what in ("model 'bert-base'", "task 'sst2'", "the corpus"):
        assert f"{what}: " in done.stderr
    assert done.stderr.count("did not come") == 3


def test_fetch_finds_what_is_there(cache: Path) -> None:
    done = harness(cache, "fetch", "--models", "bert-base", "--tasks", "sst2")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
