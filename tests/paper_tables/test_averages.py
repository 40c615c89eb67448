"""The average over tasks relative to dense, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paper_tables.figures.averages import average_of, joint, with_average
from paper_tables.figures.baselines import Baseline
from paper_tables.figures.points import Chart, Panel, charts
from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.score import Score
from paper_tables.statistics.bootstrap import aggregate_interval

BASE = Score(
    study="mine",
    model="tiny",
    method="prune-ofa",
    sparsity=0.85,
    transfer_kd="yes",
    bits=32,
    task="sst2",
    metric="accuracy",
    seed=0,
    value=0.0,
    stage_id="s",
)


def scores(
    task: str, metric: str, dense: list[float | None], pruned: list[float | None], **fields: object
) -> list[Score]:
    """A score for each seed of dense and of Prune OFA."""
    base = replace(BASE, task=task, metric=metric, **fields)  # type: ignore[arg-type]
    taught = replace(base, method="dense", sparsity=0.0, transfer_kd="na")
    return [
        *(replace(taught, seed=n, value=value, stage_id=f"d{task}{n}") for n, value in enumerate(dense)),
        *(replace(base, seed=n, value=value, stage_id=f"p{task}{n}") for n, value in enumerate(pruned)),
    ]


def averaged(found: list[Score], **baselines: tuple[Baseline, ...]) -> tuple[Panel, Chart]:
    known = {(task, "accuracy"): rows for task, rows in baselines.items()}
    (chart,) = map(with_average, charts(aggregate(found), known))
    return chart.panels[0], chart


def test_an_average_is_the_mean_of_shares_of_the_dense_mean() -> None:
    # sst2: dense 80, pruned 60 and 64: 75 % and 80 %. qnli: dense 50, pruned 45 and 50: 90 % and 100 %.
    panel, chart = averaged(
        [*scores("sst2", "accuracy", [78, 82], [60, 64]), *scores("qnli", "accuracy", [50, 50], [45, 50])]
    )
    assert (panel.is_average, panel.dense, len(chart.panels)) == (True, 100.0, 3)
    assert panel.title == "score relative to dense, mean over 2 tasks (sst2 accuracy, qnli accuracy), %"
    dense, pruned = panel.points
    assert (dense.value, [seed.value for seed in dense.seeds]) == (
        100.0,
        [98.75, 101.25],
    )  # 97.5 and 100, 102.5 and 100
    assert pruned.value == pytest.approx((77.5 + 95) / 2)
    assert [seed.value for seed in pruned.seeds] == [pytest.approx((75 + 90) / 2), pytest.approx((80 + 100) / 2)]
    assert (pruned.n, pruned.missing, pruned.interval) == (2, 0, None)  # no interval of two seeds
    assert sorted(pruned.stage_ids) == ["pqnli0", "pqnli1", "psst20", "psst21"]


def test_three_seeds_have_the_bootstrap_interval_of_their_shares() -> None:
    panel, _ = averaged(
        [*scores("sst2", "accuracy", [80] * 3, [60, 64, 68]), *scores("qnli", "accuracy", [50] * 3, [45, 50, 40])]
    )
    _, pruned = panel.points
    assert pruned.interval == aggregate_interval([[75.0, 80.0, 85.0], [90.0, 100.0, 80.0]])
    assert pruned.interval is not None
    assert 77.5 < pruned.interval.low < pruned.value < pruned.interval.high < 92.5


def test_a_transfer_seed_counts_once_in_the_interval_however_many_prunings_it_has() -> None:
    found = scores("sst2", "accuracy", [80] * 3, [60, 64, 68], pruning_seed=0)
    again = [replace(score, pruning_seed=1, stage_id=f"{score.stage_id}b") for score in found if score.sparsity]
    panel, _ = averaged([*found, *again])
    assert panel.points[1].interval == aggregate_interval([[75.0, 80.0, 85.0]])


def test_one_primary_metric_a_task_is_averaged() -> None:
    found = [
        *scores("squad", "exact_match", [1], [1]),
        *scores("squad", "f1", [80], [40]),
        *scores("qqp", "accuracy", [50], [50]),
        *scores("qqp", "f1", [90], [1]),
        *scores("mnli", "accuracy", [60], [45]),
        *scores("mnli-mm", "accuracy", [60], [1]),
    ]
    panel, chart = averaged(found)
    assert panel.points[1].value == pytest.approx((50 + 100 + 75) / 3)
    assert "(squad F1, mnli accuracy, qqp accuracy)" in panel.title
    assert chart.notes == ()


def test_a_row_without_a_result_on_a_task_is_not_averaged_and_that_is_said() -> None:
    short = [score for score in scores("qnli", "accuracy", [50], [40]) if score.method == "dense"]
    panel, chart = averaged([*scores("sst2", "accuracy", [80], [60]), *short])
    assert [point.method for point in panel.points] == ["dense"]
    assert chart.notes == (
        "Not in the average, for a task has no result of them: 1 setting of method, sparsity and bits.",
    )


def test_a_task_without_dense_is_not_averaged_and_that_is_said() -> None:
    panel, chart = averaged(
        [
            *scores("sst2", "accuracy", [80], [60]),
            *scores("qnli", "accuracy", [None], [40]),
            *scores("qqp", "accuracy", [0], [40]),
        ]
    )
    assert panel.points[1].value == 75.0
    assert chart.notes == ("Not in the average, without a dense result above 0: qnli, qqp.",)


@pytest.mark.parametrize("missing", ["dense", "pruned"])
def test_nothing_beside_dense_or_no_dense_has_no_average(missing: str) -> None:
    none: list[float | None] = [None]
    found = scores("sst2", "accuracy", none if missing == "dense" else [80], none if missing == "pruned" else [60])
    (chart,) = map(with_average, charts(aggregate(found)))
    assert [panel.is_average for panel in chart.panels] == [False]
    assert average_of(chart) is None


def test_the_papers_average_is_relative_to_the_papers_dense() -> None:
    found = scores("sst2", "accuracy", [80], [60], model="bert-base", comparable=True)
    panel, _ = averaged(found)
    papers = {point.method: point.value for point in panel.points if point.from_paper}
    # Table 1, BERT-Base, SST-2: dense 92.13, Prune OFA at 85 % 91.46.
    assert papers == {"dense": 100.0, "prune-ofa": pytest.approx(100 * 91.46 / 92.13)}


def test_a_baseline_is_averaged_where_every_task_has_one() -> None:
    chance, words = Baseline("chance", 50.0, "labels"), Baseline("shallow", 60.0, "a test")
    found = [*scores("sst2", "accuracy", [80], [60]), *scores("qnli", "accuracy", [100], [90])]
    panel, _ = averaged(found, sst2=(chance, words), qnli=(chance,))
    assert [(baseline.kind, baseline.value) for baseline in panel.baselines] == [("chance", (62.5 + 50) / 2)]


def test_the_joint_chart_has_the_average_of_each_model() -> None:
    found = [
        score
        for model, pruned in (("tiny", 60.0), ("wide", 40.0), ("untouched", None))
        for score in scores("sst2", "accuracy", [80], [pruned], model=model)
    ]
    of_models = [with_average(chart) for chart in charts(aggregate(found))]
    chart = joint(of_models, "all models")
    assert chart is not None
    assert [(panel.task, panel.points[-1].value) for panel in chart.panels] == [("tiny", 75.0), ("wide", 50.0)]
    assert (chart.cells, chart.missing) == (6, 1)
    assert joint(of_models[:1], "all models") is None
