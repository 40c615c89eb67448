import csv
import io
import random
from dataclasses import replace

from paper_tables.render import cell_text, sparsity_text, to_csv, to_markdown, wide_tables
from paper_tables.rows import Row, aggregate
from paper_tables.score import Score

BASE = Score(
    study="demo",
    model="bert-base",
    method="prune-ofa",
    sparsity=0.85,
    transfer_kd="yes",
    bits=32,
    task="squad",
    metric="exact_match",
    seed=0,
    value=81.0,
)
# Mean 81.5; deviations -0.5 and 0.5, so sd = sqrt(0.5 / 1) = 0.7071.
SCORES = [
    BASE,
    replace(BASE, seed=1, value=82.0),
    replace(BASE, metric="f1", value=88.0),
    replace(BASE, metric="f1", seed=1, value=None),
    replace(BASE, method="dense", sparsity=0.0, transfer_kd="na", value=None),
    replace(BASE, model="minilm-l6", sparsity=0.9, task="sst2", metric="accuracy", value=90.0, measured_sparsity=0.9),
]


def cells(text: str) -> list[list[str]]:
    """The cells of every line of the Markdown tables, headers included, rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and set(line) - set("|-: ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_csv_reads_back_through_the_csv_module() -> None:
    text = to_csv(aggregate(SCORES))
    header = "table,model,method,sparsity,transfer_kd,bits,task,metric,value,n,spread,published"
    assert text.splitlines()[0] == header
    assert text.endswith("\n")
    assert "\r" not in text
    dense = ["Table 1", "bert-base", "dense", "0.00", "na", "32"]
    pruned = ["Table 1", "bert-base", "prune-ofa", "0.85", "yes", "32"]
    small = ["demo", "minilm-l6", "prune-ofa", "0.90", "yes", "32"]
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        [*dense, "squad", "exact_match", "", "0", "", "80.80"],
        [*pruned, "squad", "exact_match", "81.50", "2", "0.71", "81.10"],
        [*pruned, "squad", "f1", "88.00", "1", "", "88.42"],
        [*small, "sst2", "accuracy", "90.00", "1", "", ""],
    ]


def test_csv_quotes_a_study_name_with_a_comma() -> None:
    text = to_csv(aggregate([replace(BASE, model="minilm-l6", study='a, "b"')]))
    assert next(csv.DictReader(io.StringIO(text)))["table"] == 'a, "b"'


def test_markdown_is_the_papers_wide_table() -> None:
    text = to_markdown(aggregate(SCORES))
    assert [line for line in text.splitlines() if line.startswith("#")] == ["## Table 1", "## demo"]
    exact_match, f1 = "81.50 ± 0.71 (2) [paper 81.10]", "88.00 (1 of 2) [paper 88.42]"
    assert cells(text) == [
        ["model", "method", "sparsity", "KD", "bits", "squad EM", "squad F1"],
        ["bert-base", "dense", "0.00", "na", "32", "missing [paper 80.80]", "-"],
        ["bert-base", "prune-ofa", "0.85", "yes", "32", exact_match, f1],
        ["model", "method", "sparsity", "zeros", "KD", "bits", "sst2 acc"],
        ["minilm-l6", "prune-ofa", "0.90", "90.00%", "yes", "32", "90.00 (1)"],
    ]


def test_markdown_columns_are_aligned() -> None:
    for block in to_markdown(aggregate(SCORES)).split("## "):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(line) for line in lines}) <= 1


def test_the_difference_is_printed_only_for_a_comparable_study() -> None:
    assert cell_text(aggregate(SCORES[:2], comparable=True)[0]) == "81.50 ± 0.71 (2) [paper 81.10] Δ +0.40"
    equal = aggregate([replace(BASE, value=81.0999)], comparable=True)[0]
    assert cell_text(equal) == "81.10 (1) [paper 81.10] Δ +0.00"
    assert "Δ" not in to_markdown(aggregate(SCORES))


def test_notes_follow_the_tables_after_the_legend() -> None:
    text = to_markdown(aggregate(SCORES), notes=["Data: synthetic.", "Preset: quick."])
    assert text.endswith("- Data: synthetic.\n- Preset: quick.\n")
    assert "- ±: sample standard deviation over transfer seeds (prune-ofa).\n" in text
    assert text.rindex("|") < text.index("- Each cell")


def test_zeros_show_a_range_where_the_cells_of_a_line_differ() -> None:
    shares = {"squad": 0.8501, "sst2": 0.8499}
    rows = aggregate([replace(BASE, task=task, measured_sparsity=share) for task, share in shares.items()])
    assert wide_tables(rows)[0].body[0][3] == "84.99% to 85.01%"


def test_a_pipe_in_a_name_does_not_break_the_table() -> None:
    text = to_markdown(aggregate([replace(BASE, method="a|b")]))
    assert cells(text)[1][1] == r"a\|b"


def test_bytes_do_not_depend_on_the_order_of_the_input() -> None:
    def texts(scores: list[Score]) -> tuple[str, str]:
        rows = aggregate(scores)
        random.Random(len(rows)).shuffle(rows)
        return to_csv(rows), to_markdown(rows, notes=["one"])

    expected = texts(SCORES)
    for seed in range(5):
        shuffled = list(SCORES)
        random.Random(seed).shuffle(shuffled)
        assert texts(shuffled) == expected


def test_no_rows_print_as_no_results() -> None:
    empty: list[Row] = []
    assert len(to_csv(empty).splitlines()) == 1
    assert to_markdown(empty) == "No results: there is no score to show.\n"


def test_sparsity_has_two_decimals_or_as_many_as_it_needs() -> None:
    assert [sparsity_text(s) for s in (0, 0.85, 0.9, 0.975)] == ["0.00", "0.85", "0.90", "0.975"]
