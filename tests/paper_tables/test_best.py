"""What is named best: a lead outside the noise of paired seeds, after Holm's correction, on equal terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from harness.store.store import Store
from harness.studies.study import Study
from paper_tables.numbers.rows import Row, SeedValue
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.tables import best
from paper_tables.tables.best import best_of_blocks, leads

Make = Callable[..., Study]
Publish = Callable[..., None]


def sentences(store: Store, study: Study) -> list[str]:
    return best_of_blocks(study, read_numbers(store, study.name).rows)


def row(method: str, values: Sequence[float], metric: str = "accuracy") -> Row:
    return Row(
        table="demo", model="tiny", method=method, sparsity=0.85, transfer_kd="yes", bits=32, task="sst2",
        metric=metric, value=sum(values) / len(values), n=len(values), spread=None, spread_over=None, published=None,
        difference=None, missing=0, measured_sparsity=None,
        seeds=tuple(SeedValue(seed, None, value, str(seed)) for seed, value in enumerate(values)),
    )  # fmt: skip


def test_a_lead_on_every_seed_is_shown_and_one_within_noise_is_not() -> None:
    # Differences 2.0, 2.1, 1.9: mean 2, sd 0.1, t(2) = 4.303: 2 -+ 0.25. And 2, -2, 3: sd 2.6, so -+ 6.6.
    (lead,) = leads([[row("a", [82.0, 83.1, 83.9]), row("b", [80.0, 81.0, 82.0])]])
    assert (lead.best.method, lead.is_shown) == ("a", True)
    assert lead.difference is not None
    assert lead.difference.mean == pytest.approx(2.0)
    (lead,) = leads([[row("a", [82.0, 79.0, 85.0]), row("b", [80.0, 81.0, 82.0])]])
    assert not lead.is_shown


def test_two_seeds_show_nothing_however_wide_the_lead() -> None:
    (lead,) = leads([[row("a", [90.0, 90.0]), row("b", [50.0, 50.1])]])
    assert not lead.is_shown


def test_holm_counts_all_pairs_of_the_block() -> None:
    # t = 4.5 of 3 pairs: p = 0.046 alone. With a second column, whose p is 1, it is doubled.
    one, other = [81.0, 82.0, 83.0], [80.0, 80.0, 81.0]
    assert [lead.is_shown for lead in leads([[row("a", [82.0, 82.6, 84.0]), row("b", [80.5, 81.5, 82.0])]])] == [True]
    both = leads([
        [row("a", [82.0, 82.6, 84.0]), row("b", [80.5, 81.5, 82.0])],
        [row("a", one, "f1"), row("b", [82.0, 81.0, 83.0], "f1")],
    ])  # fmt: skip
    assert [lead.is_shown for lead in both] == [False, False]
    assert other


def test_who_leads_the_second_but_not_the_third_leads_nobody() -> None:
    close = [81.9, 83.2, 83.5]
    (lead,) = leads([[row("a", [82.0, 83.1, 83.9]), row("b", [70.0, 71.0, 72.0]), row("c", close)]])
    assert (lead.next.method, lead.is_shown) == ("c", False)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2, 3, 4)])
def test_the_best_sparse_fp32_method_is_named_where_its_seeds_show_it(
    store: Store, make_study: Make, publish: Publish, seeds: tuple[int, ...]
) -> None:
    study = make_study(tasks=["sst2"], seeds=seeds, methods=["dense", "prune-ofa", "finetune-pruning"],
                       quantization=["none", "int8"])  # fmt: skip
    publish(study, {"sst2": {"accuracy": 0.99}}, method="dense", quantization="none", zeros=0.0)
    for seed in seeds:
        publish(study, {"sst2": {"accuracy": 0.80 + 0.01 * seed}}, method="prune-ofa", quantization="none", seed=seed)
        publish(study, {"sst2": {"accuracy": 0.98}}, method="prune-ofa", quantization="int8", seed=seed)
    assert sentences(store, study) == []  # one sparse fp32 method has numbers: there is nothing to compare it with
    for seed in seeds:
        publish(
            study,
            {"sst2": {"accuracy": 0.82 + 0.01 * seed + 0.001 * (seed % 2)}},
            method="finetune-pruning",
            quantization="none",
            seed=seed,
        )
    (said,) = sentences(store, study)
    if len(seeds) == 1:
        assert said == "No difference shown, tiny at 0.85: sst2 acc (fewer than 3 shared seeds)."
    else:
        # Differences 2.0, 2.1, 2.0, 2.1, 2.0: mean 2.04, sd 0.0548, t(4) = 2.776: -+ 0.068.
        assert said == (
            "Best, tiny at 0.85, sst2 acc: finetune-pruning 84.04, ahead of prune-ofa by 2.04 points (+1.97 to +2.11, "
            "n=5, conditional on one pruning)."
        )


NO_KD = (
    "No winner is named between prune-ofa-no-kd and finetune-pruning or prune-ofa, tiny at 0.85, sst2: they differ in "
    "distillation."
)


def test_only_methods_on_equal_terms_are_ranked(store: Store, make_study: Make, publish: Publish) -> None:
    study = make_study(tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.8}}, method="prune-ofa", quantization="none")
    publish(study, {"sst2": {"accuracy": 0.8125}}, method="finetune-pruning")
    publish(study, {"sst2": {"accuracy": 0.9}}, method="prune-ofa-no-kd")  # the best score, without distillation
    assert sentences(store, study) == [
        "No difference shown, tiny at 0.85: sst2 acc (fewer than 3 shared seeds).",
        NO_KD,
    ]


def test_who_is_not_ranked_is_told_once_for_all_tasks_and_the_ranked_by_number_where_they_are_many(
    store: Store, make_study: Make, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best, "MOST_NAMED", 2)
    ranked = ["finetune-pruning", "prune-ofa", "random-mask"]
    study = make_study(tasks=["sst2", "squad"], methods=[*ranked, "prune-ofa-no-kd", "finetune-pruning-no-kd"])
    for method in (*ranked, "prune-ofa-no-kd", "finetune-pruning-no-kd"):
        publish(study, {"sst2": {"accuracy": 0.8}, "squad": {"exact_match": 80.0, "f1": 80.0}}, method=method)
    assert sentences(store, study)[-1] == (
        "No winner is named between prune-ofa-no-kd or finetune-pruning-no-kd and the 3 that are compared, tiny at "
        "0.85, squad, sst2: they differ in distillation."
    )


@pytest.mark.parametrize(
    ("assignment", "differing"),
    [
        ("transfer.epochs=4", "epochs"),
        ("task_pruning.tasks.sst2.learning_rate=2e-4", "learning_rate"),
        ("transfer.kd_weight=0.9", "distillation"),
        ("task_pruning.prune_pooler=false", "modules"),
        ("transfer.models.tiny.batch_size=7", "batch_size"),
    ],
)
def test_no_winner_is_named_on_unequal_terms_and_the_difference_is(
    store: Store, make_study: Make, publish: Publish, assignment: str, differing: str
) -> None:
    study = make_study(assignment, tasks=["sst2"], methods=["finetune-pruning", "prune-ofa"])
    publish(study, {"sst2": {"accuracy": 0.8}}, method="prune-ofa")
    publish(study, {"sst2": {"accuracy": 0.9}}, method="finetune-pruning")
    assert sentences(store, study) == [
        f"No winner is named between prune-ofa and finetune-pruning, tiny at 0.85, sst2: they differ in {differing}."
    ]
