import random
from dataclasses import replace

import pytest

from paper_tables.numbers.published import PAPER_COLUMNS
from paper_tables.numbers.rows import aggregate, method_title
from paper_tables.numbers.score import Score

BASE = Score(
    study="demo",
    model="bert-base",
    method="prune-ofa",
    sparsity=0.85,
    transfer_kd="yes",
    bits=32,
    task="squad",
    metric="exact_match",
    seed=0,
    value=81.0,
    stage_id="s0",
    comparable=True,
)


def test_three_rows_aggregated_by_hand() -> None:
    rows = aggregate(
        [
            BASE,
            replace(BASE, seed=1, value=82.0, stage_id="s1"),
            replace(BASE, seed=2, value=84.5, stage_id="s2"),
            replace(BASE, metric="f1", value=88.0, stage_id="s0"),
            replace(BASE, metric="f1", seed=1, value=None, stage_id=None),
            replace(BASE, metric="f1", bits=8, value=None, stage_id=None),
        ]
    )
    em, f1, int8 = rows
    # EM: mean (81 + 82 + 84.5) / 3 = 82.5; deviations -1.5, -0.5, 2; squares 2.25 + 0.25 + 4 = 6.5; sd sqrt(6.5 / 2).
    assert (em.value, em.n, em.missing) == (82.5, 3, 0)
    assert em.spread == pytest.approx(1.8027756)
    assert (em.published, em.stage_ids) == (81.10, ("s0", "s1", "s2"))
    # F1: one seed of two, so a mean but no spread.
    assert (f1.value, f1.n, f1.missing, f1.spread, f1.published) == (88.0, 1, 1, None, 88.42)
    # int8: nothing finished; the paper's value stands all the same.
    assert (int8.value, int8.n, int8.missing, int8.spread, int8.published) == (None, 0, 1, None, 88.24)
    assert {row.table for row in rows} == {"Table 1"}


def test_the_papers_number_stands_only_beside_cells_that_are_all_comparable() -> None:
    (row,) = aggregate([BASE])
    assert (row.published, row.difference) == (81.10, pytest.approx(-0.10))  # 81.00 - 81.10
    assert aggregate([replace(BASE, value=None)])[0].difference is None
    assert aggregate([replace(BASE, sparsity=0.5)])[0].published is None
    other = replace(BASE, seed=1, stage_id="s1", comparable=False)
    for scores in ([other], [BASE, other]):
        (row,) = aggregate(scores)
        assert (row.published, row.difference) == (None, None)


def test_a_table_is_called_the_papers_where_a_number_of_the_model_is_comparable() -> None:
    small = replace(BASE, sparsity=0.5, comparable=False)
    assert {row.table for row in aggregate([BASE, small])} == {"Table 1"}
    assert {row.table for row in aggregate([small])} == {"demo"}


def test_a_cell_distilled_unlike_the_papers_gets_no_published_value() -> None:
    assert aggregate([replace(BASE, transfer_kd="no")])[0].published is None
    dense = replace(BASE, method="dense", sparsity=0.0)
    found = [aggregate([replace(dense, transfer_kd=kd)])[0].published for kd in ("na", "no", "yes")]
    assert found == [80.8, 80.8, None]


def test_order_follows_the_paper_and_unknown_names_come_last() -> None:
    columns = [*PAPER_COLUMNS, ("cola", "mcc"), ("stsb", "pearson")]
    cells = [
        ("bert-base", "dense", 0.0, 32),
        ("bert-base", "finetune-pruning", 0.85, 32),
        ("bert-base", "prune-ofa-no-kd", 0.85, 32),
        ("bert-base", "prune-ofa", 0.85, 32),
        ("bert-base", "prune-ofa", 0.85, 8),
        ("bert-base", "prune-ofa", 0.9, 32),
        ("bert-base", "lottery", 0.7, 32),
        ("bert-base", "movement", 0.5, 32),
        ("bert-large", "dense", 0.0, 32),
        ("distilbert", "dense", 0.0, 32),
        ("albert", "dense", 0.0, 32),
        ("minilm-l6", "dense", 0.0, 32),
    ]
    scores = [
        replace(BASE, model=model, method=method, sparsity=sparsity, bits=bits, task=task, metric=metric)
        for model, method, sparsity, bits in cells
        for task, metric in columns
    ]
    random.Random(0).shuffle(scores)
    rows = aggregate(scores)
    assert list(dict.fromkeys((row.model, row.method, row.sparsity, row.bits) for row in rows)) == cells
    assert [(row.task, row.metric) for row in rows[: len(columns)]] == columns
    assert list(dict.fromkeys(row.table for row in rows)) == ["Table 1", "Table 2", "Table 3", "demo"]


def test_shuffled_scores_give_the_same_rows() -> None:
    values = random.Random(1)
    scores = [
        replace(BASE, seed=seed, pruning_seed=p, value=values.uniform(0, 100), stage_id=f"{seed}{p}")
        for seed in range(7)
        for p in range(3)
    ]
    expected = aggregate(scores)
    random.Random(2).shuffle(scores)
    assert aggregate(scores) == expected


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ([(0, 0), (1, 0)], "transfer seeds"),
        ([(0, 0), (0, 1)], "pruning seeds"),
        ([(0, 0), (1, 1)], "transfer and pruning seeds"),
        ([(0, 0)], None),
    ],
)
def test_a_row_says_which_seeds_its_spread_is_over(seeds: list[tuple[int, int]], expected: str | None) -> None:
    (row,) = aggregate([replace(BASE, seed=seed, pruning_seed=pruning_seed) for seed, pruning_seed in seeds])
    assert row.spread_over == expected


def test_measured_sparsity_is_the_range_of_the_seeds_that_counted_it() -> None:
    shares = [0.8502, None, 0.8499]
    (row,) = aggregate([replace(BASE, seed=seed, measured_sparsity=share) for seed, share in enumerate(shares)])
    assert row.measured_sparsity == (0.8499, 0.8502)


def test_sparsities_that_were_trained_apart_are_rows_apart() -> None:
    """A study of an earlier version may hold both; the paper prints the same number for either."""
    rows = aggregate([BASE, replace(BASE, sparsity=0.8500000001, stage_id="s1")])
    assert [(row.n, row.sparsity, row.published) for row in rows] == [(1, 0.85, 81.10), (1, 0.8500000001, 81.10)]


def test_the_same_seed_twice_is_refused_naming_both_stages() -> None:
    with pytest.raises(ValueError, match="stages s0 and s9"):
        aggregate([BASE, replace(BASE, value=70.0, stage_id="s9")])
    with pytest.raises(ValueError, match="stages s0 and s0"):
        aggregate([BASE, BASE])


def test_two_studies_never_share_a_table() -> None:
    with pytest.raises(ValueError, match="Table 1 would mix the studies demo, other"):
        aggregate([BASE, replace(BASE, study="other", seed=1)])
    small = replace(BASE, model="minilm-l6")
    assert [row.table for row in aggregate([small, replace(small, study="other")])] == ["demo", "other"]


def test_no_scores_give_no_rows() -> None:
    assert aggregate([]) == []


def test_a_checkpoint_of_ones_own_goes_by_its_name_unless_a_method_has_it() -> None:
    assert method_title("sparse-from:oBERT") == "oBERT"
    assert method_title("sparse-from:prune-ofa") == "sparse-from:prune-ofa"
    assert [method_title(method) for method in ("prune-ofa", "mine:prune-ofa")] == ["prune-ofa", "mine:prune-ofa"]
