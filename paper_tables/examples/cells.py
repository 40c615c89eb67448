"""The pairs of cells that two KEY=VALUE words name, and their comparison from a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import CannotCheck, Problem, Problems, StoreError, UsageError
from harness.planning.graph import Plan
from harness.specs import Cell
from harness.store.store import Store
from harness.studies.description import CELL_KEYS, cells_named
from harness.studies.study import Study
from harness.studies.verification import Records, verified_records
from harness.tasks import REGRESSION
from paper_tables.examples.comparison import (
    OverSeeds,
    SplitComparison,
    compare_split,
    over_seeds,
    with_adjusted_p,
)
from paper_tables.examples.predictions import check_kept, read_predictions

SEEDS = ("seed", "pruning_seed")
Key = tuple[int, int | None]


@dataclass(frozen=True)
class Pair:
    """Two cells that share their seeds."""

    first: Cell
    second: Cell
    seed: int
    pruning_seed: int | None

    def __str__(self) -> str:
        return f"seed {self.seed}" if not self.pruning_seed else f"seed {self.seed}, pruning seed {self.pruning_seed}"


@dataclass(frozen=True)
class ExampleComparison:
    """first, second: what each side is, without seeds. unpaired: seeds that only one side has.

    not_done: sentences for pairs of which a cell is not scored yet; not_kept: for those without predictions.
    one_pruning: whether all sparse models come from one pruning.
    """

    study: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    splits: Sequence[SplitComparison]
    seeds: Sequence[OverSeeds]
    unpaired: Sequence[str]
    not_done: Sequence[str]
    not_kept: Sequence[str]
    one_pruning: bool


def compare_cells(store: Store, study: Study, first: str, second: str) -> ExampleComparison:
    """first, second: KEY=VALUE words of cells, separated by commas.

    Raises UsageError for words that name no cell or several kinds of cell, for cells that share no seed, and for cells
    that were scored on other examples; StoreError for records and predictions that cannot be trusted.
    """
    ours, theirs = _sides(study.plan, first, second)
    if _told(ours[0]) == _told(theirs[0]):
        raise UsageError(
            Problem(f"both sides are {_title(ours[0])}", next_move="Name two that differ in more than seeds.")
        )
    pairs, unpaired = _paired(study.plan, ours, theirs)
    _check_same_examples(study.plan, pairs)
    ends = [study.plan.endpoint(cell) for pair in pairs for cell in (pair.first, pair.second)]
    records = verified_records(study.plan.part(ends), store)  # nothing else need be sound
    found: list[SplitComparison] = []
    not_done: list[str] = []
    not_kept: list[str] = []
    for pair in pairs:
        waiting = [cell for cell in (pair.first, pair.second) if study.plan.endpoint(cell) not in records]
        if waiting:
            not_done.append(f"{pair}: {' and '.join(map(str, waiting))}: not scored yet")
            continue
        try:
            found += _compared(store, study.plan, records, pair)
        except CannotCheck as error:
            not_kept.append(f"{pair}: {error}")
    splits = with_adjusted_p(found)
    prunings = {pair.pruning_seed for pair in pairs}
    return ExampleComparison(
        study=study.name,
        first=_told(ours[0]),
        second=_told(theirs[0]),
        splits=splits,
        seeds=over_seeds(splits),
        unpaired=unpaired,
        not_done=not_done,
        not_kept=not_kept,
        one_pruning=len(prunings) == 1 and _prunes(study.plan, ours[0]) | _prunes(study.plan, theirs[0]),
    )


def _sides(plan: Plan, first: str, second: str) -> tuple[list[Cell], list[Cell]]:
    """The cells of both sides. Raises UsageError with the problems of both."""
    problems = Problems()
    none: list[Cell] = []
    ours = problems.attempt(lambda: _side(plan, first, "FIRST"), none)
    theirs = problems.attempt(lambda: _side(plan, second, "SECOND"), none)
    problems.check()
    return ours, theirs


def _side(plan: Plan, words: str, which: str) -> list[Cell]:
    """The cells of one side, which differ in seeds alone."""
    cells = cells_named(plan, words)
    if cells is None:
        expected = f"KEY=VALUE,.. with KEY of {', '.join(CELL_KEYS)}"
        raise UsageError(Problem(f"{which} {words!r}", expected=expected))
    open_keys = [
        f"{key} ({', '.join(sorted(values))})"
        for key in CELL_KEYS
        if key not in SEEDS and len(values := {str(getattr(cell, key)) for cell in cells}) > 1
    ]
    if open_keys:
        several = f"{which} {words!r} names {len(cells)} cells that differ in {', '.join(open_keys)}"
        raise UsageError(Problem(several, next_move="Add KEY=VALUE until they differ in seeds alone."))
    return cells


def _paired(plan: Plan, ours: Sequence[Cell], theirs: Sequence[Cell]) -> tuple[list[Pair], list[str]]:
    """The pairs in order of seeds, and a sentence for each side's seeds that the other lacks.

    A side that prunes nothing in pre-training is paired by its seed alone, with the one pruning of the other.
    """
    both = _prunes(plan, ours[0]) and _prunes(plan, theirs[0])
    first, second = _by_key(ours, both), _by_key(theirs, both)
    shared = sorted(first.keys() & second.keys())
    lone = [(first.keys() - second.keys(), ours[0]), (second.keys() - first.keys(), theirs[0])]
    unpaired = [
        f"only {_title(cell)} has seed {', '.join(str(key[0]) for key in sorted(keys))}" for keys, cell in lone if keys
    ]
    if not shared:
        raise UsageError(Problem(f"the two cells share no seed: {'; '.join(unpaired)}", next_move="Run one of both."))
    pairs = []
    for key in shared:
        one, other = first[key], second[key]
        prunings = {cell.pruning_seed for cell in (one, other) if _prunes(plan, cell)}
        pairs.append(Pair(one, other, key[0], next(iter(prunings), None)))
    return pairs, unpaired


def _by_key(cells: Sequence[Cell], with_pruning: bool) -> dict[tuple[int, int], Cell]:
    found: dict[tuple[int, int], Cell] = {}
    for cell in cells:
        key = (cell.seed, cell.pruning_seed if with_pruning else 0)
        if key in found:
            several = f"{_title(cell)} has several pruning seeds of seed {cell.seed}, and the other side prunes nothing"
            raise UsageError(Problem(several, next_move="Name one: pruning_seed=N."))
        found[key] = cell
    return found


def _prunes(plan: Plan, cell: Cell) -> bool:
    return plan.methods[cell.method].prunes_in_pretraining


def _title(cell: Cell) -> str:
    return str(cell).rpartition(" seed ")[0]


def _told(cell: Cell) -> dict[str, Any]:
    return {key: value for key, value in cell.as_json().items() if key not in SEEDS}


def _check_same_examples(plan: Plan, pairs: Sequence[Pair]) -> None:
    """Raises UsageError that names each pair whose evaluations read other data."""
    problems = []
    for pair in pairs:
        if plan.task_of(pair.first).head == REGRESSION:
            number = f"{pair.first.task} is a regression: of one example no prediction is right or wrong"
            raise UsageError(Problem(number, next_move="Compare two studies instead: harness tables --compare."))
        one, other = (plan.stages[plan.endpoint(cell)] for cell in (pair.first, pair.second))
        if pair.first.task != pair.second.task:
            raise UsageError(
                Problem(
                    f"one cell is of {pair.first.task}, the other of {pair.second.task}",
                    expected="two cells of one task, scored on the same examples",
                )
            )
        differing = [
            f"{split} ({_short(one.inputs.get(split))} and {_short(other.inputs.get(split))})"
            for split in sorted({*one.inputs, *other.inputs})
            if one.inputs.get(split) != other.inputs.get(split)
        ]
        if differing:
            told = f"{pair}: the two were scored on other examples, they differ in {', '.join(differing)}"
            problems.append(Problem(told, next_move="Compare cells of one data set; digests are of its content."))
    if problems:
        raise UsageError(problems)


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _compared(store: Store, plan: Plan, records: Records, pair: Pair) -> list[SplitComparison]:
    task = plan.task_of(pair.first)
    stages = [store.stage(plan.endpoint(cell)) for cell in (pair.first, pair.second)]
    for stage in stages:
        check_kept(stage, records[stage.stage_id])
    found = []
    for split, reported_as in task.evaluation_splits:
        if split in plan.stages[stages[0].stage_id].inputs:
            first, second = (read_predictions(stage.artifact_path, reported_as, task) for stage in stages)
            try:
                found.append(compare_split(task, reported_as, first, second, pair.seed, pair.pruning_seed))
            except ValueError as error:
                paths = " and ".join(str(stage.artifact_path) for stage in stages)
                raise StoreError(f"{paths}: {error} Score the models again.") from None
    return found
