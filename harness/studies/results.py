"""Results: what a sound record says, checked before a page shows it. Whoever reports numbers asks here.

A record can be sound, unchanged and of its stage, and still hold no number: a metric that another version of the code
left out, a text, a value outside its range. Each is named; none is shown, dropped or averaged in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from harness.tasks import SIGNED_METRICS, Task, known_task
from harness.wording import shown

# Of the result of a pre-training stage and of an imported sparse checkpoint: what pages say of them.
PRETRAINING = (
    ("training", "tokens_seen"),
    ("metrics", "mlm_accuracy"),
    ("metrics", "mlm_correct"),
    ("metrics", "mlm_positions"),
)
COUNTED = ("sparsity", "int8", "artifact_sparsity")  # parts of a result that count a model's zeros
CHECKPOINT = (("sparsity", "encoder_zeros"), ("sparsity", "encoder_numel"))

# What pages read of a measure.
PACKED = ("encoder_bytes", "encoder_bound_bytes", "file_bytes", "dense_file_bytes")
LATENCY = {"runtime", "scored"}
NUMBERS = {"examples", "tokens", "calls", "p50_ms", "p90_ms", "p99_ms", "mean_ms", "mean_half_width_ms", "memory_bytes"}


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


def counts_of(result: Mapping[str, Any], part: str = "sparsity") -> Mapping[str, Any]:
    """What a stage's result counts of a model's zeros; empty where it has none, or an author's kind says another thing.

    part: one of `COUNTED`: of the weights, of the int8 codes, or as they were read from the model's files.
    Members that are there: encoder_zeros, encoder_numel, zeros_by_matrix (name -> zeros), pooler (name -> zeros and
    size), pattern_sha256.
    """
    counts = result.get(part)
    return counts if isinstance(counts, dict) and _counts_problem(part, counts) is None else {}


def _problems(spec: StageSpec, work: str | None, result: Any) -> Iterator[str]:
    if not isinstance(result, Mapping):
        yield f"its result is {shown(result)}, expected an object"
        return
    if spec.kind in KINDS:
        yield from filter(None, (_counts_problem(part, result[part]) for part in COUNTED if part in result))
    if spec.kind == EVALUATION:
        yield from _score_problems(spec, known_task(spec.parameters), result)
    elif work == "pretraining" and spec.kind in KINDS:  # an author's kind says what it likes
        yield from (told for keys in PRETRAINING if (told := _number_problem(result, keys, math.inf)))
    elif spec.kind == "packing":
        yield from (told for name in PACKED if (told := _number_problem(result, ("packed", name), math.inf)))
        if result.get("packed", {}).get("embeddings") not in ("fp32", "int8"):
            yield "result.packed.embeddings is neither fp32 nor int8"
    elif spec.kind == "latency":
        yield from _latency_problems(result.get("latency"))
    elif spec.kind == "sparse_checkpoint":
        yield from (told for keys in CHECKPOINT if (told := _number_problem(result, keys, math.inf)))


def _counts_problem(part: str, counts: Any) -> str | None:
    """The first of a model's counts that has another form than they have; what is missing has none."""
    if not isinstance(counts, dict):
        return f"result.{part} is {shown(counts)}, expected an object"
    for name, (has_form, expected) in _COUNTS.items():
        if name in counts and not has_form(counts[name]):
            return f"result.{part}.{name} is {shown(counts[name])}, expected {expected}"
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_pairs(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, list) and len(each) == 2 and all(map(_is_count, each)) for each in value.values()
    )


_COUNTS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "encoder_zeros": (_is_count, "a whole number of 0 or more"),
    "encoder_numel": (_is_count, "a whole number of 0 or more"),
    "zeros_by_matrix": (_are_counts, "a whole number for each matrix"),
    "pooler": (_are_pairs, "zeros and size of each matrix"),
    "pattern_sha256": (lambda value: isinstance(value, str), "a text"),
}


def _score_problems(spec: StageSpec, task: Task | None, result: Mapping[str, Any]) -> Iterator[str]:
    if task is None:
        yield f"it is of task {shown(spec.parameters.get('task'))}, which is not known here"
        return
    most = 100 if task.head.metrics_in_percent else 1
    for split, reported_as in task.evaluation_splits:
        if split in spec.inputs:
            for metric in task.metrics:
                least = -most if metric in SIGNED_METRICS else 0
                if told := _number_problem(result, ("metrics", reported_as, metric), most, least):
                    yield told
    if told := _number_problem(result, ("cell_sparsity",), 1):
        yield told


def _latency_problems(told: Any) -> Iterator[str]:
    """The first thing of a measurement of time that a page could not show."""
    measured = told.get("measured") if isinstance(told, dict) else None
    if not isinstance(measured, list) or not {"machine", "threads"} <= told.keys():
        yield "it has no result.latency of a machine, threads and what was measured"
        return
    for number, each in enumerate(measured):
        place = f"result.latency.measured[{number}]"
        if not isinstance(each, dict) or each.keys() != LATENCY | NUMBERS:
            yield f"{place} has not the members {', '.join(sorted(LATENCY | NUMBERS))}"
            return
        for name in sorted(NUMBERS):
            if each[name] is not None and (problem := _number_problem(each, (name,), math.inf)):
                yield f"{place}: {problem}"
                return


def _number_problem(result: Mapping[str, Any], keys: Sequence[str], most: float, least: float = 0) -> str | None:
    """What is wrong with the number that these keys lead to; None for one in [least, most]."""
    value: Any = result
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return f"it has no result.{'.'.join(keys)}"
        value = value[key]
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most and value < math.inf:
        return None
    expected = "a number of 0 or more" if most == math.inf else f"a number in [{least}, {most}]"
    return f"result.{'.'.join(keys)} is {shown(value)}, expected {expected}"
