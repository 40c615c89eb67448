"""Where numbers stand: limits of the y axes, shared within a task family, and places along a logarithmic x axis.

Pure: percent and inches in, percent and inches out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.tasks import EXTRACTIVE_QA, TASKS
from paper_tables.figures.points import Panel, Point

LEAST_SHARE = 0.25  # of the height that a panel must use for its family's axis to be its own
LEAST_WITH_BASELINES = 0.5  # of the height that the numbers of an axis must use for it to reach down to a baseline
_LEAST_SPAN = 2.0  # points of percent
_HEADS = {reported: task.head.name for task in TASKS.values() for _, reported in task.evaluation_splits}


@dataclass(frozen=True)
class Scale:
    """Limits of a y axis. family: of panels that share it unless that flattens one of them."""

    low: float
    high: float
    family: str


def scales(panels: Sequence[Panel]) -> list[Scale]:
    """The y axis of each panel: its family's, unless the panel's numbers would use less than a quarter of the height.

    Baselines widen an axis as long as the numbers on it use half of the height.
    """
    found: list[Scale | None] = [None] * len(panels)
    families: dict[str, list[int]] = {}
    for number, panel in enumerate(panels):
        families.setdefault(family(panel), []).append(number)
    for name, numbers in families.items():
        waiting, sharing = numbers, True
        while waiting:
            kept = _sharing(waiting, [_range(panels[number]) for number in waiting]) if sharing else []
            group = kept or waiting[:1]
            sharing = bool(kept)
            for number in group:
                found[number] = _scale(name, [panels[i] for i in group])
            waiting = [number for number in waiting if number not in group]
    return [scale for scale in found if scale is not None]


def family(panel: Panel) -> str:
    """Panels of one family have numbers of one sort: accuracies, F1 of classifications, answers, averages."""
    head = _HEADS.get(panel.task, panel.task)
    return panel.metric if panel.is_average else head if head == EXTRACTIVE_QA.name else f"{head} {panel.metric}"


def _sharing(numbers: Sequence[int], ranges: Sequence[tuple[float, float]]) -> list[int]:
    """Those that still use a quarter of the height of an axis for all."""
    whole = max(high for _, high in ranges) - min(low for low, _ in ranges)
    return [n for n, (low, high) in zip(numbers, ranges, strict=True) if high - low >= LEAST_SHARE * whole]


def _scale(name: str, panels: Sequence[Panel]) -> Scale:
    ranges = [_range(panel) for panel in panels]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    baselines = [baseline.value for panel in panels for baseline in panel.baselines]
    wide_low, wide_high = min([low, *baselines]), max([high, *baselines])
    if high - low >= LEAST_WITH_BASELINES * (wide_high - wide_low):
        low, high = wide_low, wide_high
    room = 0.08 * (high - low)
    return Scale(low - room, high + room, name)


def _range(panel: Panel) -> tuple[float, float]:
    """All numbers of a panel, two points of percent at least; 0 to 100 where it has none."""
    values = [value for point in panel.points for value in _values(point)]
    values += [value for level in panel.references for value in _values(replace(level, seeds=()))]
    if panel.dense is not None:
        values.append(panel.dense)
    if not values:
        return 0.0, 100.0
    low, high = min(values), max(values)
    if high - low < _LEAST_SPAN:
        low, high = (low + high - _LEAST_SPAN) / 2, (low + high + _LEAST_SPAN) / 2
    return low, high


def _values(point: Point) -> list[float]:
    ends = [] if point.interval is None else [point.interval.low, point.interval.high]
    return [point.value, *ends, *(seed.value for seed in point.seeds if seed.value is not None)]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within the limits, at most so many, evenly 1, 2 or 5 times a power of ten apart."""
    exponent = math.floor(math.log10((high - low) / most))
    for step in (factor * 10.0 ** (exponent + more) for more in (0, 1, 2) for factor in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(number * step, 12) for number in range(first, last + 1)]
    raise AssertionError((low, high))


Row = tuple[object, ...]


def by_row(point: Point) -> Row:
    """What stands side by side at a place: every row of a chart."""
    return point.row


def by_method(point: Point) -> Row:
    """The same where each panel has a sparsity of its own, so that its rows do not meet those of another."""
    return point.method, point.bits


_EDGE, _CUT = 0.1, 0.3  # inches
_STEP = 0.075  # between markers side by side: a marker and its seeds
_SAME = 0.012  # decades: places nearer than that are one
_LEAST_CUT = 0.3  # decades


@dataclass(frozen=True)
class Places:
    """An x axis of this width, in inches. centres: of each value; offsets: of a row's marker from it.

    row: of a point; those of one row stand under each other.
    step: between markers side by side. cut: where the axis leaves out an empty stretch after its first value.
    """

    width: float
    centres: Mapping[float, float]
    offsets: Mapping[tuple[float, Row], float]
    step: float
    cut: float | None
    row: Callable[[Point], Row] = by_row

    def of(self, point: Point) -> float:
        return self.centres[point.x] + self.offsets[self.centres[point.x], self.row(point)]


def places(points: Iterable[Point], width: float, row: Callable[[Point], Row] = by_row) -> Places:
    """Logarithmic, lowest value at the left; markers at one place stand side by side, in the order of the points.

    Where more than half of the axis would be empty between its first value (the dense model) and the second, that
    stretch is cut out.
    """
    rows: dict[float, dict[Row, None]] = {}
    for point in points:
        rows.setdefault(point.x, {})[row(point)] = None
    merged = _merged(sorted(rows))
    groups = [dict.fromkeys(each for value in group for each in rows[value]) for group in merged]
    logs = [math.log10(group[0]) for group in merged]
    edge = _EDGE + max((len(group) for group in groups), default=0) * _STEP / 2
    inches, cut = _spread(logs, width, min(edge, width / 4))
    gap = min((after - before for before, after in itertools.pairwise(inches)), default=width / 2)
    crowd = max((len(group) for group in groups), default=1)
    step = min(_STEP, 0.92 * gap / crowd, (width - 0.1) / crowd)
    centres = {value: inch for group, inch in zip(merged, inches, strict=True) for value in group}
    offsets = {
        (inch, each): step * (number - (len(group) - 1) / 2)
        for group, inch in zip(groups, inches, strict=True)
        for number, each in enumerate(group)
    }
    return Places(width, centres, offsets, step, cut, row)


def _merged(values: Sequence[float]) -> list[list[float]]:
    groups: list[list[float]] = []
    for value in values:
        if groups and math.log10(value / groups[-1][0]) < _SAME:
            groups[-1].append(value)
        else:
            groups.append([value])
    return groups


def _spread(logs: Sequence[float], width: float, edge: float) -> tuple[list[float], float | None]:
    """Inches of each, evenly by logarithm between the edges; and the place of the cut, None without one."""
    if len(logs) < 2:
        return [width / 2 for _ in logs], None
    first, whole = logs[1] - logs[0], logs[-1] - logs[0]
    if len(logs) > 2 and first > max(_LEAST_CUT, whole / 2):
        start = edge + _CUT
        scale = (width - edge - start) / (logs[-1] - logs[1])
        return [edge, *(start + scale * (log - logs[1]) for log in logs[1:])], edge + _CUT / 2
    return [edge + (width - 2 * edge) * (log - logs[0]) / whole for log in logs], None
