"""Row: one reproduced number, its seeds gathered and the paper's number beside it; and the order of rows.

Scores in, rows out. How a row looks on the page is `render`'s concern.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, NamedTuple

from harness.planning.method_summary import EXACT, OUTCOME, SPARSE_FROM
from paper_tables.numbers.compression import nominal_compression
from paper_tables.numbers.published import PAPER_COLUMNS, PAPER_METHOD_ORDER, PAPER_MODELS, published_value
from paper_tables.numbers.score import Score
from paper_tables.statistics.intervals import standard_deviation

SAME_ZEROS = 0.001  # two shares of zeros that are closer are one sparsity: a tenth of a point, more than counts round


class SeedValue(NamedTuple):
    """One seed of a number. pruning_seed: None where nothing was pruned in pre-training. value: None while missing."""

    seed: int
    pruning_seed: int | None
    value: float | None
    stage_id: str | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of a table. Values, spread and difference are in percent (points), sparsity is a fraction.

    table: "Table 1", "Table 2" or "Table 3" where a number of that model is comparable with the paper's, else the
    study's name.
    value: mean over the seeds that have a value, None when none has. n: how many have one; missing: how many have not.
    spread: sample standard deviation (n - 1 below the line), None when n < 2. spread_over: what varied in it,
    "transfer seeds", "pruning seeds" or "transfer and pruning seeds".
    published: the paper's number, None where it prints none or a seed is not comparable with it. difference: value -
    published.
    measured_sparsity: smallest and largest counted share of zeros. seeds: every planned one, in order of its numbers.
    sparsity_is: "exact", or "outcome" where `sparsity` is what was aimed at.
    """

    table: str
    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: int
    task: str
    metric: str
    value: float | None
    n: int
    spread: float | None
    spread_over: str | None
    published: float | None
    difference: float | None
    missing: int
    measured_sparsity: tuple[float, float] | None
    seeds: tuple[SeedValue, ...]
    sparsity_is: str = EXACT

    @property
    def reached(self) -> float | None:
        """The middle of the shares of zeros that were reached, where the sparsity is an outcome; else None."""
        if self.sparsity_is != OUTCOME or self.measured_sparsity is None:
            return None
        return fmean(self.measured_sparsity)

    @property
    def compression(self) -> float:
        """Nominal; where the sparsity is an outcome, by the zeros that were reached."""
        return nominal_compression(self.bits, self.sparsity if self.reached is None else self.reached)

    @property
    def is_at_its_sparsity(self) -> bool:
        """Whether it may stand for its sparsity beside others: not where that is an outcome and was missed."""
        if self.sparsity_is != OUTCOME:
            return True
        return all(abs(share - self.sparsity) < SAME_ZEROS for share in self.measured_sparsity or ())

    @property
    def stage_ids(self) -> tuple[str, ...]:
        """The evaluations behind it, by seed, also those that are not done."""
        return tuple(seed.stage_id for seed in self.seeds if seed.stage_id is not None)

    def as_json(self) -> dict[str, Any]:
        fields = {**asdict(self), "seeds": [seed._asdict() for seed in self.seeds]}
        if self.sparsity_is == EXACT:  # as it was before there was another
            del fields["sparsity_is"]
        return fields


class _Number(NamedTuple):
    """What makes two scores seeds of one number."""

    study: str
    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: int
    task: str
    metric: str


