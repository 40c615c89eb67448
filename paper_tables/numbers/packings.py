"""Packed files of a study's models, as the records of its packing stages count them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paper_tables.numbers.study_numbers import StudyNumbers


def packings_of(numbers: StudyNumbers, evaluations: Iterable[str]) -> list[Mapping[str, Any]]:
    """Sizes of the packed files, with fp32 embeddings, of the models that these evaluations scored, where they are."""
    ids = dict.fromkeys(measure for stage_id in evaluations for measure in numbers.measures.get(stage_id, ()))
    found = [numbers.records[i]["result"].get("packed") for i in ids if i in numbers.records]
    return [packed for packed in found if packed is not None and packed["embeddings"] == "fp32"]
