"""Models and data from the hub's cache, laid out as the hub's client lays it out, on a machine without internet."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_world
import torch
from safetensors.torch import load_file
from scipy.stats import rankdata
from sklearn.metrics import matthews_corrcoef

from harness.inputs.data_sources import WIKIPEDIA
from harness.inputs.families import BERT
from harness.inputs.hub import HubSource
from harness.inputs.models import MODELS
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import read_study
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
def cache(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as bert-base, sst2 in one file, Wikipedia in one shard whose first 5 % are held out."""
    folder = tmp_path_factory.mktemp("cache")
    source = MODELS["bert-base"]
    assert isinstance(source, HubSource)
    model_files = {path.name: path for path in tiny.model.iterdir()}
    cache_snapshot(folder, "model", source.repository, source.revision, model_files)
    task = TASKS["sst2"]
    splits = {f"sst2/{s}-00000-of-00001.parquet": tiny.data / "sst2" / f"{s}.parquet" for s in ("train", "validation")}
    cache_snapshot(folder, "dataset", task.hub_path, task.hub_revision, splits)
    repository, configuration, revision = WIKIPEDIA
    shard = {f"{configuration}/train-00000-of-00001.parquet": tiny.data / "corpus" / "train.parquet"}
    cache_snapshot(folder, "dataset", repository, revision, shard)
    return folder


