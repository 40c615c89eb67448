"""Two rows by seed, and what their interval is conditional on."""

from __future__ import annotations

import pytest

from paper_tables.numbers.pairs import (
    condition,
    independent_values,
    is_of_one_pruning,
    paired_values,
    row_difference,
)
from paper_tables.numbers.rows import Row, aggregate
from paper_tables.numbers.score import Score


def row(scores: list[tuple[int, int | None, float | None]], method: str = "prune-ofa") -> Row:
    """scores: (transfer seed, pruning seed, percent)."""
    common = {"study": "s", "model": "tiny", "method": method, "sparsity": 0.85, "transfer_kd": "yes", "bits": 32}
    (found,) = aggregate(
        Score(**common, task="sst2", metric="accuracy", seed=seed, pruning_seed=pruning, value=value)  # type: ignore[arg-type]
        for seed, pruning, value in scores
    )
    return found


def test_over_several_prunings_a_seed_counts_by_the_mean_of_those_that_are_there() -> None:
    found = row([(0, 0, 80.0), (0, 1, 82.0), (1, 0, 70.0), (1, 1, None), (2, 0, None), (2, 1, None)])
    assert paired_values(found, found) == ({0: 81.0, 1: 70.0}, {0: 81.0, 1: 70.0})


def test_a_row_that_lacks_a_pruning_is_not_compared_with_a_mean_over_others() -> None:
    """The second pruning is 10 points worse in both; only one of them has it everywhere."""
    both = row([(0, 0, 85.0), (0, 1, 75.0), (1, 0, 86.0), (1, 1, 76.0), (2, 1, 77.0)])
    one = row([(0, 0, 85.0), (0, 1, None), (1, 0, 86.0), (1, 1, 76.0), (2, 0, 90.0)])
    assert paired_values(one, both) == ({0: 85.0, 1: 81.0}, {0: 85.0, 1: 81.0})
    assert paired_values(both, one) == paired_values(one, both)


def test_what_was_not_pruned_in_pretraining_is_paired_with_the_mean_of_prunings() -> None:
    dense = row([(0, None, 80.0), (1, None, 81.0)], "dense")
    assert paired_values(row([(0, 0, 70.0), (0, 1, 74.0)]), dense) == ({0: 72.0}, {0: 80.0})


def test_prunings_of_one_transfer_seed_are_not_independent_values() -> None:
    crossed = row([(0, 0, 80.0), (0, 1, 82.0), (1, 0, 70.0), (1, 1, 72.0)])
    assert independent_values(crossed.seeds) == [81.0, 71.0]
    assert independent_values(row([(0, 0, 80.0), (0, 1, 82.0), (0, 2, None)]).seeds) == [80.0, 82.0]
    assert independent_values(row([(0, None, 80.0), (1, None, None)]).seeds) == [80.0]
    assert independent_values(()) == []


def test_rows_differ_by_their_shared_seeds() -> None:
    found = row_difference(row([(0, 0, 80.0), (1, 0, 82.0), (5, 0, 9.0)]), row([(0, None, 79.0), (1, None, 80.0)]))
    assert found is not None
    assert (found.mean, found.n) == (1.5, 2)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([(0, 0, 80.0), (1, 0, 81.0)], "one pruning"),
        ([(0, 0, 80.0), (0, 1, 81.0), (1, 0, 81.0), (1, 1, 80.0)], "2 prunings"),
        ([(0, 0, 80.0), (1, 0, 81.0), (2, 1, 80.0)], "2 prunings"),
        ([(0, 0, 80.0), (1, 1, 81.0), (2, 2, 80.0)], None),  # each seed has its own: nothing is shared
        ([(0, 0, 80.0), (1, 0, 81.0), (0, 1, None), (1, 1, None)], "one pruning"),  # the other is not done
        ([(0, None, 80.0), (1, None, 81.0)], None),  # nothing was pruned in pre-training
    ],
)
def test_an_interval_is_conditional_on_the_prunings_that_its_seeds_share(
    seeds: list[tuple[int, int | None, float | None]], said: str | None
) -> None:
    assert condition([row(seeds)]) == said
    assert is_of_one_pruning(row(seeds)) == (said == "one pruning")


def test_of_several_rows_the_fewest_prunings_count() -> None:
    dense = row([(0, None, 80.0), (1, None, 80.0)], "dense")
    one, two = row([(0, 0, 80.0), (1, 0, 80.0)]), row([(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 1.0)])
    assert condition([dense, two, one]) == "one pruning"
    assert condition([dense, dense]) is None
    assert condition([]) is None
