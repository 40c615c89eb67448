"""The paper's tables without a study: every published value once, under its own key, in every format."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.store.store import Store
from paper_tables.numbers.published import PAPER_MODELS, REPORTED_CSV
from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.score import Score
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.tables.build import build, build_rows
from paper_tables.tables.formats.html import to_html
from paper_tables.tables.formats.latex import to_latex
from paper_tables.tables.formats.long_csv import to_csv
from paper_tables.tables.formats.markdown import to_markdown
from paper_tables.tables.grid import WIDTH
from paper_tables.tables.table import QUOTED, Table
from paper_tables.tables.table_file import load_table_file, parse_table_file, shipped_names

RESULTS = Path(__file__).parents[2] / "results"
NAMES = ("table-1", "table-2", "table-3")
OURS = {
    ("Reference (dense)", "na"): "dense",
    ("Fine-tune pruning", "yes"): "finetune-pruning",
    ("Prune OFA", "no"): "prune-ofa-no-kd",
    ("Prune OFA", "yes"): "prune-ofa",
    ("Prune OFA + QAT", "yes"): "prune-ofa",
}
ALIASES = {model.name: alias for alias, model in PAPER_MODELS.items()}
COMPUTED = Score(
    study="mine", model="bert-base", method="prune-ofa", sparsity=17 * 0.05, transfer_kd="yes", bits=32, task="squad",
    metric="exact_match", seed=0, value=82.0, comparable=True,
)  # fmt: skip
Key = tuple[str, str, float, str, str, str, str]


def verified(name: str) -> dict[Key, str]:
    """Read from the CSV itself: key -> value as printed."""
    with REPORTED_CSV.open(encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["paper_table"] == f"Prune OFA paper (arXiv 2111.05754) {name.replace('table-', 'Table ')}"
            and row["confidence"] == "verified"
        ]
    return {
        (
            ALIASES[row["model"]],
            OURS.get((row["method"], row["transfer_kd"]), row["method"]),
            float(row["sparsity"]),
            row["transfer_kd"],
            row["weight_bits"],
            row["task"],
            row["metric"],
        ): f"{float(row['value']):.2f}"
        for row in rows
    }


def table(name: str) -> Table:
    return build(load_table_file(name), None)


@pytest.mark.parametrize("name", NAMES)
def test_every_published_value_stands_once_under_its_own_key(name: str) -> None:
    expected = verified(name)
    assert len(expected) == {"table-1": 65, "table-2": 24, "table-3": 54}[name]
    rows = list(csv.DictReader(io.StringIO(to_csv(table(name)))))
    found: list[tuple[Key, str]] = [
        (
            (
                row["model"],
                row["method"],
                float(row["sparsity"]),
                row["transfer_kd"],
                row["bits"],
                row["task"],
                row["metric"],
            ),
            row["published"],
        )
        for row in rows
        if row["published"]
    ]
    assert len(found) == len(expected)
    assert dict(found) == expected
    # Nothing of ours is there, and it says so.
    assert {(row["value"], row["status"]) for row in rows} <= {("", "missing"), ("", "quoted")}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", [to_markdown, to_html, to_latex])
def test_the_other_formats_print_the_same_values_as_often(name: str, form: object) -> None:
    assert callable(form)
    text = form(table(name))
    cells = text.split("\n- ")[0] if form is to_markdown else text.split("<ul>")[0].split("\\begin{itemize}")[0]
    assert Counter(re.findall(r"(?<![\d.])\d\d\.\d\d(?![\d.])", cells)) == Counter(verified(name).values())


def test_the_scrambled_rows_of_the_review_stand_where_the_paper_has_them() -> None:
    """78.59 / 86.63 is Prune OFA without KD, 78.00 / 86.16 fine-tune pruning with KD."""
    lines = [line for line in to_markdown(table("table-1")).splitlines() if line.startswith("|")]
    for method, kd, values in (
        ("prune-ofa-no-kd", "no", ["78.59", "86.63"]),
        ("finetune-pruning", "yes", ["78.00", "86.16"]),
    ):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"| {method} "))
        assert lines[at].split("|")[3].strip() == kd
        assert [cell.strip() for cell in lines[at + 1].split("|")[5:7]] == values


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("table-3", ["88.50"], "Printed under QQP F1"),
        ("table-1", ["80.80", "88.50"], "model cards call the original one"),
        ("table-1", ["86.54"], "at 80 % in the oBERT paper"),
    ],
)
def test_doubtful_numbers_have_a_footnote_exactly_there(name: str, values: list[str], said: str) -> None:
    text = to_markdown(table(name))
    (mark,) = re.findall(rf"^- \[(\w+)\] .*{said}", text, flags=re.MULTILINE)
    assert re.findall(rf"(\d\d\.\d\d) \[{mark}\]", text) == values
    found = [row for row in csv.DictReader(io.StringIO(to_csv(table(name)))) if said in row["footnotes"]]
    assert [row["published"] for row in found] == values


def test_the_papers_value_stands_beside_no_line_of_another_kd() -> None:
    """81.10 is Prune OFA with distillation; the method without it has a name of its own."""
    row = {"model": "bert-base", "method": "prune-ofa", "sparsity": 0.85, "bits": 32}
    tree = {"title": "T", "description": "D", "columns": ["squad exact_match"]}
    found = [
        [cell.paper for line in build(parse_table_file({**tree, "rows": [{**row, "kd": kd}]}, "mine"), None).lines()
         for cell in line.cells]
        for kd in ("yes", "no")
    ]  # fmt: skip
    assert found == [["81.10"], [""]]


def test_rows_of_other_papers_are_quoted_and_ours_missing() -> None:
    lines = list(table("table-1").lines())
    quoted = [line for line in lines if line.is_quoted]
    assert len(lines) == 10
    assert len(quoted) == 4
    assert all("quoted" in line.label for line in quoted)
    assert {cell.text for line in quoted for cell in line.cells} == {QUOTED, "-"}
    assert {cell.text for line in lines if not line.is_quoted for cell in line.cells} == {"missing"}


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_table_fits_a_terminal(name: str) -> None:
    lines = to_markdown(table(name)).splitlines()
    assert max((len(line) for line in lines if line.startswith("|")), default=0) <= WIDTH


def test_without_a_store_the_papers_tables_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", str(tmp_path / "none")]
    assert main(["tables", *store]) == 4
    printed = capsys.readouterr()
    assert re.findall("^## (.*)", printed.out, flags=re.MULTILINE) == [
        "Table 1: BERT-Base",
        "Table 2: BERT-Large",
        "Table 3: DistilBERT",
    ]
    assert "no study" in printed.err
    assert main(["tables", *store, "--out", str(tmp_path / "out")]) == 4
    assert len(list((tmp_path / "out").iterdir())) == 3 * 4
    assert not (tmp_path / "none").exists()
    assert main(["tables", *store, "--study", "mine"]) == 2


PUBLISHED_TOO = """
title = "T"
description = "D"
columns = ["sst2 accuracy"]
layout = "{layout}"
rows = [{{ sparsity = 0.9 }}, {{ from = "published", sparsity = 0.9, model = "BERT-Large" }}]
footnotes = [{{ text = "of all", on = "ours" }}, {{ text = "of the paper's" }}]
"""


@pytest.mark.parametrize("layout", ["lines", "pairs"])
def test_no_footnote_stands_without_its_mark(layout: str) -> None:
    """Of a line that is quoted alone nothing is ours; and a pair that is not made has no footnotes."""
    numbers = read_numbers(Store(RESULTS / "reduced"), "reduced")
    found = build(parse_table_file(tomllib.loads(PUBLISHED_TOO.format(layout=layout)), "mine"), numbers)
    text = to_markdown(found)
    body = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    assert all(f"[{sign}]" in body for sign, _ in found.footnotes)
    assert [sign for sign, _ in found.footnotes] == [chr(ord("a") + n) for n in range(len(found.footnotes))]
    quoted = [cell.marks for line in found.lines() if line.is_quoted for cell in line.cells]
    assert set(quoted) <= {()}


def test_published_rows_do_not_hide_that_the_study_has_no_such_cell() -> None:
    tree = tomllib.loads(PUBLISHED_TOO.format(layout="lines"))
    numbers = read_numbers(Store(RESULTS / "quick"), "quick-without-pre-training")
    found = build(parse_table_file(tree, "mine"), numbers)
    assert "rows 1 of the table file (sparsity=0.9): the study has no such cell." in found.remarks


def test_a_sparsity_that_was_computed_is_asked_for_as_printed() -> None:
    """17 * 0.05, of an earlier version: the line of Table 1 at 0.85, and no missing one beside it."""
    found = build_rows(load_table_file("table-1"), aggregate([COMPUTED]))
    (line,) = [
        line for line in found.lines() if line.method == "prune-ofa" and line.bits == "32" and line.sparsity < 0.9
    ]
    assert (line.cells[0].text, line.cells[0].paper) == ("82.00", "81.10 +0.90")
