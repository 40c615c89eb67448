from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.store.store import Store
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.tables.trace import trace, trace_lines

STORE = Path(__file__).parents[2] / "results" / "quick"
WORDS = "model=tiny-narrow,method=prune-ofa,sparsity=0.9,task=sst2,quantization=int8"


def test_a_number_leads_to_its_records_down_to_the_corpus() -> None:
    numbers = read_numbers(Store(STORE), "quick")
    found = trace(numbers, WORDS)
    (number,) = found["numbers"]
    values = []
    for seed in number["seeds"]:  # by another road: the record's own file
        path = STORE / "records" / seed["stage_id"][:2] / f"{seed['stage_id']}.json"
        values.append(100 * json.loads(path.read_text())["result"]["metrics"]["sst2"]["accuracy"])
        assert seed["value"] == values[-1]
    assert number["n"] == len(values) == 5
    assert number["value"] == pytest.approx(sum(values) / 5)
    records = {record["id"]: record for record in found["records"]}
    for record in records.values():
        text = (STORE / "records" / record["id"][:2] / f"{record['id']}.json").read_text()
        kept = json.loads(text)
        assert (record["digest"], record["commit"]) == (kept["digest"], kept["provenance"]["commit"])
        for role, parent in record["parents"].items():
            assert parent == {"id": kept["parents"][role], "digest": kept["parent_digests"][role]}
            assert records[parent["id"]]["digest"] == parent["digest"]
    kinds = [record["kind"] for record in found["records"]]
    # Five transfers with their quantization and evaluation, one teacher of the task, one chain of pre-training.
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "evaluation": 5, "quantization": 5, "transfer": 5, "dense": 1, "student_pruning": 1,
        "teacher_preparation": 1, "pairs": 1, "corpus": 1,
    }  # fmt: skip


def test_seeds_that_the_words_leave_out_are_left_out() -> None:
    found = trace(read_numbers(Store(STORE), "quick"), f"{WORDS},seed=3")
    assert [[seed["seed"] for seed in number["seeds"]] for number in found["numbers"]] == [[3]]


def test_the_verb_prints_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tables", "--store", str(STORE), "--study", "quick", "--trace"]
    assert main([*words, WORDS]) == 0
    text = capsys.readouterr().out
    assert text.startswith("tiny-narrow prune-ofa 0.90 KD yes 8 bits, sst2 acc: 72.05 over 5 seeds\n  seed 0, pruning")
    assert main([*words, WORDS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(record["id"] in text for record in found["records"])
    assert main([*words, "method=prune-offa"]) == 2
    assert main([*words, "evaluation"]) == 2
    assert "names no cell" in capsys.readouterr().err


def test_a_commit_that_somebody_made_up_is_harmless() -> None:
    found = trace(read_numbers(Store(STORE), "quick"), f"{WORDS},seed=3")
    for record in found["records"]:
        record["commit"] = "\x1b[31m\nred"
    assert set("".join(trace_lines(found))) & {"\x1b", "\n"} == set()
