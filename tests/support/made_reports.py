"""Reports of studies that nobody ran: a plan of the tests' own, and records as a worker would have written them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from grid_world import PAPER_MODELS, papers_plan

from harness.planning.graph import Plan
from harness.planning.preset import load_preset
from harness.specs import Cell
from harness.store.attempts import Attempt
from harness.studies.study import Study
from harness.tasks import get_task
from paper_tables.numbers.collect import collect_scores
from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.report.study_report import StudyReport, report_of

BEGAN = 1_795_700_000.0
PROVENANCE = {
    "commit": "b74ab18b16e631d9ab8c936b89ba728285df05d1",
    "uncommitted": None,
    "harness": "0.1.0",
    "python": "3.11.7",
    "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
    "processor": "AMD EPYC",
    "machine": "x86_64",
    "cores": 2,
    "torch": {"cpu_capability": "AVX512", "blas": "mkl", "gpus": []},
}


def digest(*words: object) -> str:
    return sha256(" ".join(map(str, words)).encode()).hexdigest()


def accuracy(cell: Cell) -> float:
    """A share that falls with sparsity and differs by seed and task; no two cells of a row are alike."""
    noise = int(digest(cell.task, cell.seed, cell.method)[:6], 16) / 16**6
    return 0.92 - 0.12 * cell.sparsity**4 - 0.01 * (cell.bits == 8) + 0.02 * noise


def study_of(plan: Plan, name: str = "made") -> Study:
    return Study(name, load_preset("paper").as_json(), plan)


def record_of(plan: Plan, stage_id: str, number: int) -> dict[str, Any]:
    """The record of a stage that is no evaluation."""
    spec = plan.stages[stage_id]
    began = BEGAN + 60 * number
    return {
        **spec.fingerprint_fields(),
        "digest": digest("record", stage_id),
        "artifact": {"bytes": 1000, "digest": digest("artifact", stage_id), "files": ["model.safetensors"]},
        "provenance": PROVENANCE,
        "times": {"attempt": 1, "started": began, "ended": began + 36.0},
        "result": {
            "training": {"tokens_seen": 1000},
            "metrics": {"mlm_accuracy": 0.5, "mlm_correct": 1, "mlm_positions": 2},
            "sparsity": {
                "encoder": 0.5,
                "encoder_numel": 100,
                "encoder_zeros": 50,
                "pattern_sha256": digest("pattern"),
                "pooler": {},
                "zeros_by_matrix": {"query": 50},
            },
        },
    }


def records_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """A record of every stage."""
    records = {stage_id: record_of(plan, stage_id, number) for number, stage_id in enumerate(plan.stages)}
    for cell in plan.paths:
        task, record = get_task(cell.task), records[plan.endpoint(cell)]
        value = accuracy(cell) * (100 if task.head.metrics_in_percent else 1)
        metrics = {split: dict.fromkeys(task.metrics, value) for _, split in task.evaluation_splits}
        record["result"] = {"metrics": metrics, "cell_sparsity": cell.sparsity}
        record["artifact"] = {"bytes": 0, "digest": digest("nothing"), "files": []}
    return records


def numbers_of(study: Study, records: Mapping[str, Mapping[str, Any]]) -> StudyNumbers:
    scores = collect_scores(study, records)
    return StudyNumbers(study, records, scores, aggregate(scores), {})


def made_report(
    plan: Plan,
    *,
    name: str = "made",
    records: Mapping[str, Mapping[str, Any]] | None = None,
    attempts: Mapping[str, list[Attempt]] | None = None,
) -> StudyReport:
    """records: None for one of every stage."""
    study = study_of(plan, name)
    return report_of(numbers_of(study, records_of(plan) if records is None else records), attempts or {}, [])


def failed(message: str, outcome: str = "code") -> Attempt:
    return Attempt(1, BEGAN, "node", 1, "", BEGAN + 5, outcome, message)


def large_plan(num_sparsities: int = 66, num_seeds: int = 5) -> Plan:
    """Some 10,000 cells: three models, Prune OFA at many sparsities in fp32 and int8, and dense; five tasks."""
    seeds = list(range(num_seeds))
    dense = papers_plan(models=list(PAPER_MODELS), methods=["dense"], seeds=seeds)
    sparsities = [round(0.3 + 0.01 * number, 2) for number in range(num_sparsities)]
    sparse = papers_plan(
        models=list(PAPER_MODELS),
        methods=["prune-ofa"],
        sparsities=sparsities,
        quantization=["none", "int8"],
        seeds=seeds,
    )
    return joined(dense, sparse)


def joined(*plans: Plan) -> Plan:
    found = Plan()
    for plan in plans:
        for spec in plan.stages.values():
            found.add(spec)
        found.paths.update(plan.paths)
        found.methods.update(plan.methods)
    return found


def renamed(plan: Plan, names: Mapping[str, str]) -> Plan:
    """The plan with other names for its methods and models, as no grid would take them; ids stay."""
    stages = {
        stage_id: replace(spec, parameters={k: names.get(str(v), v) for k, v in spec.parameters.items()})
        for stage_id, spec in plan.stages.items()
    }
    paths = {
        replace(cell, method=names.get(cell.method, cell.method), model=names.get(cell.model, cell.model)): path
        for cell, path in plan.paths.items()
    }
    return Plan(stages=stages, paths=paths, methods={names.get(k, k): v for k, v in plan.methods.items()})
