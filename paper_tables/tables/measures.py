"""Measures: columns that are no score: what a line's models weigh, in theory, by counted zeros, and on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.studies.results import counts_of
from paper_tables.numbers.packings import packings_of
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import StudyNumbers

NOT_PACKED = "not packed"
NOT_STORED = "not stored"
NO_RESULT = "missing"


class Measure(NamedTuple):
    """title: of the column. text: of the cell of a line's rows. meaning: for the legend."""

    title: str
    text: Callable[[StudyNumbers, Sequence[Row]], str]
    meaning: str


def _nominal(numbers: StudyNumbers, rows: Sequence[Row]) -> str:
    """Of an outcome by what was reached, a range where the tasks reached unlike shares."""
    found = [row.compression for row in rows]
    return " to ".join(dict.fromkeys(f"{value:.1f}x" for value in (min(found), max(found))))


def _zeros(numbers: StudyNumbers, rows: Sequence[Row]) -> str:
    counted = {(found["encoder_zeros"], found["encoder_numel"]) for found in _sparsity(numbers, rows)}
    totals = {total for _, total in counted}
    if len(totals) != 1:
        return NO_RESULT
    return f"{_range(zeros for zeros, _ in counted)} of {_range(totals)}"


def _nonzero(numbers: StudyNumbers, rows: Sequence[Row]) -> str:
    counted = [found["encoder_numel"] - found["encoder_zeros"] for found in _sparsity(numbers, rows)]
    return _range(counted) if counted else NO_RESULT


def _packed(member: str) -> Callable[[StudyNumbers, Sequence[Row]], str]:
    """A size of the packed files of the rows' models."""

    def text(numbers: StudyNumbers, rows: Sequence[Row]) -> str:
        found = [packed[member] for packed in packings_of(numbers, _evaluations(rows))]
        return _range(found) if found else NOT_PACKED

    return text


def _times_bound(numbers: StudyNumbers, rows: Sequence[Row]) -> str:
    found = [each["encoder_bytes"] / each["encoder_bound_bytes"] for each in packings_of(numbers, _evaluations(rows))]
    return " to ".join(dict.fromkeys(f"{ratio:.3f}" for ratio in (min(found), max(found)))) if found else NOT_PACKED


def _whole_ratio(numbers: StudyNumbers, rows: Sequence[Row]) -> str:
    found = [each["dense_file_bytes"] / each["file_bytes"] for each in packings_of(numbers, _evaluations(rows))]
    return " to ".join(dict.fromkeys(f"{ratio:.1f}x" for ratio in (min(found), max(found)))) if found else NOT_PACKED


def _folder_bytes(numbers: StudyNumbers, rows: Sequence[Row]) -> str:
    found = [record["artifact"]["bytes"] for record in _models(numbers, rows) if "artifact" in record]
    return _range(found) if any(found) else NOT_STORED


MEASURES: Mapping[str, Measure] = {
    "nominal_compression": Measure(
        "nominal", _nominal, "32 / (bits (1 - sparsity)), of the encoder's matrices, without an index of the zeros"
    ),
    "zeros": Measure("zeros", _zeros, "counted zeros of the prunable encoder matrices, of their weights"),
    "nonzero_parameters": Measure("non-zero", _nonzero, "weights of these matrices that are not zero"),
    "encoder_bytes": Measure(
        "encoder bytes", _packed("encoder_bytes"), "of these matrices in the packed file: streams and scales"
    ),
    "times_bound": Measure(
        "/ bound",
        _times_bound,
        "encoder bytes over Shannon's bound of the same numbers, zeros' places and values apart",
    ),
    "file_bytes": Measure("file bytes", _packed("file_bytes"), "of the whole packed file, embeddings included"),
    "whole_ratio": Measure("whole model", _whole_ratio, "the same model's fp32 weights file over its packed file"),
    "folder_bytes": Measure(
        "folder bytes", _folder_bytes, "of the scored model's folder in the hub's layout: every weight, zero or not"
    ),
}


def _models(numbers: StudyNumbers, rows: Sequence[Row]) -> Iterator[Mapping[str, Any]]:
    """The records of the models that the rows' evaluations scored, as far as they are there."""
    stages = numbers.study.plan.stages
    ids = {stages[stage_id].parents.get("model", "") for row in rows for stage_id in row.stage_ids}
    return (numbers.records[stage_id] for stage_id in sorted(ids) if stage_id in numbers.records)


def _evaluations(rows: Sequence[Row]) -> list[str]:
    return [stage_id for row in rows for stage_id in row.stage_ids]


def _sparsity(numbers: StudyNumbers, rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    found = (counts_of(record["result"]) for record in _models(numbers, rows))
    return [each for each in found if {"encoder_zeros", "encoder_numel"} <= each.keys()]


def _range(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"
