"""Accuracy against pre-training tokens: what a model has cost to prune, in tokens that its pruning has seen.

A panel per model and sparsity; its value is the average over tasks relative to the dense model of the same study. Each
budget is a study of its own, so that several studies make a curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from paper_tables.figures.averages import with_average
from paper_tables.figures.points import Chart, Panel, Point, charts, moved
from paper_tables.numbers.study_numbers import StudyNumbers

PRUNING = "student_pruning"


def tokens_chart(studies: Sequence[StudyNumbers]) -> Chart | None:
    """One chart of all studies, None where no averaged result comes from a model pruned in pre-training.

    studies: the first one's name is the subject; at least one.
    """
    by_panel: dict[tuple[str, float], list[Point]] = {}
    titles: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for numbers in studies:
        for chart in map(with_average, charts(numbers.rows)):
            for panel in chart.panels[:1]:
                if not panel.is_average:
                    continue
                for point in panel.points:
                    if point.from_paper:
                        continue
                    tokens = tokens_seen(numbers, point)
                    if tokens is None:
                        continue
                    if tokens == 0:
                        unknown[f"{numbers.study.name}: {point.method}"] = None
                        continue
                    titles[panel.title] = None
                    by_panel.setdefault((chart.subject, point.sparsity), []).append(moved(point, tokens))
    if not by_panel:
        return None
    notes = [f"Value: {'; '.join(titles)}, percent."]
    if len(studies) > 1:
        names = ", ".join(numbers.study.name for numbers in studies)
        notes.append(f"Studies {names}, each relative to its own dense model.")
    if unknown:
        notes.append(f"Left out, for their records count no tokens: {', '.join(unknown)}.")
    return Chart(
        subject=studies[0].study.name,
        axis="tokens",
        panels=tuple(_panel(model, sparsity, points) for (model, sparsity), points in by_panel.items()),
        cells=sum(len(numbers.study.plan.paths) for numbers in studies),
        missing=0,
        notes=tuple(notes),
    )


def tokens_seen(numbers: StudyNumbers, point: Point) -> float | None:
    """Mean tokens over the prunings in pre-training behind a point; None where it has none, 0 where not counted."""
    prunings = {
        behind
        for stage_id in point.stage_ids
        for behind, spec in _behind(numbers, stage_id).items()
        if spec == PRUNING
    }
    if not prunings:
        return None
    counts = [
        numbers.records.get(stage_id, {}).get("result", {}).get("training", {}).get("tokens_seen", 0)
        for stage_id in sorted(prunings)
    ]
    return fmean(counts) if all(counts) else 0.0


def _behind(numbers: StudyNumbers, stage_id: str) -> dict[str, str]:
    """Ids and kinds of the models that a stage's model was made from, without its teachers."""
    found: dict[str, str] = {}
    stages, waiting = numbers.study.plan.stages, [stage_id]
    while waiting:
        spec = stages[waiting.pop()]
        for role, parent in spec.parents.items():
            if role == "model" and parent not in found:
                found[parent] = stages[parent].kind
                waiting.append(parent)
    return found


def _panel(model: str, sparsity: float, points: Sequence[Point]) -> Panel:
    return Panel(
        task=model,
        metric="relative",
        points=tuple(replace(point) for point in points),
        dense=100.0,
        title=f"{model}, {100 * sparsity:.4g} % zeros",
    )
