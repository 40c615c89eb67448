"""Accuracy against pre-training tokens: what a model has cost to prune, in tokens that its pruning has seen.

A panel per model and sparsity; its value is the average over tasks relative to the dense model of the same study. Each
budget is a study of its own, so that several studies make a curve. What was pruned on the task instead has no such
tokens and stands beside them as a level, of each study its own; what the two say together, `claims.budget` finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

from harness.specs import as_sparsity
from paper_tables.claims.budget import NO_PARTNER, Budget, BudgetCurve, budget_curve, compared
from paper_tables.claims.side import Side
from paper_tables.figures.averages import averaged_tasks, with_average
from paper_tables.figures.points import RELATIVE, Chart, Panel, Point, charts, moved
from paper_tables.figures.tokens_notes import budget_notes
from paper_tables.numbers.study_numbers import StudyNumbers

PRUNING = "student_pruning"
FP32 = 32


class _Subject(NamedTuple):
    """What one panel is of."""

    model: str
    sparsity: float


@dataclass(frozen=True)
class _Averages:
    """One model's averages in one study; their chart's first panel, where it has one, is the average."""

    numbers: StudyNumbers
    chart: Chart
    tasks: tuple[str, ...]

    @property
    def panel(self) -> Panel | None:
        return next((panel for panel in self.chart.panels if panel.is_average), None)

    @property
    def points(self) -> list[Point]:
        """Of ours."""
        return [point for point in self.panel.points if not point.from_paper] if self.panel else []

    @property
    def pruned_once(self) -> list[Point]:
        return [point for point in self.points if _prunings(self.numbers, point)]

    def levels(self, sparsity: float) -> list[Point]:
        """Averages at this sparsity of what was pruned on the task, in fp32."""
        return [point for point in self.points if self._is_level(point, sparsity)]

    def pruned_on_the_task(self, sparsity: float) -> list[str]:
        """Methods that do so at this sparsity, also those that lack a task and have no average."""
        points = (point for panel in self.chart.panels for point in panel.points)
        return list(dict.fromkeys(point.method for point in points if self._is_level(point, sparsity)))

    def _is_level(self, point: Point, sparsity: float) -> bool:
        is_there = point.bits == FP32 and as_sparsity(point.zeros) == sparsity and not point.from_paper
        return is_there and _is_pruned_on_the_task(self.numbers, point)


def tokens_chart(studies: Sequence[StudyNumbers]) -> Chart | None:
    """One chart of all studies, None where no averaged result comes from a model pruned in pre-training.

    studies: the first one's name is the subject; at least one.
    """
    averages = [
        _Averages(numbers, with_average(chart), averaged_tasks(chart))
        for numbers in studies
        for chart in charts(numbers.rows)
    ]
    averages, of_tasks = _on_shared_tasks(averages)
    placed: dict[_Subject, list[tuple[_Averages, Point]]] = {}
    uncounted: dict[str, None] = {}
    for each in averages:
        for point in each.pruned_once:
            tokens = tokens_seen(each.numbers, point)
            if tokens is None:
                uncounted[f"{point.method} of study {each.numbers.study.name}"] = None
            else:
                subject = _Subject(each.chart.subject, as_sparsity(point.sparsity))
                placed.setdefault(subject, []).append((each, moved(point, tokens)))
    if not placed:
        return None
    curves = tuple(curve for subject, found in placed.items() for curve in _curves(subject, found))
    notes = _of_studies(studies, [each for found in placed.values() for each, _ in found])
    notes += [*of_tasks, *_left_out(averages), *budget_notes(curves)]
    if uncounted:
        notes.append(f"Left out, for their records count no tokens: {', '.join(uncounted)}.")
    return Chart(
        subject=studies[0].study.name,
        axis="tokens",
        panels=tuple(_panel(subject, found) for subject, found in placed.items()),
        cells=sum(each.chart.cells for each in averages),
        missing=sum(each.chart.missing for each in averages),
        notes=tuple(notes),
        budgets=curves,
    )


def _of_studies(studies: Sequence[StudyNumbers], shown: Sequence[_Averages]) -> list[str]:
    """What the values are, and of which studies. shown: those with a point."""
    titles = dict.fromkeys(each.panel.title for each in shown if each.panel)
    notes = [f"Value: {'; '.join(titles)}."]
    if len(studies) > 1:
        names = [numbers.study.name for numbers in studies]
        notes.append(f"Studies {', '.join(names)}, each relative to its own dense model.")
        there = {each.numbers.study.name for each in shown}
        if without := [name for name in names if name not in there]:
            notes.append(f"Without a point, for nothing averaged was pruned in pre-training: {', '.join(without)}.")
    return notes


def tokens_seen(numbers: StudyNumbers, point: Point) -> float | None:
    """Mean tokens over the prunings in pre-training behind a point; None where a record does not count them."""
    counts = [
        numbers.records.get(stage_id, {}).get("result", {}).get("training", {}).get("tokens_seen")
        for stage_id in sorted(_prunings(numbers, point))
    ]
    return fmean(counts) if counts and all(counts) else None


def _on_shared_tasks(averages: Sequence[_Averages]) -> tuple[list[_Averages], list[str]]:
    """Averages over the tasks that a model has in all studies which prune it once, and a sentence on what that drops.

    Averages over different tasks make no curve. Where no task is in all, each study keeps its own, and the sentence
    says that they do not compare.
    """
    found, sentences = [], []
    of_model: dict[str, list[_Averages]] = {}
    for each in averages:
        of_model.setdefault(each.chart.subject, []).append(each)
    for model, group in of_model.items():
        curve = [each for each in group if each.pruned_once]
        every = list(dict.fromkeys(task for each in curve for task in each.tasks))
        shared = [task for task in every if all(task in each.tasks for each in curve)]
        if not shared or shared == every:
            if every and not shared:
                sentences.append(f"{model}: no task is in all of the studies, whose averages do not compare.")
            found += group
            continue
        lacking = (
            f"{task} (not in {', '.join(each.numbers.study.name for each in curve if task not in each.tasks)})"
            for task in every
            if task not in shared
        )
        sentences.append(f"{model}: left out of the averages, for a study lacks it: {', '.join(lacking)}.")
        found += [_restricted(each, shared) for each in group]
    return found, list(dict.fromkeys(sentences))


def _restricted(averages: _Averages, tasks: Sequence[str]) -> _Averages:
    """The averages over these of its tasks."""
    if set(averages.tasks) <= set(tasks):
        return averages
    panels = [panel for panel in averages.chart.panels if panel.task in tasks]
    chart = with_average(replace(averages.chart, panels=tuple(panels), notes=()))
    return replace(averages, chart=chart, tasks=averaged_tasks(chart))


def _left_out(averages: Iterable[_Averages]) -> list[str]:
    """What is in no average, by study and model."""
    return [
        f"{each.numbers.study.name}, {each.chart.subject}: {note[0].lower()}{note[1:]}"
        for each in averages
        if each.pruned_once
        for note in each.chart.notes
    ]


def _curves(subject: _Subject, found: Sequence[tuple[_Averages, Point]]) -> Iterator[BudgetCurve]:
    """Of each method in fp32, beside each method that prunes on the task."""
    names = dict.fromkeys(name for each, _ in found for name in each.pruned_on_the_task(subject.sparsity))
    others: list[str | None] = [*names] or [None]
    for method in dict.fromkeys(point.method for _, point in found if point.bits == FP32):
        for other in others:
            budgets = [
                _budget(subject, each, point, other)
                for each, point in found
                if point.method == method and point.bits == FP32
            ]
            yield budget_curve(subject.model, subject.sparsity, method, other, budgets)


def _budget(subject: _Subject, averages: _Averages, point: Point, other: str | None) -> Budget:
    budget = Budget(
        study=averages.numbers.study.name, tokens=point.x, value=point.value, n=point.n, tasks=averages.tasks
    )
    if other is None:
        return replace(budget, why_not=NO_PARTNER)
    sides = [Side(model=subject.model, method=m, sparsity=subject.sparsity, bits=FP32) for m in (point.method, other)]
    return compared(averages.numbers, budget, *sides)


def _prunings(numbers: StudyNumbers, point: Point) -> set[str]:
    """The prunings in pre-training that its models come from, by `model` parents; one to sparsity 0 prunes nothing."""
    stages = {stage_id: numbers.study.plan.stages[stage_id] for stage_id in _models(numbers, point)}
    return {i for i, spec in stages.items() if spec.kind == PRUNING and spec.parameters.get("sparsity")}


def _is_pruned_on_the_task(numbers: StudyNumbers, point: Point) -> bool:
    """Whether a training on the task removed weights, and none in pre-training did."""
    plan = numbers.study.plan
    return not _prunings(numbers, point) and any(
        plan.work(stage_id) == "training" and plan.stages[stage_id].parameters.get("sparsity")
        for stage_id in _models(numbers, point)
    )


def _models(numbers: StudyNumbers, point: Point) -> set[str]:
    """The stages behind its evaluations, by `model` parents, down to the first pruning in pre-training."""
    stages, found = numbers.study.plan.stages, set()
    waiting = list(point.stage_ids)
    while waiting:
        stage_id = waiting.pop()
        found.add(stage_id)
        if stages[stage_id].kind != PRUNING and "model" in stages[stage_id].parents:
            waiting.append(stages[stage_id].parents["model"])
    return found


def _panel(subject: _Subject, found: Sequence[tuple[_Averages, Point]]) -> Panel:
    title = f"{subject.model}, {100 * subject.sparsity:.4g} % zeros: % of dense"
    levels = {
        (each.numbers.study.name, point.x, level.method): moved(level, point.x)
        for each, point in found
        for level in each.levels(subject.sparsity)
    }
    return Panel(
        task=title,
        metric=RELATIVE,
        points=tuple(point for _, point in found),
        dense=100.0,
        title=title,
        references=tuple(levels.values()),
    )
