"""Accuracy against the tokens that pruning in pre-training has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from figure_data import numbers_of

from harness.specs import Cell
from harness.studies.study import Study
from paper_tables.claims.budget import Budget, BudgetCurve, budget_curve
from paper_tables.figures.draw import draw
from paper_tables.figures.look import method_looks
from paper_tables.figures.page import Caption
from paper_tables.figures.tokens import tokens_chart
from paper_tables.figures.tokens_notes import budget_notes
from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.paired import difference_of
from paper_tables.tables.budget_page import budget_page


def value(_: Study, cell: Cell) -> float:
    return 0.8 if cell.method == "dense" else 0.6


def pruned(tokens: int | None) -> dict[str, Any]:
    return {"student_pruning": {"result": {"training": {} if tokens is None else {"tokens_seen": tokens}}}}


def test_each_budget_is_a_point_of_its_models_panel(make_study: Callable[..., Study]) -> None:
    methods = ["dense", "finetune-pruning", "prune-ofa"]
    axes = {"methods": methods, "tasks": ["sst2"], "sparsities": [0.85, 0.9]}
    one = numbers_of(make_study(name="one", **axes), value, pruned(1000))
    two = numbers_of(
        make_study("student_pruning.steps=64", name="two", **axes),
        lambda study, cell: value(study, cell) + 0.1 * (cell.method == "prune-ofa"),
        pruned(2000),
    )
    chart = tokens_chart([one, two])
    assert chart is not None
    assert (chart.subject, chart.axis, chart.missing) == ("one", "tokens", 0)
    assert [panel.title for panel in chart.panels] == ["tiny, 85 % zeros: % of dense", "tiny, 90 % zeros: % of dense"]
    for panel in chart.panels:
        assert [(point.method, point.x, round(point.value, 9)) for point in panel.points] == [
            ("prune-ofa", 1000.0, 75.0),
            ("prune-ofa", 2000.0, 87.5),
        ]
    assert "Studies one, two, each relative to its own dense model." in chart.notes


def test_without_a_count_of_tokens_the_method_is_left_out_by_name(make_study: Callable[..., Study]) -> None:
    axes = {"methods": ["dense", "prune-ofa", "prune-ofa-no-kd"], "tasks": ["sst2"], "sparsities": [0.85]}
    counted = numbers_of(make_study(name="counted", **axes), value, pruned(10))
    not_counted = numbers_of(make_study("student_pruning.steps=64", name="not-counted", **axes), value, pruned(None))
    chart = tokens_chart([counted, not_counted])
    assert chart is not None
    assert {point.x for panel in chart.panels for point in panel.points} == {10.0}
    assert chart.notes[-1] == (
        "Left out, for their records count no tokens: prune-ofa-no-kd of study not-counted, "
        "prune-ofa of study not-counted."
    )


def test_a_study_that_prunes_on_the_task_has_no_such_chart(make_study: Callable[..., Study]) -> None:
    study = make_study(methods=["dense", "finetune-pruning"], tasks=["sst2"], sparsities=[0.85])
    assert tokens_chart([numbers_of(study, value, pruned(10))]) is None


def test_a_student_pruning_that_prunes_nothing_is_no_pruning(make_study: Callable[..., Study]) -> None:
    """The control dense-continued: Prune OFA at sparsity 0, no point over tokens and no panel of its own."""
    methods = ["dense", "dense-continued", "prune-ofa"]
    study = make_study(methods=methods, tasks=["sst2"], sparsities=[0.0, 0.85])
    chart = tokens_chart([numbers_of(study, value, pruned(10))])
    assert chart is not None
    assert {(point.method, point.sparsity) for panel in chart.panels for point in panel.points} == {("prune-ofa", 0.85)}
    assert [panel.references for panel in chart.panels] == [()]


# -- beside what prunes on the task

METHODS = ["dense", "finetune-pruning", "prune-ofa", "prune-ofa-no-kd"]


def three_budgets(make_study: Callable[..., Study], **axes: Any) -> list[StudyNumbers]:
    """0.3, 1 and 5 million tokens: prune-ofa 4 points below fine-tune pruning, 2 above and 4 above, at three seeds.

    Dense 0.8, fine-tune pruning 0.6 + seed / 100, and prune-ofa moves with it but for 0, 1 and 2 tenths of a point.
    """
    wanted = {"methods": METHODS, "tasks": ["sst2"], "sparsities": [0.85, 0.9], "seeds": [0, 1, 2], **axes}

    def made(above: float) -> Callable[[Study, Cell], float]:
        return lambda _, cell: {
            "dense": 0.8,
            "finetune-pruning": 0.6 + cell.seed / 100,
            "prune-ofa": 0.6 + cell.seed / 100 + above + (cell.seed - 1) / 1000,
        }.get(cell.method, 0.55 + cell.seed / 100)

    return [
        numbers_of(make_study(f"student_pruning.steps={number}", name=name, **wanted), made(above), pruned(tokens))
        for number, (name, tokens, above) in enumerate(
            [("third", 300_000, -0.04), ("one", 1_000_000, 0.02), ("five", 5_000_000, 0.04)], start=1000
        )
    ]


def test_what_prunes_on_the_task_is_a_level_with_its_interval_in_every_study(make_study: Callable[..., Study]) -> None:
    chart = tokens_chart(three_budgets(make_study))
    assert chart is not None
    for panel in chart.panels:
        levels = panel.references
        assert [(level.method, level.bits, level.x) for level in levels] == [
            ("finetune-pruning", 32, x) for x in (300_000.0, 1_000_000.0, 5_000_000.0)
        ]
        assert {level.sparsity for level in levels} == {point.sparsity for point in panel.points}
        assert all(level.value == pytest.approx(100 * 0.61 / 0.8) for level in levels)
        assert all(level.interval and level.interval.low < level.value < level.interval.high for level in levels)
    assert chart.methods == ["prune-ofa-no-kd", "prune-ofa", "finetune-pruning"]


def test_the_figure_says_from_which_budget_on_pruning_once_pays(make_study: Callable[..., Study]) -> None:
    chart = tokens_chart(three_budgets(make_study))
    assert chart is not None
    curves = {(curve.sparsity, curve.method): curve for curve in chart.budgets}
    assert len(curves) == 4
    curve = curves[0.85, "prune-ofa"]
    assert [round(each.difference.mean, 9) for each in curve.budgets if each.difference] == [-4.0, 2.0, 4.0]
    assert (curve.against, curve.finding.kind, curve.finding.tokens) == ("finetune-pruning", "shown", 1_000_000.0)
    assert chart.notes[2:] == (
        "prune-ofa-no-kd against finetune-pruning: tiny 85, 90 %: not on equal terms (distillation).",
        "prune-ofa against finetune-pruning: tiny 85, 90 %: pays from 1 million tokens on: the intervals there "
        "are above zero.",
        "Differences from what was pruned on the task: conditional on one pruning.",
    )


def test_single_seeds_have_no_interval_and_the_figure_says_so(make_study: Callable[..., Study]) -> None:
    chart = tokens_chart(three_budgets(make_study, seeds=[1], sparsities=[0.85]))
    assert chart is not None
    assert all(level.interval is None for level in chart.panels[0].references)
    said = " ".join(chart.notes)
    assert "prune-ofa against finetune-pruning: tiny 85 %: the mean difference crosses zero at about" in said
    assert "No interval of a difference at a setting of study third, one, five: n = 1: three seeds are needed." in said


def test_only_tasks_that_every_study_has_are_averaged_and_the_others_named(make_study: Callable[..., Study]) -> None:
    few = three_budgets(make_study)[0]
    axes = {"methods": METHODS, "tasks": ["sst2", "squad"], "sparsities": [0.85, 0.9], "seeds": [0, 1, 2]}
    study = make_study("student_pruning.steps=7", name="more", **axes)
    more = numbers_of(study, lambda _, cell: 0.8 if cell.method == "dense" else 0.4, pruned(10**6))
    chart = tokens_chart([few, more])
    assert chart is not None
    assert "tiny: left out of the averages, for a study lacks it: squad (not in third)." in chart.notes
    assert {each.tasks for curve in chart.budgets for each in curve.budgets} == {("sst2",)}
    assert chart.notes[0] == "Value: score relative to dense, mean over 1 task (sst2 accuracy), %."


def test_studies_without_a_task_in_common_keep_their_own_and_do_not_compare(make_study: Callable[..., Study]) -> None:
    axes = {"methods": METHODS, "sparsities": [0.85]}
    studies = [make_study(name=task, tasks=[task], **axes) for task in ("sst2", "squad")]
    chart = tokens_chart([numbers_of(study, value, pruned(1000)) for study in studies])
    assert chart is not None
    assert "tiny: no task is in all of the studies, whose averages do not compare." in chart.notes
    assert {curve.finding.kind for curve in chart.budgets} == {"not compared"}


def test_what_was_pruned_on_other_tasks_alone_is_no_level_and_the_lack_is_told(
    make_study: Callable[..., Study],
) -> None:
    study = make_study(methods=METHODS, tasks=["sst2", "squad"], sparsities=[0.85])
    numbers = numbers_of(study, value, pruned(1000))
    scores = [each for each in numbers.scores if (each.method, each.task) != ("finetune-pruning", "squad")]
    chart = tokens_chart([replace(numbers, scores=scores, rows=aggregate(scores))])
    assert chart is not None
    assert [panel.references for panel in chart.panels] == [()]
    assert "prune-ofa against finetune-pruning: tiny 85 %: nothing to compare with on squad." in chart.notes
    assert any(note.startswith("mine, tiny: not in the average, for a task has no result") for note in chart.notes)


def test_a_level_is_drawn_over_the_whole_panel_with_its_band(make_study: Callable[..., Study]) -> None:
    chart = tokens_chart(three_budgets(make_study, sparsities=[0.85]))
    assert chart is not None
    figure = draw(chart, Caption(study="third", preset="slice"), method_looks(set(chart.methods)))
    (axes,) = figure.axes
    (level,) = [line for line in axes.lines if line.get_gid() == "reference"]
    assert (level.get_xdata()[0], level.get_xdata()[-1]) == axes.get_xlim()
    assert list(level.get_ydata()) == pytest.approx([100 * 0.61 / 0.8] * 5)
    (band,) = axes.collections
    low, high = band.get_datalim(axes.transData).intervaly
    interval = chart.panels[0].references[0].interval
    assert interval is not None
    assert (low, high) == pytest.approx(interval[:2])
    assert axes.get_ylim()[0] < low


def test_the_page_beside_the_figure_has_its_numbers_and_what_they_say(make_study: Callable[..., Study]) -> None:
    chart = tokens_chart(three_budgets(make_study, sparsities=[0.85]))
    assert chart is not None
    page = budget_page(chart.budgets)
    of_pair = page.partition("## tiny, 85 % zeros: prune-ofa against finetune-pruning")[2]
    # By hand: 100 (0.61 - 0.04) / 0.8; differences -4.1, -4.0, -3.9: -4 -+ 4.3027 * 0.1 / sqrt(3).
    assert "| 300,000   | third | 71.25      | -4.00      | -4.25 to -3.75 | 3 |" in of_pair
    assert "**Pays from 1 million tokens on: the intervals there are above zero.**" in of_pair
    assert "- intervals are conditional on one pruning\n- tasks: sst2\n" in of_pair
    assert "**Not on equal terms (distillation).**" in page
    assert all(len(line) <= 100 for line in page.splitlines() if line.startswith("|"))


def test_hostile_names_are_harmless_on_the_page() -> None:
    name = "<b>|\\`x`\x1b[31m\n# " + "W" * 200
    budget = Budget(study=name, tokens=1e6, value=90.0, n=1, tasks=("sst2",), why_not="nothing")
    page = budget_page([budget_curve(name, 0.9, f"sparse-from:{name}", name, [budget])])
    assert "\x1b" not in page
    assert "<b>" not in page.replace("\\<b", "")
    assert sum(line.startswith("#") for line in page.splitlines()) == 1
    assert all(len(line) <= 100 for line in page.splitlines() if line.startswith("|"))


def test_pairs_with_the_same_findings_are_told_together_and_models_by_their_sparsities() -> None:
    budgets = [Budget(study="s", tokens=1e6, value=90.0, n=1, tasks=("sst2",), why_not="not on equal terms (epochs)")]
    pairs = [("prune-ofa", "finetune-pruning"), ("prune-ofa-no-kd", "finetune-pruning"), ("prune-ofa", None)]
    curves = [
        budget_curve(model, sparsity, *pair, budgets)
        for pair in pairs
        for model in ("tiny", "wide")
        for sparsity in (0.85, 0.9)
    ]
    assert budget_notes(curves) == [
        "prune-ofa against finetune-pruning, prune-ofa-no-kd against finetune-pruning, prune-ofa: tiny 85, 90 %; wide "
        "85, 90 %: not on equal terms (epochs)."
    ]


def test_many_findings_of_a_pair_are_told_in_short() -> None:
    """Five in four sorts: the line from -1 to +1 between 1 and 10 million crosses at the square root, 3.16 million."""

    def budget(tokens: float, mean: float, around: float) -> Budget:
        found = difference_of([mean - around, mean, mean + around])
        return Budget(study="s", tokens=tokens, value=90.0, n=3, tasks=("sst2",), difference=found)

    def curve(sparsity: float, *means: float, around: float = 9.0) -> BudgetCurve:
        budgets = [budget(10.0 ** (6 + n), mean, around) for n, mean in enumerate(means)]
        return budget_curve("tiny", sparsity, "prune-ofa", "finetune-pruning", budgets)

    (note,) = budget_notes(
        [
            curve(0.5, -1.0, 1.0),
            curve(0.6, 1.0, 2.0, around=0.01),
            curve(0.7, -1.0, 2.0, around=0.01),
            curve(0.8, -2.0, -1.0),
            curve(0.9, -2.0, -1.0, around=0.01),
        ]
    )
    assert note == (
        "prune-ofa against finetune-pruning: mean difference crosses zero at about 3 million tokens, interpolated: "
        "tiny 50 %. not shown to pay within the budgets tried: tiny 80, 90 %. pays from 1 million tokens on: tiny "
        "60 %. pays from 10 million tokens on: tiny 70 %. Which intervals exclude zero is on the page of numbers."
    )


def test_a_study_without_a_pruned_model_is_named_as_one_without_a_point(make_study: Callable[..., Study]) -> None:
    budget = three_budgets(make_study)[0]
    study = make_study(name="task-alone", methods=["dense", "finetune-pruning"], tasks=["sst2"], sparsities=[0.85])
    chart = tokens_chart([budget, numbers_of(study, value, {})])
    assert chart is not None
    assert "Without a point, for nothing averaged was pruned in pre-training: task-alone." in chart.notes


def test_a_level_is_of_fp32_alone(make_study: Callable[..., Study]) -> None:
    axes = {"methods": METHODS, "tasks": ["sst2"], "sparsities": [0.85], "quantization": ["none", "int8"]}
    study = make_study(**axes)
    assert {cell.quantization for cell in study.plan.paths if cell.method == "finetune-pruning"} == {"none", "int8"}
    chart = tokens_chart([numbers_of(study, value, pruned(1000))])
    assert chart is not None
    assert {point.bits for point in chart.panels[0].points} == {8, 32}
    assert [level.bits for level in chart.panels[0].references] == [32]


def test_what_was_pruned_in_pre_training_and_on_the_task_has_its_tokens_and_is_no_level(
    make_study: Callable[..., Study],
) -> None:
    study = make_study(methods=METHODS, tasks=["sst2"], sparsities=[0.85])
    stages = study.plan.stages
    (once,) = [stage_id for stage_id, spec in stages.items() if spec.kind == "student_pruning"]
    (on_task,) = [stage_id for stage_id, spec in stages.items() if spec.kind == "task_pruning"]
    stages[on_task] = replace(stages[on_task], parents={**stages[on_task].parents, "model": once})
    chart = tokens_chart([numbers_of(study, value, pruned(1000))])
    assert chart is not None
    assert chart.panels[0].references == ()
    assert "finetune-pruning" in {point.method for point in chart.panels[0].points}


def test_each_method_finds_the_partner_on_its_own_terms(make_study: Callable[..., Study]) -> None:
    """With distillation in transfer beside pruning with it, without beside without; the crossed pairs are named."""
    chart = tokens_chart(three_budgets(make_study, methods=[*METHODS, "finetune-pruning-no-kd"], sparsities=[0.85]))
    assert chart is not None
    assert {level.method for level in chart.panels[0].references} == {"finetune-pruning", "finetune-pruning-no-kd"}
    assert {(curve.method, curve.against) for curve in chart.budgets if curve.is_compared} == {
        ("prune-ofa", "finetune-pruning"),
        ("prune-ofa-no-kd", "finetune-pruning-no-kd"),
    }
    crossed = [note for note in chart.notes if "not on equal terms" in note]
    assert crossed == [
        "prune-ofa-no-kd against finetune-pruning, prune-ofa against finetune-pruning-no-kd: tiny 85 %: not on equal "
        "terms (distillation)."
    ]
