"""Sparsity per layer and kind of matrix: counted zeros over the matrix's size, for every pruned row of a study.

Records count the zeros of each matrix and the weights of all together. The sizes of single matrices follow from that
and from the family's shapes, checked against every count there is; where they do not follow, there is no map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.inputs.families import FAMILIES, Family
from harness.studies.results import counts_of
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import StudyNumbers

KINDS = ("Q", "K", "V", "O", "F1", "F2")  # query, key, value, attention output; the two of the feed-forward part
SLACK = 1e-9  # of `harness.compression.mask`, which removes floor(sparsity * size + 1e-9)

Counts = Mapping[str, Any]  # a record's "sparsity"


@dataclass(frozen=True, kw_only=True)
class SparsityMap:
    """One row of a study. shares: [layer][kind] in [0, 1], the mean over `models` scored models, and the lowest and
    highest share of any matrix of any of them."""

    method: str
    sparsity: float
    bits: int
    shares: tuple[tuple[float, ...], ...]
    lowest: float
    highest: float
    models: int
    stage_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SparsityChart:
    """One model of a study. kinds: of matrices, as many as a share has in each layer; sizes: their weights."""

    subject: str
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    maps: tuple[SparsityMap, ...]
    notes: tuple[str, ...] = ()


def sparsity_charts(numbers: StudyNumbers) -> tuple[list[SparsityChart], list[str]]:
    """A chart per model with pruned results, and a sentence for each model whose matrices' sizes are not known."""
    found, left_out = [], []
    for model in dict.fromkeys(row.model for row in numbers.rows):
        rows = [row for row in numbers.rows if row.model == model and row.sparsity > 0 and row.n]
        scored = {key: _scored(numbers, of_key) for key, of_key in _by_setting(rows).items()}
        scored = {key: counts for key, counts in scored.items() if counts}
        if not scored:
            continue
        sizes = matrix_sizes(_of_model(numbers, model))
        if sizes is None or not all(_agree(counts, sizes) for of_key in scored.values() for counts in of_key.values()):
            left_out.append(f"{model}: sparsity by layer: the sizes of its matrices do not follow from its records.")
            continue
        maps = [_map(key, counts, sizes) for key, counts in scored.items()]
        kept = tuple(_without_repeats(maps))
        notes = ("In int8 the same zeros, where no map says otherwise.",) if len(kept) < len(maps) else ()
        found.append(SparsityChart(subject=model, kinds=KINDS, sizes=tuple(sizes), maps=kept, notes=notes))
    return found, left_out


def matrix_sizes(stages: Iterable[tuple[Mapping[str, Any], Counts]]) -> list[int] | None:
    """Weights of one layer's matrices in the order of `KINDS`, from the records of one model's stages.

    stages: (parameters, sparsity counts) of each. The width follows from the pooler, which is square; or from zeros of
    a locally pruned square matrix, floor(sparsity * width^2); the feed-forward size then from the count of all weights.
    None where nothing tells the width, or any count contradicts it.
    """
    stages = list(stages)
    sizes: set[tuple[int, ...] | None] = set()
    for parameters, counts in stages:
        family = _family(counts)
        if family is None:
            return None
        width = _width_of_pooler(family, counts) or _width_of_zeros(family, parameters, counts)
        if width is not None:
            sizes.add(_sizes(family, counts, width))
    if len(sizes) != 1:
        return None
    (found,) = sizes
    if found is None or not all(_agree(counts, found) for _, counts in stages):
        return None
    return list(found)


def _sizes(family: Family, counts: Counts, width: int) -> tuple[int, ...] | None:
    """Sizes of a layer's matrices of this width, None where no feed-forward size makes up the count of all weights."""
    square = [shape.count("width") == 2 for shape in family.linears.values()]
    rest, oblong = counts["encoder_numel"] - _layers(counts) * square.count(True) * width**2, square.count(False)
    if rest <= 0 or rest % (_layers(counts) * oblong * width):
        return None
    feed_forward = rest // (_layers(counts) * oblong * width)
    return tuple(width * (width if is_square else feed_forward) for is_square in square)


def _agree(counts: Counts, sizes: Sequence[int]) -> bool:
    """Whether these sizes make up all weights, and no matrix has more zeros than weights."""
    zeros = list(counts["zeros_by_matrix"].values())
    whole = len(zeros) == _layers(counts) * len(sizes) and _layers(counts) * sum(sizes) == counts["encoder_numel"]
    return whole and all(0 <= found <= sizes[i % len(sizes)] for i, found in enumerate(_in_order(counts)))


