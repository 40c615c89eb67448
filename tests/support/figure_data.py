"""Studies with records by hand, for what figures show of records: no store, no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.specs import Cell
from harness.studies.study import Study
from harness.tasks import get_task
from paper_tables.numbers.collect import collect_scores
from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.study_numbers import StudyNumbers

Made = Callable[[Study, Cell], float]


def numbers_of(study: Study, value: Made, results: Mapping[str, Mapping[str, Any]]) -> StudyNumbers:
    """The study with every evaluation scored by `value` (a fraction) in every metric of its task.

    results: what the records of other stages hold, by kind: "artifact" and "result".
    """
    records: dict[str, dict[str, Any]] = {}
    for stage_id, spec in study.plan.stages.items():
        if spec.kind in results:
            records[stage_id] = {"kind": spec.kind, "parameters": spec.parameters, **results[spec.kind]}
    for cell in study.plan.paths:
        metrics = {cell.task: dict.fromkeys(get_task(cell.task).metrics, value(study, cell))}
        records[study.plan.endpoint(cell)] = {"result": {"metrics": metrics, "cell_sparsity": cell.sparsity}}
    scores = collect_scores(study, records)
    return StudyNumbers(study, records, scores, aggregate(scores), {})