def aggregate(scores: Iterable[Score]) -> list[Row]:
    """One row per number, in the paper's order whatever the order of `scores`.

    Raises ValueError when a seed of a number comes twice, or when two studies meet in one table.
    """
    seeds: dict[_Number, dict[tuple[int, int], Score]] = {}
    studies: dict[str, str] = {}
    scores = list(scores)
    of_paper = {(score.study, score.model) for score in scores if score.comparable}
    for score in scores:
        table = _table(score.study, score.model, of_paper)
        if studies.setdefault(table, score.study) != score.study:
            names = ", ".join(sorted((studies[table], score.study)))
            raise ValueError(f"{table} would mix the studies {names}. Two recipes never share a table: give one study.")
        number = _Number(
            score.study,
            score.model,
            score.method,
            score.sparsity,
            score.transfer_kd,
            score.bits,
            score.task,
            score.metric,
        )
        # -1 stands for "no pruning seed", only to sort it before 0.
        seed = (score.seed, -1 if score.pruning_seed is None else score.pruning_seed)
        by_seed = seeds.setdefault(number, {})
        if earlier := by_seed.get(seed):
            raise ValueError(
                f"two scores for {' / '.join(map(str, number))}, seed {score.seed}, pruning seed {score.pruning_seed}: "
                f"stages {earlier.stage_id} and {score.stage_id}. Give one score per cell, metric and seed."
            )
        by_seed[seed] = score
    rows = [
        _row(_table(number.study, number.model, of_paper), number, [by_seed[seed] for seed in sorted(by_seed)])
        for number, by_seed in seeds.items()
    ]
    return sorted(rows, key=row_order)


def row_order(row: Row) -> tuple[object, ...]:
    """Sort key: the paper's models, methods, sparsity, fp32 before int8, columns; unknown names last, by alphabet."""
    return (
        _rank(row.model, tuple(PAPER_MODELS)),
        row.table,
        row.model,
        _rank(row.method, PAPER_METHOD_ORDER),
        row.method,
        row.sparsity,
        row.transfer_kd,
        -row.bits,
        column_order((row.task, row.metric)),
    )


def method_title(method: str) -> str:
    """How a method is called on the page: the user's own sparse checkpoint NAME by its NAME, others by their name.

    A checkpoint called as a method of ours keeps its whole name: two lines of one name would read as one method.
    """
    name = method.removeprefix(SPARSE_FROM)
    return method if name in PAPER_METHOD_ORDER else name


def column_order(column: tuple[str, str]) -> tuple[int, tuple[str, str]]:
    """Sort key of a (task, metric) column: left to right as in the paper, unknown ones last, by alphabet."""
    return _rank(column, PAPER_COLUMNS), column


def _row(table: str, number: _Number, scores: Sequence[Score]) -> Row:
    """scores: the seeds of one number, at least one, sorted by seed."""
    present = [score for score in scores if score.value is not None]
    values = [score.value for score in present if score.value is not None]
    value = fmean(values) if values else None
    published = _published(number) if all(score.comparable for score in scores) else None
    zeros = [score.measured_sparsity for score in scores if score.measured_sparsity is not None]
    return Row(
        table=table,
        model=number.model,
        method=number.method,
        sparsity=number.sparsity,
        transfer_kd=number.transfer_kd,
        bits=number.bits,
        task=number.task,
        metric=number.metric,
        value=value,
        n=len(values),
        spread=standard_deviation(values) if len(values) > 1 else None,
        spread_over=_spread_over(present) if len(values) > 1 else None,
        published=published,
        difference=value - published if value is not None and published is not None else None,
        missing=len(scores) - len(values),
        measured_sparsity=(min(zeros), max(zeros)) if zeros else None,
        seeds=tuple(SeedValue(score.seed, score.pruning_seed, score.value, score.stage_id) for score in scores),
        sparsity_is=scores[0].sparsity_is,
    )


def _published(ours: _Number) -> float | None:
    """The paper's value, unless this cell was distilled where the paper's was not, or the other way round."""
    number = published_value(ours.model, ours.method, ours.sparsity, ours.bits, ours.task, ours.metric)
    if number is None:
        return None
    same = {"na": ("na", "no")}.get(number.transfer_kd, (number.transfer_kd,))
    return number.value if ours.transfer_kd in same else None


def _spread_over(scores: Sequence[Score]) -> str:
    transfer = len({score.seed for score in scores}) > 1
    pruning = len({score.pruning_seed for score in scores}) > 1
    return "transfer and pruning seeds" if transfer and pruning else "pruning seeds" if pruning else "transfer seeds"


def _table(study: str, model: str, of_paper: Collection[tuple[str, str]]) -> str:
    return PAPER_MODELS[model].table if (study, model) in of_paper and model in PAPER_MODELS else study


def _rank(name: object, known: Sequence[object]) -> int:
    return known.index(name) if name in known else len(known)
