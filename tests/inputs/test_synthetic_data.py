"""The synthetic world as a data source and in a plan: what is named, what is refused, what rests on what."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_tables import table

from harness.cli.main import main
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import SyntheticData, data_source_from_json
from harness.synthetic import source
from harness.tasks import TASKS, get_task


def test_it_has_all_five_tasks_and_the_corpus() -> None:
    data = SyntheticData()
    tasks = [task for task in TASKS.values() if not task.is_declared]
    assert len(tasks) == 5
    assert data.problems(tasks, corpus=True) == data.missing(tasks, corpus=True) == []
    content_ids, sizes = data.content_ids(tasks, corpus=True), data.sizes(tasks, corpus=True)
    assert content_ids.keys() == sizes.rows.keys() | sizes.text_bytes.keys()
    for task in tasks:
        assert {
            f"{task.name}/{split}" for split in task.splits if split not in task.optional_splits
        } <= sizes.rows.keys()
    assert not data.content_ids([get_task("sst2")], corpus=False).keys() - {"sst2/train", "sst2/validation"}


@pytest.mark.parametrize("task", ["sst2", "squad"])
def test_it_hands_out_the_rows_that_it_names(task: str) -> None:
    data = SyntheticData()
    name = f"{task}/validation"
    rows = data.rows(get_task(task), "validation", data.content_ids([get_task(task)], corpus=False)[name])
    assert rows.column_names == list(get_task(task).columns)
    columns = table(task, "validation")
    assert all(rows[column][:] == columns[column] for column in rows.column_names)


def test_it_refuses_to_hand_out_another_version_than_was_planned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = SyntheticData(3)
    content_id = data.content_ids([], corpus=True)["corpus/validation"]
    assert len(data.articles("validation", content_id, tmp_path)) == source.ARTICLES["validation"]
    monkeypatch.setattr(source, "GENERATOR_VERSION", source.GENERATOR_VERSION + 1)
    with pytest.raises(ValueError, match=r"another corpus/validation of the synthetic world .* seed 3. Plan again"):
        data.articles("validation", content_id, tmp_path)
    with pytest.raises(ValueError, match=r"another sst2/train of the synthetic world"):
        SyntheticData(1).rows(
            get_task("sst2"), "train", SyntheticData(0).content_ids([get_task("sst2")], corpus=False)["sst2/train"]
        )


def test_another_process_opens_the_same_source() -> None:
    stored = json.loads(json.dumps(SyntheticData(7).as_json()))
    assert data_source_from_json(stored, ContentHashes()) == SyntheticData(7)


def dry(capsys: pytest.CaptureFixture[str], store: Path, *words: str) -> dict[str, Any]:
    arguments = ["grid", "--preset", "quick", "--store", str(store), "--dry-run", "--json", *words]
    assert main(arguments) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_quick_preset_is_the_whole_comparison(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = dry(capsys, tmp_path, "--models", "tiny-wide,tiny-narrow")
    # 2 models x 3 tasks x 3 seeds x (dense, 2 finetune-pruning, 2 prune-ofa, 2 of them int8)
    assert plan["counts"]["cells"] == 126
    assert plan["counts"]["stages"] == {
        "corpus": 1,
        "pairs": 1,  # both encoders have the same words
        "teacher_preparation": 2,
        "dense": 18,
        "evaluation": 126,
        "task_pruning": 36,
        "student_pruning": 4,
        "transfer": 36,
        "quantization": 36,
    }
    assert not tmp_path.exists() or not any(tmp_path.iterdir())  # planning makes no model and no data


def test_what_starts_from_an_untrained_encoder_starts_from_its_pre_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan = dry(capsys, tmp_path, "--models", "tiny-wide", "--methods", "dense,finetune-pruning", "--tasks", "sst2")
    kinds = {stage["id"]: stage["kind"] for stage in plan["stages"]}
    assert {
        kind: sorted(
            {kinds[parent] for stage in plan["stages"] if stage["kind"] == kind for parent in stage["parents"]}
        )
        for kind in ("dense", "task_pruning")
    } == {"dense": ["teacher_preparation"], "task_pruning": ["dense", "teacher_preparation"]}
    assert plan["counts"]["stages"]["teacher_preparation"] == 1


def test_other_pruning_seeds_share_the_dense_model_and_its_pre_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (
        "--models",
        "tiny-wide",
        "--tasks",
        "sst2",
        "--seeds",
        "0",
        "--sparsities",
        "0.85",
        "--pruning-seeds",
        "0,1",
    )
    plan = dry(capsys, tmp_path, "--methods", "dense,prune-ofa", *words)
    assert plan["counts"]["stages"]["teacher_preparation"] == 2  # one a pruning seed, as for any model
    assert plan["counts"]["stages"]["dense"] == 1
    kinds = {stage["id"]: stage for stage in plan["stages"]}
    (dense,) = (stage for stage in kinds.values() if stage["kind"] == "dense")
    seeds = {path[0]: path for path in ([cell["pruning_seed"], *cell["stages"]] for cell in plan["cells"])}
    assert set(dense["parents"]) <= set(seeds[0])


@pytest.mark.parametrize("data", ["synthetic:", "synthetic:x", "synthetic:-1", "synthetic:1.5"])
def test_a_seed_that_is_none_is_refused(data: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "grid",
        "--preset",
        "quick",
        "--models",
        "tiny-wide",
        "--data",
        data,
        "--store",
        str(tmp_path),
        "--dry-run",
    ]
    assert main(words) == 2
    stored = capsys.readouterr().err
    assert f"--data {data}: expected synthetic or synthetic:SEED" in stored


def test_encoders_made_for_it_are_refused_on_other_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["grid", "--preset", "quick", "--tasks", "sst2", "--store", str(tmp_path), "--dry-run"]
    words += ["--models", "tiny-narrow,tiny-wide"]
    assert main([*words, "--data", "hub"]) == 2
    stored = capsys.readouterr().err.splitlines()
    for name in ("tiny-narrow", "tiny-wide"):
        (line,) = (line for line in stored if f"model {name!r} knows the words of the synthetic world alone" in line)
        assert "Give --data synthetic, or another model" in line
    assert main([*words, "--data", "synthetic:5"]) == 0


def test_planning_on_it_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from harness.cli.main import main; "
        f"main(['grid', '--preset', 'quick', '--models', 'tiny-narrow', '--store', {str(tmp_path)!r}, '--dry-run']); "
        "print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip().endswith("[]")
