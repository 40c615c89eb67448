"""The average over tasks relative to dense: one number for each row of a chart, from its panels.

mean over tasks of 100 * score / (mean dense score), one primary metric a task. Dense is 100 by definition; its seeds
and their interval say how far dense itself moves. Tasks without a dense result are not in it, and a row that lacks one
of the others is left out, for averages over different tasks compare nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from harness.tasks import TASKS
from harness.wording import counted
from paper_tables.figures.baselines import Baseline
from paper_tables.figures.points import RELATIVE, Chart, Panel, Point
from paper_tables.numbers.metrics import PRIMARY_METRICS
from paper_tables.numbers.pairs import independent_values
from paper_tables.numbers.rows import SeedValue
from paper_tables.statistics.bootstrap import aggregate_interval

DENSE = ("dense", 0.0, 32)
_OTHER_SPLITS = {name: task.name for task in TASKS.values() for _, name in task.evaluation_splits if name != task.name}


def with_average(chart: Chart) -> Chart:
    """The chart with the average as its first panel, and what is not in it among its notes.

    As it was where there is nothing to average: no result beside the dense model's, or none of dense.
    """
    if all(point.row == DENSE or panel.is_average for panel in chart.panels for point in panel.points):
        return chart
    averaged = _averaged(chart.panels)
    left_out = [panel for panel in _primary(chart.panels) if panel not in averaged]
    notes = []
    if left_out:
        names = ", ".join(panel.task for panel in left_out)
        notes.append(f"Not in the average, without a dense result above 0: {names}.")
    if not averaged:
        return replace(chart, notes=(*chart.notes, *notes))
    panel = _average(averaged)
    everywhere = {point.row for each in averaged for point in each.points if not point.from_paper}
    if missing := everywhere - {point.row for point in panel.points if not point.from_paper}:
        settings = counted(len(missing), "setting")
        notes.append(f"Not in the average, for a task has no result of them: {settings} of method, sparsity and bits.")
    return replace(chart, panels=(panel, *chart.panels), notes=(*chart.notes, *notes))


def averaged_tasks(chart: Chart) -> tuple[str, ...]:
    """The tasks that the chart's average is over, or would be."""
    return tuple(panel.task for panel in _averaged(chart.panels))


def average_of(chart: Chart) -> Chart | None:
    """The chart's average alone; None where it has none."""
    panels = [panel for panel in chart.panels if panel.is_average]
    return replace(chart, panels=tuple(panels)) if panels else None


def joint(charts: Sequence[Chart], subject: str) -> Chart | None:
    """The averages of several models in one chart, a panel each; None where fewer than two have one."""
    averages = [(chart, panel) for chart in charts for panel in chart.panels if panel.is_average]
    if len(averages) < 2:
        return None
    panels = [replace(panel, task=chart.subject, title=f"{chart.subject}: {panel.title}") for chart, panel in averages]
    return Chart(
        subject=subject,
        axis=charts[0].axis,
        panels=tuple(panels),
        cells=sum(chart.cells for chart in charts),
        missing=sum(chart.missing for chart in charts),
        notes=tuple(dict.fromkeys(note for chart, _ in averages for note in chart.notes)),
    )


def _primary(panels: Iterable[Panel]) -> list[Panel]:
    """One panel a task: its primary metric, of an unknown task the first."""
    chosen: dict[str, Panel] = {}
    for panel in panels:
        if panel.task in _OTHER_SPLITS or panel.is_average:
            continue
        if panel.metric == PRIMARY_METRICS.get(panel.task, panel.metric):
            chosen.setdefault(panel.task, panel)
    return list(chosen.values())


def _averaged(panels: Iterable[Panel]) -> list[Panel]:
    return [panel for panel in _primary(panels) if panel.dense]


def _average(panels: Sequence[Panel]) -> Panel:
    """panels: of the tasks that are averaged, each with a dense result."""
    dense = [panel.dense or 0.0 for panel in panels]
    ours = [{point.row: point for point in panel.points if not point.from_paper} for panel in panels]
    papers = [{point.row: point for point in panel.points if point.from_paper} for panel in panels]
    points = []
    for row in dict.fromkeys(point.row for panel in panels for point in panel.points):
        if all(row in found for found in ours):
            points.append(_point([found[row] for found in ours], dense))
        if all(row in found and DENSE in found for found in papers):
            shares = [100 * found[row].value / found[DENSE].value for found in papers]
            points.append(replace(papers[0][row], value=fmean(shares)))
    tasks = [f"{panel.task} {'F1' if panel.metric == 'f1' else panel.metric}" for panel in panels]
    over = f"over {counted(len(tasks), 'task')} ({', '.join(tasks)})"
    return Panel(
        task="average",
        metric=RELATIVE,
        points=tuple(points),
        dense=100.0 if any(point.row == DENSE for point in points) else None,
        baselines=_baselines(panels, dense),
        title=f"score relative to dense, mean {over}, %",
    )


def _point(points: Sequence[Point], dense: Sequence[float]) -> Point:
    """One row's average; points: one a task, in the order of `dense`."""
    shares = [
        [100 * value / of for value in independent_values(point.seeds)] for point, of in zip(points, dense, strict=True)
    ]
    seeds = _seeds(points, dense)
    reached = [point.reached for point in points if point.reached is not None]
    return replace(
        points[0],
        compression=points[0].compression if not reached else fmean(point.compression for point in points),
        reached=fmean(reached) if reached else None,
        x=fmean(point.x for point in points),
        value=fmean(100 * point.value / of for point, of in zip(points, dense, strict=True)),
        spread=None,
        interval=aggregate_interval(shares),
        n=min(point.n for point in points),
        missing=sum(point.missing for point in points),
        seeds=seeds,
        stage_ids=tuple(stage_id for point in points for stage_id in point.stage_ids),
    )


def _seeds(points: Sequence[Point], dense: Sequence[float]) -> tuple[SeedValue, ...]:
    """The average of each seed that has a value on every task."""
    by_seed: list[Mapping[tuple[int, int | None], float]] = [
        {(seed.seed, seed.pruning_seed): _share(seed, of) for seed in point.seeds}
        for point, of in zip(points, dense, strict=True)
    ]
    shared = [key for key in by_seed[0] if all(key in found for found in by_seed)]
    return tuple(SeedValue(*key, fmean(found[key] for found in by_seed), None) for key in shared)


def _share(seed: SeedValue, dense: float) -> float:
    return 100 * (seed.value or 0.0) / dense


def _baselines(panels: Sequence[Panel], dense: Sequence[float]) -> tuple[Baseline, ...]:
    """Those kinds that are known for every task, relative to dense as the scores are."""
    by_kind = [{baseline.kind: baseline for baseline in panel.baselines} for panel in panels]
    return tuple(
        Baseline(
            kind,
            fmean(100 * found[kind].value / of for found, of in zip(by_kind, dense, strict=True)),
            "; ".join(dict.fromkeys(found[kind].source for found in by_kind)),
        )
        for kind in by_kind[0]
        if all(kind in found for found in by_kind)
    )
