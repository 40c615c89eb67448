"""Terms on which two rows are compared: by settings and by data, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grid_world import settings

from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import Study, merged, read_study, write_study
from paper_tables.claims.verdicts import read_claims
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.numbers.terms import TERMS, differing_terms, terms

SLICE = Path(__file__).parents[1] / "support" / "presets" / "slice.toml"
SPLITS = ("corpus/train", "corpus/validation", "sst2/train", "sst2/validation")


def add(store: Store, method: str, seeds: Sequence[int], newer: str = "", quantization: str = "none") -> None:
    """Cells of a method in the study "mine". newer: a split that has other contents by now."""
    chosen = load_preset(str(SLICE)).changed(settings())
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
    assert set(terms(study, stage_id)) == set(TERMS)


def test_rows_of_the_same_data_and_settings_are_on_equal_terms(store: Store) -> None:
    add(store, "prune-ofa", range(3))
    add(store, "finetune-pruning", range(3))
    assert differing_terms(*compared(store)) == []


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
