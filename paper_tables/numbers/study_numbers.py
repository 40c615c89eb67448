"""StudyNumbers: a study's verified records with the scores and rows read from them; what all pages start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.planning.planner import without_garbage_collection
from harness.store.store import Store
from harness.studies.results import read_results
from harness.studies.study import Study, read_study
from harness.studies.verification import Records
from paper_tables.numbers.collect import collect_scores
from paper_tables.numbers.comparable import Differing, differing_from_paper
from paper_tables.numbers.rows import Row, aggregate
from paper_tables.numbers.score import Score


@dataclass(frozen=True)
class StudyNumbers:
    """records: of the finished stages, by id. scores: one per cell, metric and split; rows: their seeds gathered.

    differing: what sets the cells that the paper prints numbers for apart from its own.
    told: sentences about files among the records that are read by nobody and change no number; they name paths, so
    they are for people at a terminal and no part of a page.
    """

    study: Study
    records: Records
    scores: Sequence[Score]
    rows: Sequence[Row]
    differing: Differing
    told: Sequence[str] = ()

    @cached_property
    def measures(self) -> Mapping[str, tuple[str, ...]]:
        """Evaluation stage -> the stages that measure the model it scores."""
        plan = self.study.plan
        return {plan.endpoint(cell): measures for cell, measures in plan.measures.items()}

    @property
    def is_complete(self) -> bool:
        """Whether every cell has its numbers."""
        return all(score.value is not None for score in self.scores)


def read_numbers(store: Store, name: str) -> StudyNumbers:
    """Raises UsageError when there is no such study, StoreError with every record and number that cannot be trusted."""
    with without_garbage_collection():
        study = read_study(store, name)
        results = read_results(study.plan, store)
        differing = differing_from_paper(study)
        scores = collect_scores(study, results.records, {cell for cell, found in differing.items() if not found})
        return StudyNumbers(study, results.records, scores, aggregate(scores), differing, results.told)