def harness(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-m", "harness", *words]
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
    records = {spec.kind: store.stage(stage_id).read_record() for stage_id, spec in plan.stages.items()}
    assert records["evaluation"]["result"]["metrics"]["sst2"]["num_examples"] == tiny_world.SST2_VALIDATION
    # 40 articles: the first two are held out.
    assert records["corpus"]["result"]["corpus"]["train"]["articles"] == 38
    assert records["corpus"]["result"]["corpus"]["validation"]["articles"] == 2


def write_splits(
    folder: Path, configuration: str, train: str, evaluation: str, rows: dict[str, Any]
) -> dict[str, Path]:
    """The files of a configuration: a row's columns are functions of its number, which begins anew in each split."""
    files = {}
    for split, count in ((train, 64), (evaluation, 23)):
        path = folder / configuration / f"{split}.parquet"
        tiny_world._write(path, {column: [value(i) for i in range(count)] for column, value in rows.items()})
        files[f"{configuration}/{split}-00000-of-00001.parquet"] = path
    return files


def thing(number: int) -> str:
    return f"the {tiny_world.THINGS[number % 8]} was {tiny_world.GOOD[number % 5] if number % 3 else 'poor'}"


def predicted(store: Store, task: str) -> tuple[dict[str, Any], list[float], list[float]]:
    """The metrics on record, the predictions and the right answers of the one cell of a task."""
    plan = read_study(store, tiny_world.STUDY).plan
    (stage,) = (
        store.stage(i) for i, s in plan.stages.items() if s.kind == "evaluation" and s.parameters["task"] == task
    )
    with (stage.artifact_path / "predictions" / f"{task}.csv").open(encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    _, references, predictions = zip(*(map(float, row) for row in rows), strict=True)
    return stage.read_record()["result"]["metrics"][task], [*predictions], [*references]


def hub_grid(cache: Path, store: Path, tasks: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Dense rows on these tasks of the cache, of 16 tokens."""
    words = arguments(store)
    words[words.index("--tasks") + 1], words[words.index("--methods") + 1] = tasks, "dense"
    lengths = [word for task in tasks.split(",") for word in ("--set", f"task.{task}.max_length=16")]
    return harness(cache, *words, *lengths, *more)


@pytest.mark.slow
def test_other_tasks_of_glue_run_from_the_cache_and_are_scored_by_their_own_metrics(
    cache: Path, tmp_path: Path
) -> None:
    """CoLA by Matthews, STS-B by Pearson and Spearman; each computed anew here from the stored predictions."""
    cola = {"sentence": thing, "label": lambda number: int(number % 3 > 0), "idx": int}
    stsb = {
        "sentence1": thing,
        "sentence2": lambda number: thing(number + 1),
        "label": lambda number: number % 11 / 2.0,
    }
    files = {
        **write_splits(tmp_path, "cola", "train", "validation", cola),
        **write_splits(tmp_path, "stsb", "train", "validation", stsb),
    }
    shutil.copytree(cache, tmp_path / "cache", symlinks=True)
    cache_snapshot(tmp_path / "cache", "dataset", TASKS["cola"].hub_path, TASKS["cola"].hub_revision, files)
    done = hub_grid(tmp_path / "cache", tmp_path / "runs", "cola,stsb")
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "runs")
    metrics, predictions, references = predicted(store, "cola")
    assert references == [int(number % 3 > 0) for number in range(23)]
    assert metrics["matthews"] == pytest.approx(matthews_corrcoef(references, predictions))
    assert len({*predictions}) == 2, "of one class alone Matthews says nothing"
    metrics, predictions, references = predicted(store, "stsb")
    assert references == [number % 11 / 2 for number in range(23)]
    assert metrics["pearson"] == pytest.approx(np.corrcoef(predictions, references)[0, 1])
    ranks = [rankdata(each) for each in (predictions, references)]
    assert metrics["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert metrics["num_examples"] == 23


DECLARED = """
name = "reviews"
kind = "classification"
labels = ["bad", "good"]
metrics = ["accuracy"]
[columns]
text = ["title", "body"]
label = "stars"
[splits]
evaluation = ["dev"]
[hub]
path = "somebody/reviews"
config = "plain"
revision = "%s"
"""


@pytest.mark.slow
def test_a_declared_task_runs_from_its_pinned_data_set_of_the_hub(cache: Path, tmp_path: Path) -> None:
    """Another commit of it is another stage, and is not in the cache."""
    revision, file = "0123456789" * 4, tmp_path / "reviews.toml"
    file.write_text(DECLARED % revision)
    rows = {"title": lambda _: "the film", "body": thing, "stars": lambda number: ("bad", "good")[number % 3 > 0]}
    shutil.copytree(cache, tmp_path / "cache", symlinks=True)
    files = write_splits(tmp_path, "plain", "train", "dev", rows)
    cache_snapshot(tmp_path / "cache", "dataset", "somebody/reviews", revision, files)
    done = hub_grid(tmp_path / "cache", tmp_path / "runs", "reviews", "--task-file", str(file))
    assert done.returncode == 0, done.stderr
    metrics, predictions, references = predicted(Store(tmp_path / "runs"), "reviews")
    assert references == [int(number % 3 > 0) for number in range(23)]
    right = sum(one == other for one, other in zip(predictions, references, strict=True))
    assert metrics["accuracy"] == right / 23
    file.write_text(DECLARED % revision[::-1])
    done = hub_grid(tmp_path / "cache", tmp_path / "other", "reviews", "--task-file", str(file))
    assert done.returncode == 2
    assert "task 'reviews': somebody/reviews (plain) at 987654321098 is not in the hub's cache" in done.stderr


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


(RELEASED,) = [c for c in load_preset("paper-released").sparse_checkpoints if str(c) == "bert-base 0.85"]


def add_released(cache: Path, base: Path, folder: Path, sparsity: float) -> None:
    """A sparse tiny model where the authors' 85 % BERT-Base would be, pickled as theirs is."""
    tiny_world.make_sparse(folder, base, sparsity, pickled=True)
    files = {path.name: path for path in folder.iterdir()}
    cache_snapshot(cache, "model", RELEASED.source.repository, RELEASED.source.revision, files)


def released_arguments(store: Path) -> list[str]:
    options = [*arguments(store)[:-1], "prune-ofa", "--sparsities", "0.85", "--quantization", "none,int8"]
    options[options.index("--preset") + 1] = "paper-released"
    return [*options, "--seeds", "0", "--set", "transfer.epochs=1", "--set", "quantization.epochs=1"]


@pytest.mark.slow
def test_a_released_model_is_transferred_and_quantized_with_its_zeros_kept(
    cache: Path, tiny: Any, tmp_path: Path
) -> None:
    shutil.copytree(cache, tmp_path / "cache", symlinks=True)
    add_released(tmp_path / "cache", tiny.model, tmp_path / "sparse", 0.85)
    done = harness(tmp_path / "cache", *released_arguments(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "runs")
    plan = read_study(store, "paper-released").plan
    kinds = {"sparse_checkpoint", "dense", "teacher_logits", "transfer", "quantization", "evaluation"}
    assert set(plan.counts()) == kinds
    place = {spec.kind: stage_id for stage_id, spec in plan.stages.items() if spec.kind != "evaluation"}
    given = torch.load(tmp_path / "sparse" / "pytorch_model.bin", weights_only=True)
    moved = load_file(store.stage(place["transfer"]).artifact_path / "model.safetensors")
    codes = load_file(store.stage(place["quantization"]).artifact_path / "int8.safetensors")
    for name in BERT.encoder_matrices(tiny_world.NUM_LAYERS):
        zeros = given[f"{name}.weight"] == 0
        assert torch.equal(moved[f"{name}.weight"] == 0, zeros), name
        assert not torch.equal(moved[f"{name}.weight"], given[f"{name}.weight"]), name
        assert bool((codes[f"{name}.codes"][zeros] == 0).all()), name
    digests = {
        store.stage(place[kind]).read_record()["result"]["sparsity"]["pattern_sha256"]
        for kind in ("sparse_checkpoint", "transfer", "quantization")
    }
    assert len(digests) == 1


@pytest.mark.slow
def test_a_released_model_that_is_no_85_percent_model_fails_its_stage(cache: Path, tiny: Any, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "cache", symlinks=True)
    add_released(tmp_path / "cache", tiny.model, tmp_path / "sparse", 0.9)
    done = harness(tmp_path / "cache", *released_arguments(tmp_path / "runs"))
    assert done.returncode == 1
    # floor(.9 * 1024) = 921 and floor(.9 * 2048) = 1843 zeros: 14,740 of 16,384.
    assert "a sparsity of 0.8997; claimed is 0.85, and half a point is allowed" in done.stderr
    plan = read_study(Store(tmp_path / "runs"), "paper-released").plan
    states = {
        s.kind: Store(tmp_path / "runs").stage(i).has_record() for i, s in plan.stages.items() if s.kind != "evaluation"
    }
    dense = {"dense": True, "teacher_logits": True}
    assert states == {"sparse_checkpoint": False, **dense, "transfer": False, "quantization": False}


def test_a_released_model_that_is_not_cached_is_a_warning_of_the_dry_run_and_an_error_of_the_run(
    cache: Path, tmp_path: Path
) -> None:
    said = (
        "sparse checkpoint bert-base 0.85: Intel/bert-base-uncased-sparse-85-unstructured-pruneofa at 7278b855ac8e is "
        "not in the hub's cache on this machine. Run harness fetch where there is internet, or bring a local folder"
    )
    planned = harness(cache, *released_arguments(tmp_path / "runs"), "--dry-run")
    assert (planned.returncode, said in planned.stderr) == (0, True)
    run = harness(cache, *released_arguments(tmp_path / "runs"))
    assert (run.returncode, said in run.stderr) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_fetch_asks_for_the_released_models_of_the_named_base(tmp_path: Path) -> None:
    words = ["fetch", "--preset", "paper-released", "--models", "distilbert", "--tasks", "sst2"]
    done = harness(tmp_path / "empty", *words)
    assert done.returncode == 1
    for what in ("model 'distilbert'", "distilbert 0.85", "distilbert 0.9", "task 'sst2'"):
        assert f"{what}: " in done.stderr
    assert done.stderr.count("was not fetched") == 4  # and no corpus: nothing is pruned here


def test_fetch_says_all_that_did_not_come(tmp_path: Path) -> None:
    done = harness(tmp_path / "empty", "fetch", "--models", "bert-base", "--tasks", "sst2")
    assert done.returncode == 1
    for what in ("model 'bert-base'", "task 'sst2'", "the corpus"):
        assert f"{what}: " in done.stderr
    assert done.stderr.count("was not fetched") == 3


def test_fetch_finds_what_is_there(cache: Path) -> None:
    done = harness(cache, "fetch", "--models", "bert-base", "--tasks", "sst2")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def without_network(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The hub may be asked, and nobody answers: port 9 of this machine refuses at once."""
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_ENDPOINT": "http://127.0.0.1:9"}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-P", "-m", "harness", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_fetch_without_a_network_asks_once_and_says_so(tmp_path: Path) -> None:
    done = without_network(tmp_path / "empty", "fetch", "--models", "bert-base,distilbert", "--tasks", "sst2")
    assert done.returncode == 1
    assert done.stderr.count("was not fetched: it is not in the cache.") == 4
    assert "The hub (http://127.0.0.1:9) cannot be reached from here (ConnectError" in done.stderr
    assert "Retry" not in done.stderr, "the client's own retries take half a minute for every snapshot"


def test_fetch_without_a_network_finds_what_is_there(cache: Path) -> None:
    done = without_network(cache, "fetch", "--models", "bert-base", "--tasks", "sst2")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_a_snapshot_that_came_in_part_is_not_called_whole(cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "cache", symlinks=True)
    (weights,) = (tmp_path / "cache").glob("models--*/snapshots/*/model.safetensors")
    weights.unlink()
    done = harness(tmp_path / "cache", "fetch", "--models", "bert-base", "--tasks", "sst2")
    assert done.returncode == 1
    assert "model 'bert-base'" in done.stderr
    assert "is incomplete" in done.stderr
    assert "has no model.safetensors" in done.stderr


def test_a_grid_without_network_and_cache_lists_what_is_missing_and_starts_nothing(tmp_path: Path) -> None:
    store = str(tmp_path / "runs")
    words = ["--models", "bert-base", "--tasks", "sst2,squad", "--store", store, "--max-gpu-hours", "1e9"]
    done = without_network(tmp_path / "empty", "grid", *words)
    assert done.returncode == 2
    assert "4 problems; nothing was started:" in done.stderr
    assert done.stderr.count("is not in the hub's cache on this machine. Run harness fetch") == 4
    assert not Path(store).exists()
