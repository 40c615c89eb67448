"""Compression as stored: the dense model's bytes over those of a row's, as the records count them.

Where every row was packed (`harness grid .. --measures packing`): bytes of the fp32 weights file over those of the
packed file. Else bytes of the artifacts, with embeddings, configuration and tokenizer: what a copy takes on a disk.
There zeros that are stored like other numbers, and int8 codes that lie beside fp32 weights, save nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import fmean

from paper_tables.figures.averages import with_average
from paper_tables.figures.baselines import NO_BASELINES, Baselines
from paper_tables.figures.points import Chart, Place, charts
from paper_tables.numbers.packings import packings_of
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import StudyNumbers

NOT_STORED = "not stored yet"


def stored_bytes(numbers: StudyNumbers, row: Row) -> float | None:
    """Mean bytes of the artifacts that the row's finished evaluations scored; None where a record has no such count."""
    found = []
    for stage_id in row.stage_ids:
        if stage_id not in numbers.records:
            continue
        scored = numbers.study.plan.stages[stage_id].parents.get("model", "")
        size = numbers.records.get(scored, {}).get("artifact", {}).get("bytes", 0)
        if not isinstance(size, int) or size <= 0:
            return None
        found.append(size)
    return fmean(found) if found else None


def packed_ratio(numbers: StudyNumbers, row: Row) -> float | None:
    """Mean over the row's packed files of the fp32 weights file's bytes over theirs; None where one was not packed."""
    found = packings_of(numbers, row.stage_ids)
    scored = [stage_id for stage_id in row.stage_ids if stage_id in numbers.records]
    if not scored or len(found) < len(scored):
        return None
    return round(fmean(packed["dense_file_bytes"] / packed["file_bytes"] for packed in found), 6)


def stored_place(numbers: StudyNumbers) -> Place:
    """A row's compression as stored: bytes of the dense fp32 model of its task over its own, None where one is not
    known."""
    dense = {
        (row.model, row.task): stored_bytes(numbers, row)
        for row in numbers.rows
        if (row.method, row.bits) == ("dense", 32)
    }

    def place(row: Row) -> float | None:
        whole, own = dense.get((row.model, row.task)), stored_bytes(numbers, row)
        return round(whole / own, 6) if whole and own else None

    return place


def stored_charts(numbers: StudyNumbers, baselines: Baselines = NO_BASELINES) -> tuple[list[Chart], list[str]]:
    """A chart per model, and a sentence for each that cannot be made: a row with a result whose bytes are not known."""
    rows = [row for row in numbers.rows if row.value is not None]
    is_packed = bool(rows) and all(packed_ratio(numbers, row) is not None for row in rows)
    place = partial(packed_ratio, numbers) if is_packed else stored_place(numbers)
    unknown: dict[str, list[Row]] = {}
    for row in numbers.rows:
        if row.value is not None and place(row) is None:
            unknown.setdefault(row.model, []).append(row)
    found = charts((row for row in numbers.rows if row.model not in unknown), baselines, axis="stored", place=place)
    sentences = [
        f"{model}: accuracy against stored compression: {NOT_STORED} (no bytes of an artifact in the records of "
        f"{', '.join(dict.fromkeys(f'{row.method} on {row.task}' for row in rows))}, or of dense there)."
        for model, rows in unknown.items()
    ]
    drawn = [chart for chart in found if any(panel.points for panel in chart.panels)]
    return [_told(with_average(chart), is_packed) for chart in drawn], sentences


def _told(chart: Chart, is_packed: bool) -> Chart:
    """With what was counted, and that nothing is smaller where that is so."""
    whole = "Bytes of the whole artifact, tokenizer and configuration too."
    notes = ["Bytes of the fp32 weights over those of the packed file, embeddings in both." if is_packed else whole]
    if all(point.x <= 1 for panel in chart.panels for point in panel.points):
        notes.append("Nothing is stored smaller than dense yet.")
    return replace(chart, notes=(*notes, *chart.notes))
