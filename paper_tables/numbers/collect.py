"""From a study's records to scores: one per cell, task and metric, in percent; None where a record is missing."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from harness.planning.graph import Plan
from harness.specs import Cell
from harness.studies.study import Study
from harness.studies.verification import Records
from harness.tasks import Task
from paper_tables.numbers.score import Score


def collect_scores(study: Study, records: Records, comparable: Collection[Cell] = ()) -> list[Score]:
    """Every number of the study's cells, from verified records. comparable: cells that are the paper's own."""
    return [
        score for cell in study.plan.paths for score in cell_scores(study, records, cell, comparable=cell in comparable)
    ]


def cell_scores(study: Study, records: Records, cell: Cell, *, comparable: bool = False) -> Iterator[Score]:
    """The numbers of one cell: one for each metric of each split it is scored on."""
    stage_id = study.plan.endpoint(cell)
    record = records.get(stage_id)
    task = study.plan.task_of(cell)
    facts = study.plan.methods[cell.method]
    kd = transfer_kd(study.plan, cell)
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
                transfer_kd=kd,
                bits=cell.bits,
                task=reported_as,
                metric=metric,
                seed=cell.seed,
                pruning_seed=cell.pruning_seed if facts.prunes_in_pretraining else None,
                value=None if record is None else _percent(record, task, reported_as, metric),
                measured_sparsity=None if record is None else record["result"]["cell_sparsity"],
                stage_id=stage_id,
                comparable=comparable,
                sparsity_is=facts.sparsity_is,
            )


def transfer_kd(plan: Plan, cell: Cell) -> str:
    """Whether the stages that trained the cell's model on its task distilled it: "yes" or "no"; "na" for a dense one.

    Told by the cell and its stages, whatever the method declares. Distilled is what has a teacher whose loss has a
    weight, dense a cell without sparsity and without a teacher. Quantization comes after the transfer: it does not
    count.
    """
    trained = [
        spec
        for spec in plan.models_behind(plan.stages[plan.endpoint(cell)])
        if spec.kind != "quantization" and "task" in spec.parameters
    ]
    taught = [spec for spec in trained if "teacher" in spec.parents]
    if any(spec.parameters.get("kd_weight") != 0 for spec in taught):
        return "yes"
    return "na" if cell.sparsity == 0 and not taught else "no"


def _percent(record: Mapping[str, Any], task: Task, reported_as: str, metric: str) -> float:
    value = float(record["result"]["metrics"][reported_as][metric])
    return value if task.head.metrics_in_percent else 100 * value
