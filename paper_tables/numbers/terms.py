"""Terms: what a row's model was fine-tuned with and scored on. Only where they are equal are methods ranked.

A setting that was searched is told by how it was searched: methods whose learning rates were chosen from the same
values, on the same data and seeds, are on equal terms, whichever of them each came to. Whether the teacher's logits
were stored is no term: that changes no loss beyond rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.planning.graph import Plan
from harness.planning.kept_recipe import recipe_of
from harness.planning.kinds import FINE_TUNING, SOFT_TARGETS, TASK_DATA
from harness.planning.recipe import SEARCHED
from harness.specs import StageSpec
from harness.studies.description import settings_with_evidence
from harness.studies.study import Study
from paper_tables.numbers.rows import Row

DATA = "data"  # of the training on the task and of the evaluation, by content
SPARSITY = "sparsity"  # of a row that aimed at it: what was reached is another
TERMS = (*FINE_TUNING, *TASK_DATA, "distillation", "modules", DATA, SPARSITY)  # by name
_OF_MODEL = ("model", "tokenizer", "checkpoint")  # inputs that are no data


def terms(study: Study, stage_id: str) -> dict[str, Any]:
    """Parameters and data of the stage whose model an evaluation scored, whatever the preset's name.

    In the place of a parameter's value stands how it was searched, where it was.
    """
    evaluation = study.plan.stages[stage_id]
    stage = study.plan.stages[evaluation.parents["model"]]
    found = {name: stage.parameters.get(name) for name in (*FINE_TUNING, *TASK_DATA)} | _searches(study, stage)
    found["distillation"] = [stage.parents.get("teacher"), *(stage.parameters.get(name) for name in SOFT_TARGETS)]
    found["modules"] = stage.parameters.get("prune_pooler", stage.parameters.get("lock_pooler"))
    trained_on = {role: content for role, content in stage.inputs.items() if role not in _OF_MODEL}
    found[DATA] = [trained_on, dict(evaluation.inputs)]
    return found


def _searches(study: Study, stage: StageSpec) -> dict[str, Any]:
    """How those of a stage's fine-tuning parameters were searched that were: name -> [SEARCHED, the words]."""
    if all(evidence != SEARCHED for _, evidence, _ in study.recipe["settings"].values()):
        return {}
    settings = settings_with_evidence(stage, study.plan, recipe_of(study.recipe))
    return {
        each["name"]: [SEARCHED, each["source"]]
        for each in settings
        if each["evidence"] == SEARCHED and each["name"] in FINE_TUNING
    }


def on_equal_terms(study: Study, rows: Sequence[Row]) -> list[list[Row]]:
    """The rows split into sets with equal terms, the largest first."""
    parts: list[list[Row]] = []
    for row in rows:
        part = next((part for part in parts if not differing_terms(study, part[0], row)), None)
        if part is None:
            parts.append([row])
        else:
            part.append(row)
    return sorted(parts, key=len, reverse=True)


def differing_terms(study: Study, one: Row, other: Row) -> list[str]:
    """The names of the terms in which two rows differ on a seed of both; where they share none, on their first.

    "sparsity" is among them where that of a row is an outcome and its models have another share of zeros: it may not
    stand at that sparsity beside others.
    """
    ours, theirs = _stages_by_seed(one), _stages_by_seed(other)
    shared = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    if not shared:
        shared = [(next(iter(ours.values())), next(iter(theirs.values())))]
    unlike = {  # of the pairs that only seeds set apart, one
        (_but_for_seeds(study.plan, first), _but_for_seeds(study.plan, second)): (first, second)
        for mine, its in shared
        for first in mine
        for second in its
    }
    compared = [(terms(study, first), terms(study, second)) for first, second in unlike.values()]
    found = {name for first, second in compared for name in first if first[name] != second[name]}
    if not (one.is_at_its_sparsity and other.is_at_its_sparsity):
        found.add(SPARSITY)
    return sorted(found)


def _but_for_seeds(plan: Plan, stage_id: str) -> tuple[int, str | None]:
    """Equal for evaluations that have the same terms: of these the teacher alone depends on a seed."""
    model = plan.stages[stage_id].parents["model"]
    return plan.alike(stage_id), plan.stages[model].parents.get("teacher")


def _stages_by_seed(row: Row) -> dict[int, list[str]]:
    """Evaluations by transfer seed, one for each pruning."""
    found: dict[int, list[str]] = {}
    for seed in row.seeds:
        if seed.stage_id is not None:
            found.setdefault(seed.seed, []).append(seed.stage_id)
    return found
