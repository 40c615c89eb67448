"""Terms: the settings that a row's model was fine-tuned with. Only where they are equal are methods ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.planning.kinds import DISTILLATION, FINE_TUNING, TASK_DATA
from harness.studies.study import Study
from paper_tables.numbers.rows import Row

TERMS = (*FINE_TUNING, *TASK_DATA, "distillation", "modules")  # the settings by name


def terms(study: Study, row: Row) -> dict[str, Any]:
    """Parameters of the row's own stage, whatever the preset's name."""
    evaluation = study.plan.stages[row.stage_ids[0]]
    stage = study.plan.stages[evaluation.parents["model"]]
    found = {name: stage.parameters.get(name) for name in (*FINE_TUNING, *TASK_DATA)}
    found["distillation"] = [stage.parents.get("teacher"), *(stage.parameters.get(name) for name in DISTILLATION)]
    found["modules"] = stage.parameters.get("prune_pooler", stage.parameters.get("lock_pooler"))
    return found


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
    """The names of the settings in which two rows differ."""
    ours, theirs = terms(study, one), terms(study, other)
    return sorted(name for name in ours if ours[name] != theirs[name])
