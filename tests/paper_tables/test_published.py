"""Expected values were typed from the paper's tables as quoted in its README of reported numbers, not from the CSV."""

from pathlib import Path

import pytest

from paper_tables.numbers.published import PAPER_COLUMNS, REPORTED_CSV, load_published, published_value

# Table 1, BERT-Base 85%, in the paper's column order.
NO_KD = (78.59, 86.63, 81.67, 82.53, 91.34, 89.95, 90.69, 87.41)
WITH_KD = (81.10, 88.42, 82.71, 83.67, 91.46, 90.34, 91.15, 88.00)
FINE_TUNE_PRUNING = (78.00, 86.16, 82.45, 83.05, 88.82, 87.79, 90.87, 87.65)


def values(model: str, method: str, sparsity: float, bits: int = 32) -> tuple[float | None, ...]:
    """What the lookup finds, in the paper's column order."""
    found = [published_value(model, method, sparsity, bits, task, metric) for task, metric in PAPER_COLUMNS]
    return tuple(number.value if number else None for number in found)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("prune-ofa-no-kd", NO_KD), ("prune-ofa", WITH_KD), ("finetune-pruning", FINE_TUNE_PRUNING)],
)
def test_the_three_bert_base_rows_the_review_scrambled_are_told_apart(method: str, expected: tuple[float, ...]) -> None:
    assert values("bert-base", method, 0.85) == expected


def test_int8_prune_ofa_is_the_papers_qat_row() -> None:
    assert values("bert-large", "prune-ofa", 0.9, 8)[:2] == (83.22, 90.02)
    assert values("bert-large", "prune-ofa", 0.9, 8)[2] == 83.47  # MNLI-m, also on a benchmark-listing site
    assert values("distilbert", "prune-ofa", 0.9, 8)[2] == 78.80


@pytest.mark.parametrize(
    ("model", "method", "sparsity", "bits"),
    [
        ("bert-base", "prune-ofa", 0.9, 8),  # trap 2: no QAT row at 90%
        ("bert-base", "prune-ofa-no-kd", 0.9, 32),  # no-KD rows exist at 85% only
        ("bert-base", "prune-ofa-no-kd", 0.85, 8),
        ("bert-base", "finetune-pruning", 0.85, 8),
        ("bert-base", "dense", 0.0, 8),
        ("bert-large", "finetune-pruning", 0.9, 32),
        ("bert-base", "prune-ofa", 0.8, 32),
        ("bert-base", "movement", 0.9, 32),  # quoted from others, not the paper's own
        ("minilm-l6", "prune-ofa", 0.85, 32),
        ("BERT-Base", "prune-ofa", 0.85, 32),  # the paper's name is not our alias
    ],
)
def test_a_cell_without_a_row_in_the_paper_has_no_published_value(
    model: str, method: str, sparsity: float, bits: int
) -> None:
    assert set(values(model, method, sparsity, bits)) == {None}


def test_the_doubtful_distilbert_reference_qqp_is_never_used() -> None:
    # Trap 4: no MNLI-mm, no QQP accuracy; 88.50 stands under F1 and must not be used. SQuAD without KD: 77.70 / 85.80.
    assert values("distilbert", "dense", 0.0) == (77.70, 85.80, 82.20, None, 91.30, 89.20, None, None)
    assert values("bert-base", "dense", 0.0)[-1] == 88.13


def test_the_lookup_covers_the_papers_sixteen_rows() -> None:
    models = ("bert-base", "bert-large", "distilbert")
    methods = ("dense", "finetune-pruning", "prune-ofa-no-kd", "prune-ofa")
    grid = [(m, method, s, b) for m in models for method in methods for s in (0.0, 0.85, 0.9) for b in (32, 8)]
    rows = [cell for cell in grid if any(values(*cell))]
    assert [sum(model == cell[0] for cell in rows) for model in models] == [6, 3, 7]
    # Sixteen rows of eight numbers, less the three the DistilBERT reference lacks.
    assert sum(value is not None for cell in rows for value in values(*cell)) == 16 * 8 - 3


def test_a_computed_sparsity_finds_the_row_of_the_typed_one() -> None:
    assert 17 * 0.05 != 0.85
    assert values("bert-base", "prune-ofa", 17 * 0.05) == WITH_KD


def test_the_number_carries_its_source() -> None:
    number = published_value("bert-base", "prune-ofa", 0.85, 32, "squad", "f1")
    assert number is not None
    assert number.paper_table.endswith("Table 1")
    assert number.source_url.startswith("https://")
    assert (number.n_seeds, number.std, number.confidence) == (2, None, "verified")


def test_every_reported_number_is_loaded_with_quoted_names_whole() -> None:
    numbers = load_published()
    assert len(numbers) == 598
    assert sum(number.confidence == "recalled" for number in numbers) == 11
    assert any(number.model == "BERT-Base" and "(lottery ticket, as quoted)" in number.method for number in numbers)


def test_a_file_without_a_column_is_refused_by_the_columns_name(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(REPORTED_CSV.read_text(encoding="utf-8").replace(",confidence", ",trust", 1), encoding="utf-8")
    with pytest.raises(ValueError, match="missing columns confidence"):
        load_published(path)


@pytest.mark.parametrize("row", ["T,BERT-Base,M,0.85,yes,32,32,sst2,accuracy,ninety,,,u,verified", "T,BERT-Base"])
def test_a_row_that_cannot_be_read_is_refused_by_its_line(tmp_path: Path, row: str) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(REPORTED_CSV.read_text(encoding="utf-8").splitlines()[0] + f"\n{row}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2"):
        load_published(path)
