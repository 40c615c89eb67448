"""Sparse checkpoints while planning: found, compared and counted without torch, and what cells they become."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from grid_world import Ran, World, inputs, of_kind, python, sentences, write_model
from sparse_files import WEIGHTS, matrices, save, write_sparse

from harness.errors import UsageError
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import HubData
from harness.inputs.families import BERT, DISTILBERT
from harness.inputs.sparse_checkpoints import encoder_zeros
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import Preset, load_preset, parse_preset
from harness.store.store import Store
from harness.studies.study import read_study
from harness.tasks import TASKS

Run = Callable[[Sequence[str]], Ran]
PAPER_MODELS = ("bert-base", "bert-large", "distilbert")


@pytest.mark.parametrize("prefix", ["bert.", ""])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_zeros_are_counted_in_the_encoder_matrices_alone(tmp_path: Path, prefix: str, dtype: type) -> None:
    save(tmp_path / "m", matrices(870, prefix=prefix, dtype=dtype))
    assert encoder_zeros(tmp_path / "m", BERT, 2) == (870, WEIGHTS)
    assert encoder_zeros(tmp_path / "m", BERT, 1)[1] == WEIGHTS // 2


def test_a_negative_zero_is_a_zero_and_the_smallest_number_is_none(tmp_path: Path) -> None:
    tensors = matrices(0)
    first = next(iter(tensors.values()))
    first[0, :3] = [-0.0, np.float32(1e-45), -np.float32(1e-45)]
    save(tmp_path / "m", tensors)
    assert encoder_zeros(tmp_path / "m", BERT, 2) == (1, WEIGHTS)


def test_bfloat16_is_counted(tmp_path: Path) -> None:
    # The upper half of float32: 1.0 is 0x3f80, -0.0 is 0x8000.
    tensors = {name: np.full(a.shape, 0x3F80, dtype=np.uint16) for name, a in matrices(0).items()}
    next(iter(tensors.values()))[0, :2] = [0, 0x8000]
    save(tmp_path / "m", tensors)
    assert encoder_zeros(tmp_path / "m", BERT, 2) == (2, WEIGHTS)


def test_what_cannot_be_counted_is_reported(tmp_path: Path) -> None:
    tensors = matrices(9)
    file = tmp_path / "m"
    save(file, tensors)
    with pytest.raises(UsageError, match=r"lacks 6 of 18 encoder matrices \(bert\.encoder\.layer\.2"):
        encoder_zeros(file, BERT, 3)
    with pytest.raises(UsageError, match="lacks 12 of 12 encoder matrices"):
        encoder_zeros(file, DISTILBERT, 2)
    save(file, tensors, {next(iter(tensors)): "I32"})
    with pytest.raises(UsageError, match="is I32. Expected floating-point data"):
        encoder_zeros(file, BERT, 2)
    save(file, tensors)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UsageError, match="cut off"):
        encoder_zeros(file, BERT, 2)
    for content in (b"", b"text", b"\xff" * 40, b"\x02" + b"\0" * 7 + b"[]", b"\x08" + b"\0" * 7 + b'{"a": 1}'):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="is no safetensors file. Expected what save_pretrained writes"):
            encoder_zeros(file, BERT, 2)


def test_a_count_is_remembered_with_the_content_hashes(tmp_path: Path) -> None:
    memory, calls = tmp_path / "memory.json", []

    def count() -> tuple[int, int]:
        calls.append(1)
        return 3, 4

    first = ContentHashes(memory)
    (tmp_path / "data").write_text("x")
    digest = first.file(tmp_path / "data")
    assert first.counted(digest, "zeros", count) == first.counted(digest, "zeros", count) == (3, 4)
    first.remember()
    again = ContentHashes(memory)
    assert again.counted(digest, "zeros", count) == (3, 4)
    assert again.file(tmp_path / "data") == digest
    assert len(calls) == 1
    again.counted(digest, "another count", count)
    assert len(calls) == 2


# --sparse-from on the command line


def dry_run(run_harness: Run, world: World, *words: str) -> dict[str, Any]:
    done = run_harness([*world.grid("--dry-run", "--json", *words)])
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_alone_it_means_its_cells_and_the_dense_ones(run_harness: Run, world: World) -> None:
    folder = write_sparse(world.folder / "mine")
    plan = dry_run(run_harness, world, "--sparse-from", f"mine={folder}")
    # Two tasks: dense, and the checkpoint at its counted sparsity, 870 / 1024 = .84961.
    assert Counter((c["method"], c["sparsity"], c["quantization"]) for c in plan["cells"]) == {
        ("dense", 0.0, "none"): 2,
        ("sparse-from:mine", 0.8496, "none"): 2,
    }
    assert plan["counts"]["stages"] == {"dense": 2, "evaluation": 4, "sparse_checkpoint": 1, "transfer": 2}


def test_it_is_quantized_where_that_is_asked_and_stands_beside_named_methods(run_harness: Run, world: World) -> None:
    one, other = write_sparse(world.folder / "one"), write_sparse(world.folder / "other", 512)
    words = ["--sparse-from", f"one={one},other={other}", "--quantization", "none,int8", "--tasks", "sst2"]
    cells = dry_run(run_harness, world, *words)["cells"]
    assert [(c["method"], c["sparsity"], c["quantization"]) for c in cells] == [
        ("dense", 0.0, "none"),
        ("sparse-from:one", 0.8496, "none"),
        ("sparse-from:one", 0.8496, "int8"),
        ("sparse-from:other", 0.5, "none"),
        ("sparse-from:other", 0.5, "int8"),
    ]
    words = ["--sparse-from", f"one={one}", "--sparse-from", f"other={other}", "--tasks", "sst2"]
    cells = dry_run(run_harness, world, *words, "--methods", "prune-ofa", "--sparsities", "0.7,0.8")["cells"]
    assert [(c["method"], c["sparsity"]) for c in cells] == [
        ("prune-ofa", 0.7),
        ("prune-ofa", 0.8),
        ("sparse-from:one", 0.8496),
        ("sparse-from:other", 0.5),
    ]


def test_identity_is_the_content_and_not_the_name_or_the_place(run_harness: Run, world: World) -> None:
    one, same = write_sparse(world.folder / "one"), write_sparse(world.folder / "elsewhere")
    other = write_sparse(world.folder / "other", 871)
    stages = [
        {s["id"] for s in dry_run(run_harness, world, "--sparse-from", f"{name}={place}")["stages"]}
        for name, place in (("a", one), ("b", same), ("a", other))
    ]
    assert stages[0] == stages[1]
    assert len(stages[0] - stages[2]) == 5  # the checkpoint, two transfers, two evaluations


def test_the_corpus_is_not_needed(run_harness: Run, world: World) -> None:
    (world.folder / "data" / "corpus" / "train.parquet").unlink()
    folder = write_sparse(world.folder / "mine")
    assert dry_run(run_harness, world, "--sparse-from", f"mine={folder}")
    assert "corpus" in run_harness(world.grid("--dry-run", "--methods", "prune-ofa")).err


def test_every_problem_is_listed_with_those_of_the_grid(run_harness: Run, world: World) -> None:
    below = world.folder
    good = write_sparse(below / "good")
    write_model(below / "binary")
    (below / "binary" / "model.safetensors").rename(below / "binary" / "pytorch_model.bin")
    write_sparse(below / "wide", hidden_size=64)
    write_model(below / "text")
    (below / "text" / "model.safetensors").write_text("weights")
    given = [
        "nothing",
        f"two words={good}",
        f"dense={good}",
        f"a={good}",
        f"a={good}",
        f"absent={below / 'absent'}",
        f"binary={below / 'binary'}",
        f"wide={below / 'wide'}",
        f"none={write_sparse(below / 'dense', 4)}",
        f"all={write_sparse(below / 'all', WEIGHTS)}",
        f"text={below / 'text'}",
        f"other={write_sparse(below / 'family', model_type='distilbert')}",
        f"layers={write_sparse(below / 'layers', num_hidden_layers=3)}",
    ]
    words = [word for text in given for word in ("--sparse-from", text)]
    done = run_harness(world.grid(*words, "--tasks", "sst"))
    assert done.code == 2
    expected = [
        "--sparse-from nothing: expected NAME=DIR.",
        "'two words' is no name. Use at most 100 letters, digits",
        "'dense' is the name of a method.",
        "'a' is given twice. Give each folder its own NAME.",
        f"--sparse-from absent: {below / 'absent'} is no folder.",
        "--sparse-from binary: ",
        "save_pretrained writes model.safetensors",
        "--sparse-from wide: its hidden_size is 64, the base model's is 8. Name the base model it was pruned from.",
        "--sparse-from none: 4 of the 1,024 weights in its 12 encoder matrices are zero. Expected a sparse model",
        "--sparse-from all: 1,024 of the 1,024 weights",
        "is no safetensors file",
        "--sparse-from other: its model_type is distilbert, the base model's is bert.",
        "--sparse-from layers: its num_hidden_layers is 3, the base model's is 2.",
        "task 'sst' is not known",
    ]
    for words_ in expected:
        assert words_ in done.err, words_
    assert done.err.startswith(f"{len(given)} problems; nothing was started:")  # all but one folder, and the task
    assert not world.store.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sparsities", "0.5"], "--sparsities: the sparsity of a checkpoint is counted, not chosen."),
        (["--methods", "sparse-from:mine"], "A sparse checkpoint is named by --sparse-from NAME=DIR alone"),
    ],
)
def test_options_that_contradict_it_are_refused(run_harness: Run, world: World, words: list[str], said: str) -> None:
    folder = write_sparse(world.folder / "mine")
    done = run_harness(world.grid("--sparse-from", f"mine={folder}", *words))
    assert (done.code, said in done.err) == (2, True)


def test_a_checkpoint_belongs_to_one_base_model(run_harness: Run, world: World) -> None:
    folder = write_sparse(world.folder / "mine")
    models = f"tiny={world.folder / 'model'},small={world.folder / 'model'}"
    done = run_harness(world.grid("--sparse-from", f"mine={folder}", models=models))
    assert done.code == 2
    assert "--sparse-from: a checkpoint belongs to one base model, and --models names 2." in done.err


def test_it_is_a_row_under_its_name(run_harness: Run, world: World, fakes: ModuleType) -> None:
    folder = write_sparse(world.folder / "mine")
    assert run_harness(world.grid("--sparse-from", f"mine={folder}", "--tasks", "sst2")).code == 0
    table = run_harness(world.reading("tables")).out
    (row,) = [line for line in table.splitlines() if "| mine " in line]
    assert "0.8496" in row
    assert "50.00" in row
    assert "sparse-from" not in table
    assert "not pruned here but taken from elsewhere; 1 of 2 encoder weights are zero." in table
    assert "sparse-from:mine" in run_harness(world.reading("tables", "--format", "csv")).out
    plan = read_study(Store(world.store), "slice").plan
    assert of_kind(plan, "sparse_checkpoint")
    assert not of_kind(plan, "student_pruning", "corpus")


# The preset paper-released


def planned(**axes: Any) -> Plan:
    preset = load_preset("paper-released")
    identities = {alias: ModelIdentity(weights=f"{alias} weights", tokenizer=alias) for alias in PAPER_MODELS}
    cells = expand(Axes(**{"models": PAPER_MODELS, **axes}), preset).cells
    data = HubData().content_ids(TASKS.values(), corpus=False)
    return plan_cells(cells, preset.recipe, Inputs(models=identities, data=data, released=preset.released))


def test_the_released_models_take_the_place_of_all_pre_training() -> None:
    """Rows: dense x 3; BERT-Base .85 without KD, .85 and its int8, .9; Large .9 and int8; Distil .85, .9 and int8 each.

    That is 3 + 4 + 2 + 4 = 13 rows x 5 tasks x 2 seeds; transfers: 3 + 1 + 2, quantizations: 1 + 1 + 2. Logits of 3 x 5
    teachers.
    """
    assert planned().counts() == {
        "dense": 30,
        "teacher_logits": 15,
        "evaluation": 130,
        "sparse_checkpoint": 5,
        "transfer": 60,
        "quantization": 40,
    }


def test_the_released_models_are_the_authors_at_commits() -> None:
    released = load_preset("paper-released").sparse_checkpoints
    assert {(c.model, c.sparsity, c.source.repository) for c in released} == {
        (model, int(percent) / 100, f"Intel/{name}-uncased-sparse-{percent}-unstructured-pruneofa")
        for model, name, percents in (
            ("bert-base", "bert-base", ("85", "90")),
            ("bert-large", "bert-large", ("90",)),
            ("distilbert", "distilbert-base", ("85", "90")),
        )
        for percent in percents
    }
    assert all(len(c.source.revision) == 40 and int(c.source.revision, 16) >= 0 for c in released)
    assert len({c.content_id for c in released}) == 5


def test_with_and_without_kd_share_the_released_model() -> None:
    plan = planned(models=["bert-base"], methods=["prune-ofa", "prune-ofa-no-kd"], sparsities=[0.85], tasks=["sst2"])
    (checkpoint,) = of_kind(plan, "sparse_checkpoint").values()
    assert checkpoint.parameters == {"model": "bert-base", "sparsity": 0.85}
    assert checkpoint.parents == {}
    assert len(of_kind(plan, "transfer")) == 4  # two seeds


def test_a_named_sparsity_without_a_released_model_is_a_problem_that_lists_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        planned(models=["bert-large"], methods=["prune-ofa"], sparsities=[0.7, 0.85, 0.9])
    assert len(sentences(caught.value)) == 2
    assert sentences(caught.value)[1].startswith(
        "the preset has no sparse checkpoint for bert-large at 0.85. There are: bert-base 0.85, "
        "bert-base 0.9, bert-large 0.9, distilbert 0.85, distilbert 0.9. Bring one of your own with --sparse-from"
    )


def test_a_sparsity_nobody_named_is_dropped_and_so_are_pruning_seeds() -> None:
    preset = load_preset("paper-released")
    axes = Axes(models=["bert-large"], methods=["prune-ofa"], tasks=["sst2"], seeds=[0], pruning_seeds=[0, 1])
    grid = expand(axes, preset)
    assert [(cell.sparsity, cell.pruning_seed) for cell in grid.cells] == [(0.9, 0)]
    assert len(grid.dropped) == 2
    assert "prune-ofa bert-large 0.85: no released model in preset 'paper-released'" in grid.dropped


RELEASED = """
extends = "paper"
description = "d"
[[sparse_checkpoints]]
model = "bert-base"
sparsity = {sparsity}
repository = "who/what"
revision = "{revision}"
published = "where"
"""


def released(revision: str = "0" * 40, sparsity: object = 0.85) -> Preset:
    return parse_preset("mine", RELEASED.format(revision=revision, sparsity=sparsity))


@pytest.mark.parametrize("revision", ["main", "v1.0", "0" * 39, "0" * 41, "G" * 40, ""])
def test_an_unpinned_revision_is_an_error(revision: str) -> None:
    with pytest.raises(UsageError, match="is not pinned. A branch or tag may move: give the commit, 40 hexadecimal"):
        released(revision)


def test_every_problem_of_released_models_is_listed() -> None:
    text = RELEASED.format(revision="main", sparsity=85)
    with pytest.raises(UsageError) as caught:
        parse_preset("mine", text + text[text.index("[[") :] + '[[sparse_checkpoints]]\nmodel = "x"\n')
    # not pinned and out of range, twice; keys missing
    assert len(sentences(caught.value)) == 5


def test_a_released_model_that_is_listed_twice_is_named() -> None:
    text = RELEASED.format(revision="0" * 40, sparsity=0.85)
    with pytest.raises(UsageError, match="sparse checkpoint bert-base 0.85 is listed twice"):
        parse_preset("mine", text + text[text.index("[[") :])


def test_another_released_model_is_another_recipe() -> None:
    hashes = {load_preset("paper").recipe_hash, released().recipe_hash, released("1" * 40).recipe_hash}
    assert len(hashes) == 3
    assert released().recipe_hash == released().recipe_hash


def test_another_revision_reaches_the_checkpoint_and_what_rests_on_it() -> None:
    cells = expand(
        Axes(models=["bert-base"], methods=["prune-ofa"], sparsities=[0.85], tasks=["sst2"]), released()
    ).cells
    plans = [
        plan_cells(cells, preset.recipe, replace(inputs(["bert-base"]), released=preset.released))
        for preset in (released(), released("1" * 40))
    ]
    gone = Counter(plans[0].stages[i].kind for i in plans[0].stages.keys() - plans[1].stages.keys())
    assert gone == {"sparse_checkpoint": 1, "transfer": 2, "evaluation": 2}


def test_a_study_does_not_mix_released_and_pruned_models(run_harness: Run, world: World, fakes: ModuleType) -> None:
    models = f"bert-base={world.folder / 'model'}"
    base = ["grid", "--models", models, "--data", str(world.folder / "data"), "--store", str(world.store)]
    base += ["--tasks", "sst2", "--seeds", "0", "--study", "one", "--executor", "debug", "--methods"]
    assert run_harness([*base, "dense", "--preset", "paper"]).code == 0
    done = run_harness([*base, "dense", "--preset", "paper-released"])
    assert done.code == 2
    assert "study 'one' has another recipe (it differs in sparse_checkpoints)" in done.err


def test_ls_shows_the_checkpoints_of_a_preset(run_harness: Run) -> None:
    shown = run_harness(["ls", "presets", "paper-released", "--json"])
    rows = [row for row in json.loads(shown.out) if row["key"].startswith("sparse checkpoint")]
    assert [row["key"].removeprefix("sparse checkpoint ") for row in rows] == [
        "bert-base 0.85",
        "bert-base 0.9",
        "bert-large 0.9",
        "distilbert 0.85",
        "distilbert 0.9",
    ]
    assert "Intel/bert-base-uncased-sparse-85-unstructured-pruneofa@7278b855" in rows[0]["value"]


def test_zeros_are_counted_without_torch(world: World) -> None:
    folder = write_sparse(world.folder / "mine")
    arguments = world.grid("--dry-run", "--sparse-from", f"mine={folder}")
    program = (
        "import sys; from harness.cli.main import main; main(sys.argv[1:]); "
        "print({'torch', 'datasets'} & {*sys.modules})"
    )
    done = python("-c", program, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
