"""Which cells are the paper's own: decided by models, data and settings of their stages, never by names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from grid_world import settings

from harness.cli.main import main
from harness.identity import sha256_of
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import HubData
from harness.inputs.models import find_models
from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, expand
from harness.planning.kinds import KINDS
from harness.planning.parameter import Parameter
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import Study, merged, read_study, write_study
from harness.tasks import TASKS
from paper_tables.numbers.comparable import differing_from_paper, note_on_comparison

Publish = Callable[..., None]
MakePaper = Callable[..., Study]
HUB = HubData().content_ids(TASKS.values(), corpus=True)


@pytest.fixture
def paper(store: Store) -> MakePaper:
    """paper(*assignments, preset=.., models=.., data=.., **axes) -> a study as a user would plan it with the hub's."""

    def make(
        *assignments: str,
        preset: str = "paper",
        model: str = "bert-base",
        weights: str | None = None,
        data: Mapping[str, str] | None = None,
        name: str = "mine",
        **axes: object,
    ) -> Study:
        chosen = load_preset(preset).changed(settings(*assignments))
        found = find_models([(model, None)], ContentHashes()).models[model]
        identity = ModelIdentity(weights=weights or found.weights, tokenizer=found.tokenizer)
        inputs = Inputs(models={model: identity}, data={**HUB, **(data or {})}, released=chosen.released)
        grid = expand(Axes(**{"models": [model], "tasks": ["sst2"], **axes}), chosen)  # type: ignore[arg-type]
        plan = plan_cells(grid.cells, chosen.recipe, inputs, grid.methods)
        write_study(store, merged(store, name, chosen, plan))
        return read_study(store, name)

    return make


def apart(study: Study) -> dict[tuple[str, float, int], set[str]]:
    """The names of what differs, by method, sparsity and bits."""
    found = differing_from_paper(study)
    return {(cell.method, cell.sparsity, cell.bits): {each.name for each in each_of} for cell, each_of in found.items()}


def test_a_model_of_the_hub_is_named_by_its_commit() -> None:
    """By another road: the digest that planned every study of it so far."""
    found = find_models([("bert-base", None)], ContentHashes()).models["bert-base"]
    commit = ["google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594"]
    assert (found.weights, found.tokenizer) == (sha256_of([*commit, "weights"]), sha256_of([*commit, "tokenizer"]))


@pytest.mark.parametrize("preset", ["paper", "paper-released"])
def test_the_papers_own_recipe_model_and_data_are_comparable(paper: MakePaper, preset: str) -> None:
    found = apart(paper(preset=preset, seeds=(0, 5)))
    assert ("prune-ofa", 0.85, 8) in found
    assert set().union(*found.values()) == set()


def test_another_model_under_the_papers_name_is_not(paper: MakePaper) -> None:
    found = apart(paper(weights="of a tiny model"))
    assert all("bert-base" in names for names in found.values())
    assert ("dense", 0.0, 32) in found


def test_a_setting_sets_apart_what_lies_downstream_and_nothing_else(paper: MakePaper) -> None:
    found = apart(paper("transfer.epochs=1"))
    assert {key for key, names in found.items() if names} == {
        ("prune-ofa-no-kd", 0.85, 32),
        ("prune-ofa", 0.85, 32),
        ("prune-ofa", 0.85, 8),
        ("prune-ofa", 0.9, 32),
    }
    assert found["prune-ofa", 0.85, 8] == {"transfer.epochs"}


def test_other_data_of_one_task_and_another_corpus_set_apart_what_reads_them(paper: MakePaper) -> None:
    assert set().union(*apart(paper(data={"sst2/train": "mine"})).values()) == {"sst2"}
    found = apart(paper(data={"corpus/train": "mine"}, name="other"))
    assert (found["dense", 0.0, 32], found["prune-ofa", 0.9, 32]) == (set(), {"corpus"})


@pytest.mark.parametrize(
    "assignment",
    [
        "common.threads=2",
        "common.attention=eager",
        "evaluation.batch_size=7",
        "common.evaluation_pairs=5",
        "common.teacher_logits=online",
        "transfer.teacher_logits=online",
        "teacher_logits.batch_size=5",
    ],
)
def test_seeds_and_what_changes_no_score_beyond_rounding_do_not_count(paper: MakePaper, assignment: str) -> None:
    assert set().union(*apart(paper(assignment, seeds=(3,), pruning_seeds=(4,))).values()) == set()


@pytest.mark.parametrize("key", ["corpus.shuffle_seed", "pairs.seed", "task.sst2.train_subset_seed"])
def test_a_seed_that_the_recipe_gives_is_a_setting_like_any_other(paper: MakePaper, key: str) -> None:
    """The paper's release shuffles with 42."""
    found = apart(paper(f"{key}=9"))["prune-ofa", 0.85, 8]
    assert {name.rpartition(".")[2] for name in found} == {key.rpartition(".")[2]}


