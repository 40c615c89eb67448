import csv
import io
import random
from dataclasses import replace

import pytest

from paper_tables.numbers.published import PAPER_COLUMNS
from paper_tables.numbers.rows import Row, aggregate
from paper_tables.numbers.score import Score
from paper_tables.tables.build import build_rows, whole_study
from paper_tables.tables.formats import long_csv, markdown
from paper_tables.tables.grid import WIDTH, Grid, grids
from paper_tables.tables.words import cell_text, paper_text, sparsity_texts

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
    comparable=True,
)
# Mean 81.5; deviations -0.5 and 0.5, so sd = sqrt(0.5 / 1) = 0.7071.
SCORES = [
    BASE,
    replace(BASE, seed=1, value=82.0),
    replace(BASE, metric="f1", value=88.0),
    replace(BASE, metric="f1", seed=1, value=None),
    replace(BASE, method="dense", sparsity=0.0, transfer_kd="na", value=None),
    replace(
        BASE,
        model="minilm-l6",
        sparsity=0.9,
        task="sst2",
        metric="accuracy",
        value=90.0,
        measured_sparsity=0.9,
        comparable=False,
    ),
]


def to_csv(rows: list[Row]) -> str:
    return long_csv.to_csv(build_rows(whole_study(), rows))


def to_markdown(rows: list[Row]) -> str:
    return markdown.to_markdown(build_rows(whole_study(), rows))


def wide_tables(rows: list[Row]) -> list[Grid]:
    return grids(build_rows(whole_study(), rows))


