"""Accuracy over measured speed-up: median time of the dense fp32 model in torch over that of a row's fastest runtime.

Of the runtimes that compute what was scored, at one size; measured on one machine, each machine on a chart of its own.
"""

from __future__ import annotations

from dataclasses import replace

from harness.wording import counted
from paper_tables.figures.averages import with_average
from paper_tables.figures.baselines import NO_BASELINES, Baselines
from paper_tables.figures.points import Chart, charts
from paper_tables.numbers.rows import Row, method_title
from paper_tables.numbers.speed import Machine, machines_of, reference_seconds
from paper_tables.numbers.study_numbers import StudyNumbers

LENGTH = 128  # tokens; the nearest measured one below it, else the shortest


def speed_charts(numbers: StudyNumbers, baselines: Baselines = NO_BASELINES) -> tuple[list[Chart], list[str]]:
    """A chart per model and machine, and a sentence where there is nothing to draw."""
    found, left_out = [], list[str]()
    machines = machines_of(numbers)
    if not machines:
        left_out.append("accuracy against speed-up: nothing was measured. harness grid .. --measures latency does it.")
    for machine in machines:
        size = _size(machine)

        def place(row: Row, machine: Machine = machine, size: tuple[int, int] = size) -> float | None:
            fastest = machine.fastest(row, size)
            dense = reference_seconds(machine, numbers.rows, row, size)
            return None if fastest is None or dense is None else round(dense / fastest[1], 4)

        drawn = [
            with_average(chart)
            for chart in charts([row for row in numbers.rows if machine.of(row)], baselines, axis="speed", place=place)
            if any(point.stage_ids for panel in chart.panels for point in panel.points)
        ]
        found += [replace(chart, notes=(*_notes(machine, size, numbers, chart), *chart.notes)) for chart in drawn]
        if not drawn:
            left_out.append(f"accuracy against speed-up on {machine.words}: no dense fp32 model was measured there.")
    return found, left_out


def _size(machine: Machine) -> tuple[int, int]:
    """The fewest examples, and LENGTH tokens or the nearest below."""
    examples = min(examples for examples, _ in machine.sizes)
    lengths = [tokens for each, tokens in machine.sizes if each == examples]
    return examples, max((tokens for tokens in lengths if tokens <= LENGTH), default=min(lengths))


def _notes(machine: Machine, size: tuple[int, int], numbers: StudyNumbers, chart: Chart) -> list[str]:
    fastest: dict[str, list[str]] = {}
    for row in numbers.rows:
        if row.model == chart.subject and (found := machine.fastest(row, size)) is not None:
            name = f"{method_title(row.method)} {row.sparsity:g} in {row.bits} bits"
            fastest.setdefault(found[0], []).append(name)
    told = [f"{runtime}: {', '.join(dict.fromkeys(names))}" for runtime, names in fastest.items()]
    examples, tokens = counted(size[0], "example"), counted(size[1], "token")
    return [
        f"Median of a call with {examples} of {tokens}, {counted(machine.threads, 'thread')}; {machine.words}.",
        f"Fastest: {'; '.join(told)}.",
    ]