def test_seeds_of_one_row_are_told_apart_where_more_than_seeds_sets_them_apart(paper: MakePaper) -> None:
    for seed, data in ((0, None), (1, {"sst2/train": "mine"}), (2, None)):
        study = paper(methods=["dense"], quantization=["none"], seeds=(seed,), data=data)
    found = {cell.seed: [each.name for each in each_of] for cell, each_of in differing_from_paper(study).items()}
    assert found == {0: [], 1: ["sst2"], 2: []}


def test_a_preset_that_extends_the_papers_and_changes_nothing_compares(paper: MakePaper, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('description = "The same."\nextends = "paper"\n')
    assert set().union(*apart(paper(preset=str(mine))).values()) == set()
    mine.write_text(mine.read_text() + '[recipe.dense]\nepochs = { value = 4.0, assumed = "longer" }\n')
    assert apart(paper(preset=str(mine), name="longer"))["dense", 0.0, 32] == {"dense.epochs"}


def test_the_recipe_on_equal_terms_is_ours_and_does_not_compare(paper: MakePaper) -> None:
    assert all(names for names in apart(paper(preset="equal")).values())


def test_a_later_code_version_is_no_setting_of_the_paper(paper: MakePaper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a setting that it brought."""
    study, kind = paper(), KINDS["transfer"]
    recipe = {**kind.recipe, "label_smoothing": Parameter(float, default=0.0, assumed="as before")}
    monkeypatch.setitem(KINDS, "transfer", replace(kind, version=kind.version + 1, recipe=recipe))
    found = apart(study)
    assert ("prune-ofa", 0.85, 8) in found
    assert set().union(*found.values()) == set()


def test_a_transfer_without_its_teacher_is_set_apart(paper: MakePaper) -> None:
    """Its stages lack the settings of distillation, and the teacher with them."""
    study = paper(methods=["prune-ofa", "prune-ofa-no-kd"], sparsities=[0.85], quantization=["none"], seeds=(0,))
    paths = {cell.method: path for cell, path in study.plan.paths.items()}
    for cell in study.plan.paths:  # each with the stages of the other
        study.plan.paths[cell] = paths["prune-ofa-no-kd" if cell.method == "prune-ofa" else "prune-ofa"]
    distillation = {"transfer.ce_weight", "transfer.kd_weight", "transfer.temperature"}
    assert apart(study) == {
        ("prune-ofa", 0.85, 32): {"teacher of transfer", *distillation},
        ("prune-ofa-no-kd", 0.85, 32): {"teacher of transfer", *distillation},
    }


def test_a_setting_that_one_side_lacks_under_the_same_code_version_counts(
    paper: MakePaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, kind = paper(), KINDS["transfer"]
    recipe = {**kind.recipe, "label_smoothing": Parameter(float, default=0.0, assumed="as before")}
    monkeypatch.setitem(KINDS, "transfer", replace(kind, recipe=recipe))
    assert apart(study)["prune-ofa", 0.85, 8] == {"transfer.label_smoothing"}


def test_what_the_paper_does_not_print_is_not_looked_at(paper: MakePaper) -> None:
    assert set(apart(paper(methods=["dense", "prune-ofa"], sparsities=[0.5, 0.85], quantization=["none"]))) == {
        ("dense", 0.0, 32),
        ("prune-ofa", 0.85, 32),
    }


def test_the_note_says_what_differs_with_both_values(paper: MakePaper) -> None:
    found = differing_from_paper(paper("dense.epochs=1", weights="tiny", data={"sst2/train": "d"}, methods=["dense"]))
    assert note_on_comparison(found) == [
        "The paper's numbers stand beside none of ours: 2 of 2 cells differ from its own in the model "
        "(bert-base), the data (sst2), the settings (dense.epochs 1.0, in the paper's preset 3.0)."
    ]
    assert note_on_comparison(differing_from_paper(paper(name="same"))) == []


@pytest.mark.parametrize(("weights", "difference"), [(None, -2.13), ("tiny", None)])
def test_table_and_figure_follow_one_decision(
    paper: MakePaper,
    publish: Publish,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    weights: str | None,
    difference: float | None,
) -> None:
    study = paper(weights=weights, methods=["dense"], seeds=(0,))
    publish(study, {"sst2": {"accuracy": 0.9}}, zeros=0.0)
    assert main(["tables", "--store", str(store.root), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["published"] == (92.13 if difference else None)  # Table 1, BERT-Base, SST-2
    assert row["difference"] == (pytest.approx(difference) if difference else None)
    assert row["table"] == ("Table 1" if difference else "mine")
    assert main(["plots", "--store", str(store.root), "--out", str(tmp_path / "figures"), "--json"]) == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert [point["from_paper"] for point in figure["panels"][0]["points"]] == [False, True][: 2 if difference else 1]
