"""Sparsity by layer and matrix; the sizes of the matrices against those that the families' shapes give."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from figure_data import numbers_of

from harness.inputs.families import FAMILIES
from harness.store.store import Store
from harness.studies.study import Study
from harness.synthetic.encoders import ENCODERS
from paper_tables.figures.sparsity_map import matrix_sizes, sparsity_charts
from paper_tables.numbers.study_numbers import read_numbers

RESULTS = Path(__file__).parents[2] / "results"


def counts(
    family: str, layers: int, width: int, feed_forward: int, share: float, *, pooler: bool = False
) -> dict[str, Any]:
    """What a record counts of an encoder pruned matrix by matrix."""
    of = FAMILIES[family]
    sizes = {"width": width, "feed_forward": feed_forward}
    numel = [math.prod(sizes[name] for name in shape) for _ in range(layers) for shape in of.linears.values()]
    return {
        "encoder_numel": sum(numel),
        "zeros_by_matrix": {
            name: math.floor(share * n + 1e-9) for name, n in zip(of.encoder_matrices(layers), numel, strict=True)
        },
        "pooler": {f"{of.backbone}.{of.pooler}": [0, width**2]} if pooler else {},
    }


LOCAL = {"ranking": "local", "sparsity": 0.9}


@pytest.mark.parametrize(
    ("family", "layers", "width", "feed_forward"),
    [
        ("bert", 12, 768, 3072),
        ("bert", 24, 1024, 4096),
        ("bert", 2, 64, 128),
        ("distilbert", 6, 768, 3072),
        ("bert", 1, 3, 5),
    ],
)
def test_sizes_follow_from_the_zeros_of_local_pruning_and_from_a_pooler(
    family: str, layers: int, width: int, feed_forward: int
) -> None:
    expected = [width**2] * 4 + [width * feed_forward] * 2
    for share in (0.85, 0.9, 0.29):
        found = counts(family, layers, width, feed_forward, share)
        assert matrix_sizes([({"ranking": "local", "sparsity": share}, found)]) == expected
    if family == "bert":
        assert matrix_sizes([({}, counts(family, layers, width, feed_forward, 0.0, pooler=True))]) == expected


def test_one_stage_that_tells_the_width_serves_for_the_others_of_its_model() -> None:
    silent = counts("distilbert", 6, 768, 3072, 0.0)
    assert matrix_sizes([({}, silent)]) is None
    assert (
        matrix_sizes([({}, silent), (LOCAL, counts("distilbert", 6, 768, 3072, 0.9))]) == [589824] * 4 + [2359296] * 2
    )


@pytest.mark.parametrize(
    "change",
    [
        {"encoder_numel": 12 * (4 * 64**2 + 2 * 64 * 128) + 1},
        {"zeros_by_matrix": {"bert.encoder.layer.0.attention.self.query": 4}},
        {"pooler": {"bert.pooler.dense": [0, 65]}},
    ],
    ids=["not a whole feed-forward size", "another set of matrices", "a pooler that is no square"],
)
def test_counts_that_do_not_fit_give_no_size(change: dict[str, Any]) -> None:
    assert matrix_sizes([({}, {**counts("bert", 2, 64, 128, 0.5, pooler=True), **change})]) is None


def test_a_stage_whose_counts_contradict_the_others_gives_no_size() -> None:
    one = counts("bert", 2, 64, 128, 0.9, pooler=True)
    assert matrix_sizes([(LOCAL, one), (LOCAL, counts("bert", 2, 32, 128, 0.9, pooler=True))]) is None
    more = {**one, "zeros_by_matrix": dict.fromkeys(one["zeros_by_matrix"], 64**2 + 1)}
    assert matrix_sizes([(LOCAL, one), ({}, more)]) is None


def test_maps_are_shares_of_zeros_by_layer(make_study: Callable[..., Study]) -> None:
    study = make_study(methods=["dense", "prune-ofa"], tasks=["sst2"], sparsities=[0.9], seeds=[0, 1])
    found = counts("bert", 2, 64, 128, 0.9, pooler=True)
    found["zeros_by_matrix"]["bert.encoder.layer.1.attention.self.key"] = 1024
    numbers = numbers_of(study, lambda *_: 0.5, {"transfer": {"result": {"sparsity": found}}})
    (chart,), left_out = sparsity_charts(numbers)
    assert left_out == []
    (drawn,) = chart.maps
    assert (drawn.method, drawn.sparsity, drawn.models, len(drawn.shares)) == ("prune-ofa", 0.9, 2, 2)
    assert drawn.shares[1][1] == drawn.lowest == 0.25
    assert drawn.shares[0] == pytest.approx([0.9] * 6, abs=1 / 4096)


def test_unknown_sizes_leave_the_model_out_with_a_sentence(make_study: Callable[..., Study]) -> None:
    study = make_study(methods=["prune-ofa"], tasks=["sst2"], sparsities=[0.9])
    silent = {"transfer": {"result": {"sparsity": counts("distilbert", 6, 768, 3072, 0.9)}}}
    assert sparsity_charts(numbers_of(study, lambda *_: 0.5, silent)) == (
        [],
        ["tiny: sparsity by layer: the sizes of its matrices do not follow from its records."],
    )


@pytest.mark.parametrize("change", ["one matrix less", "more zeros than weights"])
def test_codes_that_contradict_the_sizes_leave_the_model_out(make_study: Callable[..., Study], change: str) -> None:
    study = make_study(methods=["prune-ofa"], tasks=["sst2"], sparsities=[0.9], quantization=["none", "int8"])
    found = counts("bert", 2, 64, 128, 0.9, pooler=True)
    codes = dict(found["zeros_by_matrix"])
    if change == "one matrix less":
        codes.pop("bert.encoder.layer.1.attention.self.key")
    else:
        codes["bert.encoder.layer.1.attention.self.key"] = 64**2 + 1
    of_codes = {"sparsity": found, "int8": {"zeros_by_matrix": codes}}
    results = {"transfer": {"result": {"sparsity": found}}, "quantization": {"result": of_codes}}
    charts, left_out = sparsity_charts(numbers_of(study, lambda *_: 0.5, results))
    assert charts == []
    assert left_out == ["tiny: sparsity by layer: the sizes of its matrices do not follow from its records."]


def test_the_committed_records_give_the_sizes_of_the_generated_encoders() -> None:
    found, left_out = sparsity_charts(read_numbers(Store(RESULTS / "quick"), "quick"))
    assert left_out == []
    for chart in found:
        encoder = ENCODERS[chart.subject]
        assert chart.sizes == (encoder.width**2,) * 4 + (encoder.width * encoder.feed_forward,) * 2
        assert all(len(drawn.shares) == encoder.layers for drawn in chart.maps)
        assert {round(drawn.lowest, 2) for drawn in chart.maps} == {0.85, 0.9}
