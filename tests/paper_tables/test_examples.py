"""Statistics over examples, against counts by hand and a bootstrap that draws examples one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from harness.tasks import get_task
from paper_tables.examples.comparison import binary_f1, compare_split, over_seeds, verdict, with_adjusted_p
from paper_tables.examples.predictions import Predictions
from paper_tables.statistics.examples import mcnemar, paired_bootstrap, paired_f1_bootstrap


def test_mcnemar_by_hand() -> None:
    # Four examples only one has right, one only the other: 2 * (C(5,0) + C(5,1)) / 32 = 12/32.
    found = mcnemar([1, 1, 1, 1, 0, 1, 0], [0, 0, 0, 0, 1, 1, 0])
    assert (found.only_one, found.only_other) == (4, 1)
    assert found.p_value == pytest.approx(12 / 32)


def predictions(labels: list[int], said: list[int]) -> Predictions:
    right = [float(label == each) for label, each in zip(labels, said, strict=True)]
    return Predictions([str(i) for i in range(len(labels))], labels, said, {"accuracy": right})


def test_binary_f1_is_scikit_learns() -> None:
    draw = np.random.default_rng(1)
    for size in (1, 2, 7, 300):
        labels, said = (draw.integers(2, size=size).tolist() for _ in range(2))
        assert binary_f1(labels, said) == pytest.approx(f1_score(labels, said, zero_division=0.0), abs=1e-15)
    assert binary_f1([0, 0], [0, 0]) == 0.0


def f1_of_each(labels: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Of each row of classes [draws, examples]: by precision and recall."""
    right = (labels * said).sum(axis=1)
    precision, recall = right / said.sum(axis=1), right / labels.sum(axis=1)
    return 2 * precision * recall / (precision + recall)


def test_the_f1_bootstrap_is_that_of_examples_drawn_one_by_one() -> None:
    draw = np.random.default_rng(2)
    labels = draw.integers(2, size=150)
    one = np.where(draw.random(150) < 0.8, labels, 1 - labels)
    other = np.where(draw.random(150) < 0.7, labels, 1 - labels)
    rows = draw.integers(150, size=(4000, 150))
    slow = f1_of_each(labels[rows], one[rows]) - f1_of_each(labels[rows], other[rows])
    assert slow[0] == pytest.approx(f1_score(labels[rows[0]], one[rows[0]]) - f1_score(labels[rows[0]], other[rows[0]]))
    found = paired_f1_bootstrap(labels.tolist(), one.tolist(), other.tolist())
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.01)
    assert found == paired_f1_bootstrap(labels.tolist(), one.tolist(), other.tolist())  # same bytes
    assert found.high - found.low > 0.05


def test_equal_models_differ_by_nothing_and_bad_input_is_refused() -> None:
    assert paired_f1_bootstrap([1, 0, 1], [1, 1, 0], [1, 1, 0])[:2] == (0.0, 0.0)
    assert paired_f1_bootstrap([0], [0], [0])[:2] == (0.0, 0.0)  # class 1 never occurs
    for bad in (([], [], []), ([1], [1, 0], [1]), ([2], [1], [1])):
        with pytest.raises(ValueError, match="expected"):
            paired_f1_bootstrap(*bad)


def test_a_split_of_qqp_by_hand() -> None:
    labels = [1, 1, 1, 0, 0]
    found = compare_split(
        get_task("qqp"), "qqp", predictions(labels, [1, 1, 0, 0, 0]), predictions(labels, [1, 0, 0, 1, 0]), 3, None
    )
    accuracy, f1 = found.metrics
    assert (accuracy.first, accuracy.second, accuracy.difference) == (80.0, 40.0, 40.0)
    assert (f1.first, f1.second) == pytest.approx((80.0, 40.0))  # 2*2/(2*2+0+1) and 2*1/(2*1+1+2)
    assert (found.right.only_one, found.right.only_other, found.agreeing) == (2, 0, 3)
    assert f1.interval.holds(f1.difference)


def test_other_examples_are_refused() -> None:
    one = predictions([1, 0], [1, 0])
    renamed = Predictions(["0", "7"], one.targets, one.said, one.scores)
    for other in (predictions([1], [1]), predictions([0, 1], [1, 0]), renamed):
        with pytest.raises(ValueError, match="not the same ones"):
            compare_split(get_task("sst2"), "sst2", one, other, 0, None)


def test_p_values_are_corrected_for_their_number_and_seeds_speak_as_many_as_they_are() -> None:
    task, labels = get_task("sst2"), [1] * 20
    seeds = [
        compare_split(
            task, "sst2", predictions(labels, [1] * 20), predictions(labels, [0] * k + [1] * (20 - k)), k, None
        )
        for k in (6, 7, 8)
    ]
    raw = [each.right.p_value for each in seeds]
    assert raw == [2 / 2**6, 2 / 2**7, 2 / 2**8]  # all of k coins fall alike
    assert [each.adjusted_p for each in with_adjusted_p(seeds)] == [2 / 2**6, 2 * 2 / 2**7, 3 * 2 / 2**8]
    (all_three,), (two,), (one,) = over_seeds(seeds), over_seeds(seeds[:2]), over_seeds(seeds[:1])
    assert all_three.difference.mean == pytest.approx(35.0)  # (30 + 35 + 40) / 3
    # Student: 35 -+ 4.3027 * 5 / sqrt(3) = 22.58 .. 47.42
    assert (
        verdict(all_three) == "sst2 accuracy: +35.00 points over 3 seeds, 95% interval +22.58 to +47.42: a difference."
    )
    assert verdict(two).endswith("over 2 seeds (+30.00 to +35.00): too few for an interval.")
    assert verdict(one) == "sst2 accuracy: +30.00 points for one seed, which says nothing of others."


def test_prunings_of_a_transfer_seed_are_no_seeds_of_their_own() -> None:
    """Two transfer seeds of two prunings: 30 and 40, 35 and 45 points; two differences, 35 and 40."""
    task, labels = get_task("sst2"), [1] * 20
    found = [
        compare_split(
            task, "sst2", predictions(labels, [1] * 20), predictions(labels, [0] * k + [1] * (20 - k)), seed, pruning
        )
        for seed, pruning, k in ((0, 0, 6), (0, 1, 8), (1, 0, 7), (1, 1, 9))
    ]
    (over,) = over_seeds(found)
    assert (over.difference.n, over.difference.interval) == (2, None)
    assert (over.difference.low, over.difference.high) == pytest.approx((35.0, 40.0))


def test_the_interval_over_examples_covers_a_true_difference_of_f1() -> None:
    """By simulation: models right on 85 and 75 % of examples; the truth from a million of them."""
    draw = np.random.default_rng(4)

    def sample(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        labels = (draw.random(size) < 0.4).astype(int)
        return (
            labels,
            np.where(draw.random(size) < 0.85, labels, 1 - labels),
            np.where(draw.random(size) < 0.75, labels, 1 - labels),
        )

    labels, one, other = sample(1_000_000)
    truth = f1_score(labels, one) - f1_score(labels, other)
    held = sum(paired_f1_bootstrap(*map(list, sample(300)), resamples=400).holds(truth) for _ in range(300))
    assert 0.91 <= held / 300 <= 0.98  # 95 % +- 3 standard errors
    assert paired_bootstrap([1, 0, 1], [1, 0, 1])[:2] == (0.0, 0.0)
