"""Terms on which two rows are compared: by settings and by data, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from grid_world import settings

from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.planning.recipe import Setting
from harness.store.store import Store
from harness.studies.study import Study, merged, read_study, write_study
from paper_tables.claims.verdicts import read_claims
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.numbers.terms import SPARSITY, TERMS, differing_terms, terms
from paper_tables.tables.build import build
from paper_tables.tables.notes import notes
from paper_tables.tables.table_file import load_table_file

SLICE = Path(__file__).parents[1] / "support" / "presets" / "slice.toml"
SPLITS = ("corpus/train", "corpus/validation", "sst2/train", "sst2/validation")


def add(
    store: Store,
    method: str,
    seeds: Sequence[int],
    newer: str = "",
    quantization: str = "none",
    given: Mapping[str, Setting] | None = None,
) -> None:
    """Cells of a method in the study "mine". newer: a split that has other contents by now. given: over the preset."""
    chosen = load_preset(str(SLICE)).changed(settings())
    recipe = replace(chosen.recipe, settings={**chosen.recipe.settings, **(given or {})})
    chosen = replace(chosen, recipe=recipe)
    axes = Axes(models=["tiny"], tasks=["sst2"], methods=[method], seeds=list(seeds), quantization=[quantization])
    data = {split: f"{split} new" if split == newer else split for split in SPLITS}
    identities = {"tiny": ModelIdentity(weights="w", tokenizer="t")}
    plan = plan_cells(expand(axes, chosen).cells, chosen.recipe, Inputs(models=identities, data=data))
    write_study(store, merged(store, "mine", chosen, plan))


def compared(store: Store) -> tuple[Study, Row, Row]:
    ofa, finetune = sorted(read_numbers(store, "mine").rows, key=lambda row: row.method, reverse=True)
    return read_study(store, "mine"), ofa, finetune


def test_the_names_of_terms_are_those_that_are_told(store: Store) -> None:
    add(store, "prune-ofa", [0])
    study = read_study(store, "mine")
    (stage_id,) = (study.plan.endpoint(cell) for cell in study.plan.paths)
    assert {*terms(study, stage_id), SPARSITY} == set(TERMS)  # the last is told of rows


def test_rows_of_the_same_data_and_settings_are_on_equal_terms(store: Store) -> None:
    add(store, "prune-ofa", range(3))
    add(store, "finetune-pruning", range(3))
    assert differing_terms(*compared(store)) == []


def test_where_the_teachers_logits_come_from_is_no_term(store: Store) -> None:
    """One row's teacher runs beside its student, the other's logits were stored: the same teacher, the same losses."""
    given = {"task_pruning.teacher_logits": Setting("stored", "set", "command line")}
    for method in ("prune-ofa", "finetune-pruning"):
        add(store, method, range(3), given=given)
    study, ofa, finetune = compared(store)
    behind = [study.plan.stages[study.plan.stages[row.stage_ids[0]].parents["model"]] for row in (ofa, finetune)]
    assert ["teacher_logits" in spec.parents for spec in behind] == [False, True]
    assert differing_terms(study, ofa, finetune) == []


def test_a_pair_that_distillation_sets_apart_is_one_with_stored_logits_too(store: Store) -> None:
    given = {"common.teacher_logits": Setting("stored", "set", "command line")}
    for method in ("prune-ofa", "prune-ofa-no-kd"):
        add(store, method, range(3), given=given)
    (block,) = build(load_table_file("ablation"), read_numbers(store, "mine")).blocks
    assert block.heading == "Ablation at 0.85: transfer KD"


@pytest.mark.parametrize(
    ("one", "other", "differing"),
    [
        (("searched", "1e-4 to 4e-4 on a slice"), ("searched", "1e-4 to 4e-4 on a slice"), []),
        (("searched", "1e-4 to 4e-4 on a slice"), ("searched", "1e-5 to 4e-4 on a slice"), ["learning_rate"]),
        (("searched", "1e-4 to 4e-4 on a slice"), ("assumed", "1e-4 to 4e-4 on a slice"), ["learning_rate"]),
        (("assumed", "usual"), ("assumed", "usual"), ["learning_rate"]),
    ],
)
def test_learning_rates_that_were_searched_alike_are_equal_terms_whatever_they_came_to(
    one: tuple[str, str], other: tuple[str, str], differing: list[str], store: Store
) -> None:
    given = {"transfer.learning_rate": Setting(4e-4, *one), "task_pruning.learning_rate": Setting(2e-4, *other)}
    for method in ("prune-ofa", "finetune-pruning"):
        add(store, method, range(3), given=given)
    assert differing_terms(*compared(store)) == differing


def test_a_note_tells_what_was_searched_and_how(store: Store) -> None:
    words = "1e-4 to 4e-4 on a slice"
    given = {
        "transfer.learning_rate": Setting(4e-4, "searched", words),
        "task_pruning.learning_rate": Setting(2e-4, "searched", words),
    }
    add(store, "prune-ofa", [0], given=given)
    alone = f"Searched, alike for each: transfer.learning_rate=0.0004: {words}."
    assert alone in notes(read_study(store, "mine"), {}), "what no stage of the study has is no matter of its table"
    add(store, "finetune-pruning", [0], given=given)
    study = read_study(store, "mine")
    assert f"Searched, alike for each: task_pruning.learning_rate=0.0002, transfer.learning_rate=0.0004: {words}." in (
        notes(study, {})
    )


def test_rows_scored_or_trained_on_other_data_are_not(store: Store) -> None:
    for newer in ("sst2/validation", "sst2/train"):
        other = Store(store.root / newer.replace("/", "-"))
        add(other, "prune-ofa", range(3))
        add(other, "finetune-pruning", range(3), newer)
        assert "data" in differing_terms(*compared(other))


def test_one_seed_of_other_data_is_enough(store: Store) -> None:
    """The first seeds are alike: what was added to a study later need not be."""
    add(store, "prune-ofa", range(3))
    add(store, "finetune-pruning", range(2))
    add(store, "finetune-pruning", [2], "sst2/validation")
    assert differing_terms(*compared(store)) == ["data"]


def test_so_is_one_between_others(store: Store) -> None:
    """Seeds that are alike are compared once, whichever of them comes last."""
    add(store, "prune-ofa", range(3))
    add(store, "finetune-pruning", [0, 2])
    add(store, "finetune-pruning", [1], "sst2/validation")
    assert differing_terms(*compared(store)) == ["data"]


def test_one_seed_of_another_teacher_is_enough_though_the_teachers_are_alike(store: Store) -> None:
    for method in ("prune-ofa", "finetune-pruning"):
        add(store, method, range(3))
    study, ofa, finetune = compared(store)
    assert differing_terms(study, ofa, finetune) == []
    add(store, "dense", [1])
    stages = read_study(store, "mine").plan.stages
    (teacher,) = (i for i, spec in stages.items() if spec.kind == "dense" and spec.parameters["seed"] == 1)
    transfer = stages[ofa.stage_ids[1]].parents["model"]
    taught = replace(stages[transfer], parents={**stages[transfer].parents, "teacher": teacher})
    first = {teacher: stages[teacher]}  # parents come first
    anew = replace(study, plan=replace(study.plan, stages={**first, **stages, transfer: taught}))
    assert anew.plan.alike(teacher) == anew.plan.alike(stages[transfer].parents["teacher"])
    assert differing_terms(anew, ofa, finetune) == ["distillation"]


def test_a_cost_of_quantization_is_of_one_data(store: Store) -> None:
    """The fp32 model is the same, for it was trained before; what it and its int8 copy are scored on is not."""
    add(store, "prune-ofa", range(3))
    add(store, "prune-ofa", range(3), "sst2/validation", quantization="int8")
    (found,) = (each for each in read_claims(read_numbers(store, "mine")) if each.claim.id == "qat-under-one-point")
    assert [each.apart for each in found.found.comparisons] == [("data",)]


def test_where_both_changed_on_the_same_seeds_they_are_alike(store: Store) -> None:
    for method in ("prune-ofa", "finetune-pruning"):
        add(store, method, range(2))
        add(store, method, [2], "sst2/validation")
    assert differing_terms(*compared(store)) == []


def test_rows_without_a_shared_seed_are_told_by_their_first(store: Store) -> None:
    add(store, "prune-ofa", [0])
    add(store, "finetune-pruning", [1], "sst2/validation")
    assert differing_terms(*compared(store)) == ["data"]


def test_two_methods_are_no_pair_where_one_seed_is_of_other_data(store: Store) -> None:
    """Of a pair of rows that one setting sets apart every seed counts, also one between others."""
    add(store, "prune-ofa", range(3))
    mixed = Store(store.root / "mixed")
    add(mixed, "prune-ofa", range(3))
    add(store, "prune-ofa-no-kd", range(3))
    add(mixed, "prune-ofa-no-kd", [0, 2])
    add(mixed, "prune-ofa-no-kd", [1], "sst2/train")
    headings = [
        [block.heading for block in build(load_table_file("ablation"), read_numbers(each, "mine")).blocks]
        for each in (store, mixed)
    ]
    assert headings == [
        ["Ablation at 0.85: transfer KD"],
        ["Ablation: no two rows differ in one thing alone"],
    ]
