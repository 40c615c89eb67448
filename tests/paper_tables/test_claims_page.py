"""The page of claims: what it says, how wide it is, and that names in it are harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grid_world import ROOT, Ran

from harness.store.store import Store
from paper_tables.claims.verdicts import read_claims
from paper_tables.numbers.scale import Scale, scale_of
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers
from paper_tables.tables.claims_page import claims_page
from paper_tables.tables.words import width

Run = Callable[[list[str]], Ran]
QUICK = ["tables", "--store", str(ROOT / "results" / "quick"), "--study", "quick", "--claims"]


@pytest.fixture(scope="module")
def quick() -> StudyNumbers:
    return read_numbers(Store(ROOT / "results" / "quick"), "quick")


@pytest.fixture(scope="module")
def page(quick: StudyNumbers) -> str:
    return claims_page(quick, read_claims(quick))


def test_the_same_records_give_the_same_bytes(quick: StudyNumbers, page: str) -> None:
    again = read_numbers(Store(ROOT / "results" / "quick"), "quick")
    assert claims_page(again, read_claims(again)) == page


def test_no_line_is_wider_than_a_terminal(page: str) -> None:
    assert max(map(len, page.splitlines())) <= 100


def test_the_scale_stands_above_the_verdicts_and_beside_each(page: str) -> None:
    head, *sections = page.split("\n## ")
    assert "1.4e-04 of the paper's 13,107,200,000" in head.partition("| claim")[0]
    measured = [each for each in sections if "The study has no cell" not in each]
    assert len(measured) == 3
    assert all("1.4e-04" in each for each in measured)


def test_conditions_and_corrections_are_said(page: str) -> None:
    said = " ".join(page.split())
    assert said.count("Intervals are conditional on one pruning.") == 2
    assert "p (Holm): corrected; above, over the 2 claims tested" in said


def test_a_difference_of_the_page_is_that_of_the_rows(quick: StudyNumbers, page: str) -> None:
    """By another road: the difference of two means of the table."""
    means = {
        row.method: row.value
        for row in quick.rows
        if (row.model, row.task, row.sparsity, row.bits) == ("tiny-narrow", "sst2", 0.9, 32)
    }
    expected = (means["prune-ofa"] or 0) - (means["finetune-pruning"] or 0)
    section = page.partition("tiny-narrow prune-ofa fp32 minus tiny-narrow finetune-pruning")[2]
    assert f"| sst2 acc | 0.9      | {expected:+.2f}" in section


HOSTILE = (
    "<script>alert(1)</script>",
    "a|b|c",
    "a\\|b\\",  # of a backslash that is not escaped, the pipe's own would be the second half
    "line\nbreak",
    "\x1b[31mred",
    "[x](javascript:alert(1))",
    "\\[x](javascript:alert(1))",
    "\\<img src=x onerror=alert(1)>",
    "n" * 300,
    "<" * 300,
    "名前" * 60,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_harmless(quick: StudyNumbers, name: str) -> None:
    """A model, a method and a claim of that name: no tag, no control character, no torn table, no long line."""
    rows = [replace(row, model=name, method=name if row.method == "dense" else row.method) for row in quick.rows]
    verdicts = read_claims(replace(quick, rows=[row for row in rows if row.model == name][:200], records=quick.records))
    changed = [replace(each, claim=replace(each.claim, sentence=name, source=name)) for each in verdicts]
    text = claims_page(quick, changed)
    bare = re.sub(r"\\.", "", text)  # a backslash takes the next character with it, whichever it is
    assert "<" not in bare
    assert "](" not in bare
    assert not re.search(r"\\$", text, flags=re.MULTILINE)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert max(map(width, text.splitlines())) <= 100
    assert {line.count("|") for line in bare.splitlines() if line.startswith("| ")} <= {7, 8, 9}


def test_json_has_what_the_page_has(run_harness: Run) -> None:
    done = run_harness([*QUICK, "--json"])
    found = {each["id"]: each for each in json.loads(done.out)}
    qat = found["qat-under-one-point"]
    assert (done.code, len(found), qat["verdict"], qat["n"], qat["bound"]) == (0, 5, "held", 5, -1.0)
    assert qat["interval"] == [pytest.approx(-0.02, abs=0.005), pytest.approx(0.71, abs=0.005), 0.95]
    assert len(qat["comparisons"]) == 8
    assert set(qat["comparisons"][0]["differences"]) == set("01234")
    assert len(qat["comparisons"][0]["stage_ids"]) == 10
    assert found["lock-keeps-zeros"]["kept"][0]["lost"] == 0


def test_missing_cells_end_with_4_and_are_named(run_harness: Run, make_study: Any, publish: Any, store: Store) -> None:
    study = make_study(tasks=["sst2"], methods=["prune-ofa", "finetune-pruning"], seeds=range(4))
    for seed in range(4):
        publish(study, {"sst2": {"accuracy": 0.8 + seed / 100}}, seed=seed, method="prune-ofa", quantization="none")
        if seed:
            publish(study, {"sst2": {"accuracy": 0.7}}, seed=seed, method="finetune-pruning")
    done = run_harness(["tables", "--store", str(store.root), "--claims"])
    assert done.code == 4
    assert "Missing: 1 stage without a record (tiny finetune-pruning fp32: seed 0)." in done.out
    assert "## above-finetune-pruning: held" in done.out


def test_other_formats_and_bad_files_are_refused(run_harness: Run, tmp_path: Path) -> None:
    done = run_harness([*QUICK, "--format", "csv"])
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --format csv with --claims: expected md. Or give --json for machines.\n"
    bad = tmp_path / "bad.toml"
    bad.write_text('[[claims]]\nid = "x"\nkind = "above"\n')
    done = run_harness([*QUICK, str(bad)])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("4 problems; nothing was changed:")
    (tmp_path / "file").write_text("")
    done = run_harness([*QUICK, "--out", str(tmp_path / "file")])
    assert (done.code, "--out" in done.err) == (2, True)


def test_a_scale_says_the_fewest_and_the_most_tokens(quick: StudyNumbers) -> None:
    assert str(Scale(131_072_000, 1_310_720_000)) == (
        "131,072,000 to 1,310,720,000 tokens a pre-training stage, 1.0e-02 to 1.0e-01 of the paper's 13,107,200,000"
    )
    assert scale_of(quick.study, quick.records, []) == Scale(None, None)
    assert str(Scale(None, None)) == "no pre-training was done here"
