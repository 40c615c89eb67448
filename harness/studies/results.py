"""Results: what a sound record says, checked before a page shows it. Whoever reports numbers asks here.

A record can be sound, unchanged and of its stage, and still hold no number: a metric that another version of the code
left out, a text, a value outside its range. Each is named; none is shown, dropped or averaged in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import StoreError
from harness.planning.graph import Plan
from harness.planning.kinds import KINDS
from harness.specs import StageSpec
from harness.store.store import Store
from harness.studies.twins import EVALUATION
from harness.studies.unread import find_unread
from harness.studies.verification import Records, sound_records
from harness.tasks import TASKS, Task
from harness.wording import shown

# Of the result of a pre-training stage and of an imported sparse checkpoint: what pages say of them.
PRETRAINING = (
    ("training", "tokens_seen"),
    ("metrics", "mlm_accuracy"),
    ("metrics", "mlm_correct"),
    ("metrics", "mlm_positions"),
)
CHECKPOINT = (("sparsity", "encoder_zeros"), ("sparsity", "encoder_numel"))


@dataclass(frozen=True)
class Results:
    """records: of the finished stages, by id, each with the numbers that pages show.

    told: sentences about files among the records that are read by nobody, and change no number.
    """

    records: Records
    told: Sequence[str]


def read_results(plan: Plan, store: Store) -> Results:
    """Raises StoreError with every record that cannot be trusted, number that is none, and second result of a stage."""
    records, problems = sound_records(plan, store)
    problems += result_problems(plan, records, store)
    unread = find_unread(store, plan.stages)
    problems += unread.problems
    if problems:
        raise StoreError("\n".join(problems))
    return Results(records, unread.notes)


def result_problems(plan: Plan, records: Records, store: Store) -> list[str]:
    """A sentence for every record whose result is not what pages show of it."""
    found = []
    for stage_id, record in records.items():
        if told := list(_problems(plan.stages[stage_id], plan.work(stage_id), record.get("result"))):
            stage = store.stage(stage_id)
            found.append(f"record {stage.record_path}: {'; '.join(told)}. {stage.redo_hint()}")
    return found


def _problems(spec: StageSpec, work: str | None, result: Any) -> Iterator[str]:
    if not isinstance(result, Mapping):
        yield f"its result is {shown(result)}, expected an object"
    elif spec.kind == EVALUATION:
        yield from _score_problems(spec, TASKS.get(str(spec.parameters.get("task"))), result)
    elif work == "pretraining" and spec.kind in KINDS:  # an author's kind says what it likes
        yield from (told for keys in PRETRAINING if (told := _number_problem(result, keys, math.inf)))
    elif spec.kind == "sparse_checkpoint":
        yield from (told for keys in CHECKPOINT if (told := _number_problem(result, keys, math.inf)))


def _score_problems(spec: StageSpec, task: Task | None, result: Mapping[str, Any]) -> Iterator[str]:
    if task is None:
        yield f"it is of task {shown(spec.parameters.get('task'))}, which is not known here"
        return
    most = 100 if task.head.metrics_in_percent else 1
    for split, reported_as in task.evaluation_splits:
        if split in spec.inputs:
            for metric in task.metrics:
                if told := _number_problem(result, ("metrics", reported_as, metric), most):
                    yield told
    if told := _number_problem(result, ("cell_sparsity",), 1):
        yield told


def _number_problem(result: Mapping[str, Any], keys: Sequence[str], most: float) -> str | None:
    """What is wrong with the number that these keys lead to; None for one in [0, most]."""
    value: Any = result
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return f"it has no result.{'.'.join(keys)}"
        value = value[key]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most and value < math.inf:
        return None
    expected = "a number of 0 or more" if most == math.inf else f"a number in [0, {most}]"
    return f"result.{'.'.join(keys)} is {shown(value)}, expected {expected}"
