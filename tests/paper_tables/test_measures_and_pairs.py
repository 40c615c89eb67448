from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.store.store import Store
from paper_tables.numbers.compression import nominal_compression
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers
from paper_tables.tables.build import build
from paper_tables.tables.formats.markdown import to_markdown
from paper_tables.tables.grid import WIDTH
from paper_tables.tables.table_file import load_table_file, parse_table_file, shipped_names

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def reduced() -> StudyNumbers:
    return read_numbers(Store(RESULTS / "reduced"), "reduced")


@pytest.fixture(scope="module")
def quick() -> StudyNumbers:
    return read_numbers(Store(RESULTS / "quick"), "quick")


def test_nominal_compression_is_bits_times_zeros() -> None:
    assert nominal_compression(32, 0.0) == 1
    assert nominal_compression(8, 0.9) == pytest.approx(40)  # ten times four: trap 13
    assert nominal_compression(32, 0.85) == pytest.approx(1 / 0.15)


def test_compression_counts_what_the_records_count(reduced: StudyNumbers) -> None:
    lines = {
        (line.method, line.sparsity, line.bits): [cell.text for cell in line.cells]
        for line in build(load_table_file("compression"), reduced).lines()
    }
    # 24 matrices of 384 x 384 and 12 of 384 x 1536, floor(0.9 n) zeros in each.
    zeros, total = 24 * 132_710 + 12 * 530_841, 24 * 384**2 + 12 * 384 * 1536
    nominal, counted, *packed, folder = lines["prune-ofa", 0.9, "8"]
    assert (nominal, counted) == ("40.0x", f"{zeros:,} of {total:,}")
    assert packed == ["not packed"] * 4
    low, high = (int(text.replace(",", "")) for text in folder.split(" to "))
    sizes = [
        json.loads(path.read_text())["artifact"]["bytes"]
        for path in (RESULTS / "reduced" / "records").glob("*/*.json")
        if '"kind": "quantization"' in path.read_text()
    ]
    assert {low, high} <= set(sizes)
    assert lines["dense", 0.0, "32"][:2] == ["1.0x", f"0 of {total:,}"]


def test_weights_that_are_left_are_counted_where_a_table_asks_for_them(reduced: StudyNumbers) -> None:
    tree = {"title": "left", "description": "what is left", "columns": ["nonzero_parameters"], "rows": [{}]}
    table = parse_table_file(tree, "left")
    left = {(line.method, line.sparsity): line.cells[0].text for line in build(table, reduced).lines()}
    total = 24 * 384**2 + 12 * 384 * 1536
    assert left["dense", 0.0] == f"{total:,}"
    assert left["prune-ofa", 0.9] == f"{total - 24 * 132_710 - 12 * 530_841:,}"


def test_the_ablation_has_the_pair_that_distillation_alone_sets_apart(reduced: StudyNumbers) -> None:
    """finetune-pruning has another kind of stage: it is another method, and no pair of one setting."""
    (block,) = build(load_table_file("ablation"), reduced).blocks
    assert block.heading == "Ablation at 0.85: transfer KD"
    assert [line.label for line in block.lines] == ["prune-ofa-no-kd", "prune-ofa", "difference"]
    # 77.64 - 75.57, and no interval of one seed.
    texts = [cell.text for cell in block.lines[2].cells if cell.text != "-"]
    assert texts == ["-0.60 n=1", "-0.25 n=1", "+2.06 n=1"]
    said = [each for each in build(load_table_file("ablation"), reduced).remarks if each.startswith("difference: ")]
    assert said == [
        "difference: the first row minus the second in points, paired by transfer seed; in parentheses its 95% "
        "interval, Student's t, from three seeds on, conditional on one pruning."
    ]


def test_where_no_pair_differs_in_one_thing_it_says_so(quick: StudyNumbers) -> None:
    assert "no two rows differ in one thing alone" in to_markdown(table := build(load_table_file("ablation"), quick))
    assert not [each for each in table.remarks if each.startswith("difference: ")]


def test_peers_stand_beside_ours_with_their_sources(reduced: StudyNumbers) -> None:
    table = build(load_table_file("peers"), reduced)
    ours = [line for line in table.lines() if not line.is_quoted]
    assert {(line.method, line.sparsity) for line in ours} == {("prune-ofa", 0.9)}
    notes = dict(table.footnotes)
    for line in table.lines():
        if line.is_quoted:
            assert any(line.source in notes[mark] for mark in line.marks)
            assert "seed=" not in line.method
            assert line.sparsity == 0.9
    assert len([line for line in table.lines() if line.is_quoted]) > 30


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_tables_of_the_committed_studies_fit_a_terminal_and_repeat(
    name: str, reduced: StudyNumbers, quick: StudyNumbers
) -> None:
    for numbers in (reduced, quick):
        text = to_markdown(build(load_table_file(name), numbers))
        assert max((len(line) for line in text.splitlines() if line.startswith("|")), default=0) <= WIDTH
        assert text == to_markdown(build(load_table_file(name), numbers))


def test_a_choice_that_the_study_has_nothing_of_is_said(quick: StudyNumbers) -> None:
    tree = {"title": "T", "description": "D", "rows": [{"method": "prune-off"}, {"sparsity": 0.85, "bits": 32}]}
    table = build(parse_table_file(tree, "mine"), quick)
    assert "rows 1 of the table file (method=prune-off): the study has no such cell." in table.remarks
    assert {(line.sparsity, line.bits) for line in table.lines()} == {(0.85, "32")}
