"""The bootstrap over seeds within tasks: against every resample there is, its variance, its bytes and its time."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from paper_tables.statistics.bootstrap import aggregate_interval

TASKS = [[80.1, 81.7, 79.9, 82.4, 80.8], [60.0, 61.5, 64.2], [90.3, 90.1, 90.9, 90.2]]


def every_resample(seeds_by_task: list[list[float]]) -> np.ndarray:
    """The mean over tasks for each of the n^(n - 1) draws of every task, all equally likely, in order."""
    by_task = [
        [math.fsum(draw) / len(draw) for draw in itertools.product(task, repeat=len(task) - 1)]
        for task in seeds_by_task
    ]
    return np.sort([math.fsum(means) / len(means) for means in itertools.product(*by_task)])


@pytest.mark.parametrize("tasks", [[[0.0, 1.0, 5.0]], [[0.0, 1.0, 5.0], [2.0, 2.5, 7.0]], [[1.0, 2.0, 4.0, 8.0]]])
def test_it_agrees_with_the_enumeration_of_all_resamples(tasks: list[list[float]]) -> None:
    """An end is a quantile of the true distribution: the drawn end stands among its values around 2.5 and 97.5 %."""
    exact = every_resample(tasks)
    assert len(exact) == math.prod(len(task) ** (len(task) - 1) for task in tasks)
    found = aggregate_interval(tasks, resamples=200_000)
    assert found is not None
    for end, share in ((found.low, 0.025), (found.high, 0.975)):
        low, high = np.quantile(exact, [share - 0.003, share + 0.003], method="inverted_cdf")
        assert low - 1e-12 <= end <= high + 1e-12


def test_resampled_means_vary_as_the_mean_of_the_seeds_does() -> None:
    """Exactly, over all resamples: the variance is the sum over tasks of s^2 / n, divided by the tasks squared."""
    tasks = [[0.0, 1.0, 5.0], [2.0, 2.5, 7.0]]
    expected = sum(np.var(task, ddof=1) / len(task) for task in tasks) / len(tasks) ** 2
    assert np.var(every_resample(tasks)) == pytest.approx(expected)
    many = np.random.default_rng(6).normal(size=(40, 5))  # the mean of so many tasks is all but normal
    found = aggregate_interval(many, resamples=50_000)
    assert found is not None
    error = math.sqrt(many.var(axis=1, ddof=1).sum() / 5) / 40
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=0.02)


def test_it_holds_the_truth_nine_times_in_ten_at_five_seeds_of_five_tasks() -> None:
    """A percentile interval of few seeds is short: 92 % here, not 95 (docs/statistics.md says so)."""
    generator = np.random.default_rng(4)
    drawn = [aggregate_interval(generator.normal(size=(5, 5)), resamples=1000, seed=k) for k in range(1000)]
    assert 0.90 <= np.mean([interval is not None and interval.holds(0.0) for interval in drawn]) <= 0.97


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    first, again = aggregate_interval(TASKS), aggregate_interval(TASKS)
    assert first is not None
    assert again is not None
    assert np.array(first).tobytes() == np.array(again).tobytes()
    assert aggregate_interval(TASKS, seed=1) != first


def test_the_bytes_of_a_seed_do_not_change_with_the_version_of_the_code() -> None:
    """Numbers on a page stay: NumPy keeps the streams of its bit generators, and the order of draws is ours."""
    found = aggregate_interval(TASKS, resamples=1000)
    assert found is not None
    assert found[:2] == pytest.approx((76.98868055555556, 78.67236111111112), abs=1e-9)


def test_fewer_than_three_seeds_in_a_task_have_no_interval() -> None:
    assert aggregate_interval([[1.0, 2.0, 3.0], [1.0, 2.0]]) is None
    assert aggregate_interval([[1.0]]) is None


def test_seeds_that_never_differ_have_no_interval_of_width_zero() -> None:
    assert aggregate_interval([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]) is None
    assert aggregate_interval([[1.0, 1.0, 1.0], [2.0, 2.0, 2.1]]) is not None


def test_50_000_resamples_of_five_methods_five_tasks_and_five_seeds_take_a_second_at_most() -> None:
    """CPU time of this process; measured: 0.05 s."""
    methods = np.random.default_rng(0).normal(80.0, 2.0, size=(5, 5, 5))
    began = time.process_time()
    found = [aggregate_interval(method, resamples=50_000) for method in methods]
    assert time.process_time() - began <= 1.0
    assert None not in found


@pytest.mark.parametrize(
    ("tasks", "options", "said"),
    [
        ([], {}, "at least one task"),
        ([[1.0, math.nan, 2.0]], {}, "finite"),
        ([[1.0, 2.0, 3.0]], {"resamples": 0}, "1 or more"),
        ([[1.0, 2.0, 3.0]], {"level": 95}, "write 0.95"),
    ],
)
def test_what_cannot_be_resampled_is_refused(tasks: list[list[float]], options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        aggregate_interval(tasks, **options)  # type: ignore[arg-type]