def cells(text: str) -> list[list[str]]:
    """The cells of every line of the Markdown tables, headers included, rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and set(line) - set("|-: ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_csv_reads_back_through_the_csv_module() -> None:
    text = to_csv(aggregate(SCORES))
    header = (
        "table,model,method,sparsity,transfer_kd,bits,task,metric,value,n,spread,published,difference,exceeds_noise,"
        "interval_low,interval_high,spread_over,seeds,status,source,footnotes"
    )
    assert text.splitlines()[0] == header
    assert text.endswith("\n")
    assert "\r" not in text
    dense = ["Table 1", "bert-base", "dense", "0.00", "na", "32"]
    pruned = ["Table 1", "bert-base", "prune-ofa", "0.85", "yes", "32"]
    small = ["demo", "minilm-l6", "prune-ofa", "0.90", "yes", "32"]
    difference = ["0.40", "", "", ""]
    *lines, last = list(csv.reader(io.StringIO(text)))[1:]
    assert [line[:-1] for line in (*lines, last)] == [
        [*dense, "squad", "exact_match", "", "0", "", "80.80", "", "", "", "", "", "", "missing", ""],
        # Of two seeds there is no interval, so nothing can be said of the noise.
        [
            *pruned,
            "squad",
            "exact_match",
            "81.50",
            "2",
            "0.71",
            "81.10",
            *difference,
            "transfer seeds",
            "0 1",
            "ours",
            "",
        ],
        [*pruned, "squad", "f1", "88.00", "1", "", "88.42", "-0.42", "", "", "", "", "0", "ours", ""],
        [*small, "sst2", "accuracy", "90.00", "1", "", "", "", "", "", "", "", "0", "ours", ""],
    ]
    assert "model cards" in lines[0][-1]
    assert [line[-1] for line in (*lines[1:], last)] == ["", "", ""]


def test_the_interval_in_csv_takes_a_transfer_seed_once() -> None:
    """80, 81, 82 by seed, two prunings each: 81 -+ 4.303 / sqrt(3), not an interval of six values."""
    values = {(seed, pruning): 80.0 + seed - 1 + 2 * pruning for seed in range(3) for pruning in range(2)}
    crossed = aggregate(replace(BASE, seed=s, pruning_seed=p, value=value) for (s, p), value in values.items())
    (line,) = csv.DictReader(io.StringIO(to_csv(crossed)))
    assert (line["n"], line["value"], line["interval_low"], line["interval_high"]) == ("6", "81.00", "78.52", "83.48")


def test_csv_quotes_a_study_name_with_a_comma() -> None:
    text = to_csv(aggregate([replace(BASE, model="minilm-l6", study='a, "b"')]))
    assert next(csv.DictReader(io.StringIO(text)))["table"] == 'a, "b"'


def test_markdown_is_the_papers_wide_table() -> None:
    text = to_markdown(aggregate(SCORES))
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## Table 1: bert-base",
        "## demo: minilm-l6",
    ]
    # Numbers of one seed and of two are as many: the more are the rule, and the others say so.
    # 81.50 - 81.10 = 0.40 and 88.00 - 88.42 = -0.42.
    assert cells(text) == [
        ["method", "sparsity", "KD", "bits", "squad EM", "squad F1"],
        ["dense", "0.00", "na", "32", "missing", "-"],
        ["paper, Δ", "", "", "", "80.80 [a]", ""],
        ["prune-ofa", "0.85", "yes", "32", "81.50±0.71", "88.00 (1 of 2)"],
        ["paper, Δ", "", "", "", "81.10 +0.40", "88.42 -0.42"],
        ["method", "sparsity", "KD", "bits", "sst2 acc"],
        ["prune-ofa", "0.90", "yes", "32", "90.00 (1)"],
    ]


def paper_like(comparable: bool) -> list[Score]:
    """All that Table 1 prints of a model, with two seeds that spread by tens of points."""
    lines = [("dense", 0.0, "na", 32), ("finetune-pruning", 0.85, "yes", 32), ("prune-ofa-no-kd", 0.85, "no", 32)]
    lines += [("prune-ofa", 0.85, "yes", 32), ("prune-ofa", 0.85, "yes", 8), ("prune-ofa", 0.9, "yes", 32)]
    return [
        replace(
            BASE,
            method=method,
            sparsity=sparsity,
            transfer_kd=kd,
            bits=bits,
            task=task,
            metric=metric,
            seed=seed,
            value=60.0 + 30 * seed,
            comparable=comparable,
        )
        for method, sparsity, kd, bits in lines
        for task, metric in PAPER_COLUMNS
        for seed in (0, 1)
    ]


@pytest.mark.parametrize("comparable", [True, False])
@pytest.mark.parametrize("counted", [None, 0.5], ids=["as named", "zeros column"])
def test_five_tasks_fit_a_terminal_with_the_papers_numbers_and_without(comparable: bool, counted: float | None) -> None:
    rows = aggregate(replace(score, measured_sparsity=counted) for score in paper_like(comparable))
    lines = [line for line in to_markdown(rows).splitlines() if line.startswith("|")]
    assert max(map(len, lines)) <= WIDTH == 100
    headers = [line for line in cells("\n".join(lines)) if line[0] == "method"]
    named = [name for header in headers for name in header[5 if counted else 4 :]]
    expected = ["squad EM", "squad F1", "mnli acc", "mnli-mm acc", "sst2 acc", "qnli acc", "qqp acc", "qqp F1"]
    assert named == expected
    assert len(headers) in (2, 3)
    assert any({"qqp acc", "qqp F1"} <= set(header) for header in headers), "a task's metrics stay together"


def test_a_name_wider_than_a_terminal_is_cut_and_stands_in_full_below() -> None:
    scores = [replace(score, method="m" * 120) for score in paper_like(False) if score.method == "dense"]
    scores += [replace(score, method=f"{'m' * 119}n") for score in scores]
    text = to_markdown(aggregate(scores))
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) <= WIDTH
    # Two that are cut alike have footnotes of their own.
    assert [line[0] for line in cells(text)[1:3]] == [f"{'m' * 28}.. [a]", f"{'m' * 28}.. [b]"]
    assert f"- [a] {'m' * 120}.\n- [b] {'m' * 119}n.\n" in text


def test_markdown_columns_are_aligned() -> None:
    for block in to_markdown(aggregate(SCORES)).split("## "):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(line) for line in lines}) <= 1


def test_the_papers_number_and_the_difference_stand_below_ours() -> None:
    (row,) = aggregate(SCORES[:2])
    assert (cell_text(row, 2), paper_text(row)) == ("81.50±0.71", "81.10 +0.40")
    equal = aggregate([replace(BASE, value=81.0999)])[0]
    assert (cell_text(equal, 2), paper_text(equal)) == ("81.10 (1)", "81.10 +0.00")
    text = to_markdown(aggregate(replace(score, comparable=False) for score in SCORES))
    assert "Δ" not in text
    assert "paper" not in text


def test_only_columns_with_a_number_of_the_paper_have_a_line_for_it() -> None:
    scores = [replace(score, task="cola") for score in paper_like(True) if score.task == "squad"]
    assert "Δ" not in to_markdown(aggregate(scores))


def test_the_legend_follows_the_tables_and_says_over_which_seeds() -> None:
    text = to_markdown(aggregate(SCORES))
    assert "- ±: sample standard deviation over transfer seeds (0, 1): prune-ofa.\n" in text
    assert "- Of two seeds it is 0.71 of their range, and no interval is given.\n" in text  # 1 / sqrt(2)
    assert text.rindex("|") < text.index("- Each cell")


def test_the_spread_of_one_pruning_is_said_to_be_conditional_on_it() -> None:
    scores = [replace(BASE, seed=seed, pruning_seed=0, value=80.0 + seed) for seed in range(5)]
    said = "±: sample standard deviation over transfer seeds (0 to 4)"
    assert f"- {said} of one pruning, conditional on it: prune-ofa.\n" in to_markdown(aggregate(scores))
    scores += [replace(score, pruning_seed=1) for score in scores]
    assert "conditional" not in to_markdown(aggregate(scores))


def test_zeros_show_a_range_where_the_cells_of_a_line_differ() -> None:
    shares = {"squad": 0.8601, "sst2": 0.8499}
    rows = aggregate([replace(BASE, task=task, measured_sparsity=share) for task, share in shares.items()])
    (table,) = wide_tables(rows)
    assert (table.header[2], table.body[0][2].text) == ("zeros", "84.99% to 86.01%")


def test_zeros_that_are_what_the_sparsity_says_need_no_column() -> None:
    shares = {"squad": 0.8501, "sst2": 0.8499}
    rows = aggregate([replace(BASE, task=task, measured_sparsity=share) for task, share in shares.items()])
    assert "zeros" not in wide_tables(rows)[0].header
    said = "- sparsity: the counted share of zeros in the prunable encoder matrices is within 0.01 points of it.\n"
    assert said in to_markdown(rows)


def test_a_pipe_in_a_name_does_not_break_the_table() -> None:
    text = to_markdown(aggregate([replace(BASE, method="a|b")]))
    assert cells(text)[1][0] == r"a\|b"


def test_bytes_do_not_depend_on_the_order_of_the_input() -> None:
    def texts(scores: list[Score]) -> tuple[str, str]:
        rows = aggregate(scores)
        random.Random(len(rows)).shuffle(rows)
        return to_csv(rows), to_markdown(rows)

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
    assert list(sparsity_texts([0.0, 0.85, 0.9, 0.975, 1 / 3]).values()) == [
        "0.00",
        "0.85",
        "0.90",
        "0.975",
        "0.333333",
    ]


def test_sparsities_that_would_read_alike_or_as_zero_are_written_in_full() -> None:
    found = sparsity_texts([0.85, 0.8500000001, 17 * 0.05, 0.0, 1e-300])
    assert list(found.values()) == ["0.85", "0.8500000001", "0.8500000000000001", "0.00", "1e-300"]
    scores = [replace(BASE, sparsity=0.85), replace(BASE, sparsity=0.8500000001, value=70.0)]
    assert [line.split(",")[3] for line in to_csv(aggregate(scores)).splitlines()[1:]] == ["0.85", "0.8500000001"]
