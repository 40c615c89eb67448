"""From a study's records to scores: one per cell, task and metric, in percent; None where a record is missing."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.specs import Cell
from harness.studies.study import Study
from harness.studies.verification import Records
from harness.tasks import Task, get_task
from paper_tables.score import Score

PAPER_PRESETS = ("paper", "paper-released")


def is_comparable(study: Study) -> bool:
    """Whether a difference from the paper's numbers is meaningful: model, data and metric are the paper's."""
    return study.recipe["preset"] in PAPER_PRESETS


def collect_scores(study: Study, records: Records) -> list[Score]:
    """Every number of the study's cells, from verified records."""
    return [score for cell in study.plan.paths for score in cell_scores(study, records, cell)]


def cell_scores(study: Study, records: Records, cell: Cell) -> Iterator[Score]:
    """The numbers of one cell: one for each metric of each split it is scored on."""
    stage_id = study.plan.endpoint(cell)
    record = records.get(stage_id)
    task = get_task(cell.task)
    method = study.plan.methods[cell.method]
    splits = study.plan.stages[stage_id].inputs
    for split, reported_as in task.evaluation_splits:
        if split not in splits:
            continue
        for metric in task.metrics:
            yield Score(
                study=study.name,
                model=cell.model,
                method=cell.method,
                sparsity=cell.sparsity,
                transfer_kd=method.transfer_kd,
                bits=8 if cell.quantization == "int8" else 32,
                task=reported_as,
                metric=metric,
                seed=cell.seed,
                pruning_seed=cell.pruning_seed if method.prunes_in_pretraining else None,
                value=None if record is None else _percent(record, task, reported_as, metric),
                measured_sparsity=None if record is None else record["result"]["cell_sparsity"],
                stage_id=stage_id,
            )


def _percent(record: Mapping[str, Any], task: Task, reported_as: str, metric: str) -> float:
    value = float(record["result"]["metrics"][reported_as][metric])
    return value if task.head.metrics_in_percent else 100 * value