def _family(counts: Counts) -> Family | None:
    """The family that has exactly these matrices, in all of its layers."""
    names = set(counts["zeros_by_matrix"])
    return next(
        (family for family in FAMILIES.values() if names and names == set(family.encoder_matrices(_layers(counts)))),
        None,
    )


def _layers(counts: Counts) -> int:
    return len(counts["zeros_by_matrix"]) // len(KINDS)


def _in_order(counts: Counts) -> list[int]:
    """Zeros layer by layer, in the order of `KINDS`."""
    family = _family(counts)
    return [] if family is None else [counts["zeros_by_matrix"][n] for n in family.encoder_matrices(_layers(counts))]


def _width_of_pooler(family: Family, counts: Counts) -> int | None:
    found = counts.get("pooler", {}).get(f"{family.backbone}.{family.pooler}")
    return None if found is None else _root(found[1])


def _width_of_zeros(family: Family, parameters: Mapping[str, Any], counts: Counts) -> int | None:
    """From a stage that pruned each matrix to its sparsity; its square matrices have equally many zeros."""
    sparsity = parameters.get("sparsity", 0.0)
    exact = parameters.get("ranking") == "local" and parameters.get("tie_rule", "exact") == "exact"
    if not exact or not sparsity:
        return None
    square = [shape.count("width") == 2 for shape in family.linears.values()]
    zeros = {found for i, found in enumerate(_in_order(counts)) if square[i % len(square)]}
    if len(zeros) != 1:
        return None
    (found,) = zeros
    width = math.isqrt(math.ceil(found / sparsity))
    fitting = [w for w in (width, width + 1) if math.floor(sparsity * w**2 + SLACK) == found]
    return fitting[0] if len(fitting) == 1 else None


def _root(square: int) -> int | None:
    root = math.isqrt(square)
    return root if root**2 == square else None


def _by_setting(rows: Iterable[Row]) -> dict[tuple[str, float, int], list[Row]]:
    found: dict[tuple[str, float, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row.method, row.sparsity, row.bits), []).append(row)
    return found


def _scored(numbers: StudyNumbers, rows: Iterable[Row]) -> dict[str, Counts]:
    """Counts of the models that the rows' finished evaluations scored, by id; of int8, those of the codes."""
    found: dict[str, Counts] = {}
    for stage_id in (stage_id for row in rows for stage_id in row.stage_ids if stage_id in numbers.records):
        scored = numbers.study.plan.stages[stage_id].parents.get("model", "")
        result = numbers.records.get(scored, {}).get("result", {})
        counts = {**counts_of(result), **counts_of(result, "int8")}
        if {"zeros_by_matrix", "encoder_numel"} <= counts.keys():
            found[scored] = counts
    return found


def _of_model(numbers: StudyNumbers, model: str) -> list[tuple[Mapping[str, Any], Counts]]:
    """(parameters, counts) of every finished stage that trained this model."""
    return [
        (spec.parameters, counts)
        for stage_id, spec in numbers.study.plan.stages.items()
        if spec.parameters.get("model") == model
        and {"zeros_by_matrix", "encoder_numel"}
        <= (counts := counts_of(numbers.records.get(stage_id, {}).get("result", {}))).keys()
    ]


def _map(setting: tuple[str, float, int], scored: Mapping[str, Counts], sizes: Sequence[int]) -> SparsityMap:
    method, sparsity, bits = setting
    shares = [
        [zeros / sizes[i % len(sizes)] for i, zeros in enumerate(_in_order(counts))] for counts in scored.values()
    ]
    means = [fmean(column) for column in zip(*shares, strict=True)]
    return SparsityMap(
        method=method,
        sparsity=sparsity,
        bits=bits,
        shares=tuple(tuple(means[i : i + len(sizes)]) for i in range(0, len(means), len(sizes))),
        lowest=min(map(min, shares)),
        highest=max(map(max, shares)),
        models=len(scored),
        stage_ids=tuple(scored),
    )


def _without_repeats(maps: Sequence[SparsityMap]) -> list[SparsityMap]:
    """Without the int8 maps that repeat their fp32 map: quantization with a locked pattern adds no zero."""
    seen = {(m.method, m.sparsity): m.shares for m in maps if m.bits == 32}
    return [m for m in maps if m.bits == 32 or seen.get((m.method, m.sparsity)) != m.shares]
