"""Accuracy against pre-training tokens: what a model has cost to prune, in tokens that its pruning has seen.

A panel per model and sparsity; its value is the average over tasks relative to the dense model of the same study. Each
budget is a study of its own, so that several studies make a curve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from paper_tables.figures.averages import with_average
from paper_tables.figures.points import RELATIVE, Chart, Panel, Point, charts, moved
from paper_tables.numbers.study_numbers import StudyNumbers

PRUNING = "student_pruning"


def tokens_chart(studies: Sequence[StudyNumbers]) -> Chart | None:
    """One chart of all studies, None where no averaged result comes from a model pruned in pre-training.

    studies: the first one's name is the subject; at least one.
    """
    by_panel: dict[tuple[str, float], list[Point]] = {}
    titles: dict[str, None] = {}
    uncounted: dict[str, None] = {}
    cells = missing = 0
    for numbers in studies:
        averaged = [with_average(chart) for chart in charts(numbers.rows)]
        cells, missing = cells + sum(chart.cells for chart in averaged), missing + sum(c.missing for c in averaged)
        for model, panel, point in _pruned(numbers, averaged):
            tokens = tokens_seen(numbers, point)
            if tokens is None:
                uncounted[f"{point.method} of study {numbers.study.name}"] = None
            else:
                titles[panel.title] = None
                by_panel.setdefault((model, point.sparsity), []).append(moved(point, tokens))
    if not by_panel:
        return None
    notes = [f"Value: {'; '.join(titles)}."]
    if len(studies) > 1:
        names = ", ".join(numbers.study.name for numbers in studies)
        notes.append(f"Studies {names}, each relative to its own dense model.")
    if uncounted:
        notes.append(f"Left out, for their records count no tokens: {', '.join(uncounted)}.")
    return Chart(
        subject=studies[0].study.name,
        axis="tokens",
        panels=tuple(_panel(model, sparsity, points) for (model, sparsity), points in by_panel.items()),
        cells=cells,
        missing=missing,
        notes=tuple(notes),
    )


def tokens_seen(numbers: StudyNumbers, point: Point) -> float | None:
    """Mean tokens over the prunings in pre-training behind a point; None where a record does not count them."""
    counts = [
        numbers.records.get(stage_id, {}).get("result", {}).get("training", {}).get("tokens_seen")
        for stage_id in sorted(_prunings(numbers, point))
    ]
    return fmean(counts) if counts and all(counts) else None


def _pruned(numbers: StudyNumbers, averaged: Sequence[Chart]) -> Iterator[tuple[str, Panel, Point]]:
    """(model, average, point) of our averages whose models were pruned in pre-training."""
    for chart in averaged:
        for panel in chart.panels:
            if panel.is_average:
                ours = (point for point in panel.points if not point.from_paper and _prunings(numbers, point))
                yield from ((chart.subject, panel, point) for point in ours)


def _prunings(numbers: StudyNumbers, point: Point) -> set[str]:
    """The prunings in pre-training that its models come from, by `model` parents."""
    stages, found = numbers.study.plan.stages, set()
    waiting = list(point.stage_ids)
    while waiting:
        stage_id = waiting.pop()
        if stages[stage_id].kind == PRUNING:
            found.add(stage_id)
        elif "model" in stages[stage_id].parents:
            waiting.append(stages[stage_id].parents["model"])
    return found


def _panel(model: str, sparsity: float, points: Sequence[Point]) -> Panel:
    title = f"{model}, {100 * sparsity:.4g} % zeros: % of dense"
    return Panel(task=title, metric=RELATIVE, points=tuple(points), dense=100.0, title=title)
