"""The page's data, read back as its script reads them."""

from __future__ import annotations

import json

from grid_world import papers_plan, plan
from made_reports import accuracy, digest, made_report, records_of, study_of

from harness.planning.graph import Plan
from harness.specs import Cell
from paper_tables.numbers.collect import collect_scores
from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.report.content import NUM_COLORS, _looks, _rounded
from paper_tables.report.page import page_script
from paper_tables.report.study_report import report_of

NUM_MARKS = 7


def small() -> Plan:
    return plan(methods=["dense", "prune-ofa"], tasks=["sst2", "squad"], seeds=[0, 1, 2], quantization=["none", "int8"])


def test_every_seed_of_every_number_leads_to_its_own_record() -> None:
    planned = small()
    content = json.loads(json.dumps(made_report(planned).content))
    rows, stages = content["rows"], content["stages"]
    ids = [stages["ids"][i : i + 32] for i in range(0, len(stages["ids"]), 32)]
    assert ids == list(planned.stages)
    seen = 0
    for row, (first, end) in enumerate(zip(rows["seeds"]["first"], rows["seeds"]["first"][1:], strict=False)):
        for seed in range(first, end):
            cell = Cell(
                model=content["models"][rows["model"][row]],
                method=content["methods"][rows["method"][row]],
                sparsity=float(rows["sparsity"][row]),
                task=content["columns"][rows["column"][row]][0],
                quantization={32: "none", 8: "int8"}[rows["bits"][row]],
                seed=rows["seeds"]["seed"][seed],
            )
            assert ids[rows["seeds"]["stage"][seed]] == planned.endpoint(cell)
            assert abs(rows["seeds"]["value"][seed] - 100 * accuracy(cell)) < 1e-5
            seen += 1
    assert seen == sum(2 if cell.task == "squad" else 1 for cell in planned.paths)  # EM and F1


def test_digests_stand_in_the_order_of_their_stages_and_none_in_the_place_of_one_that_is_not() -> None:
    planned = small()
    records = records_of(planned)
    first, second, *_ = planned.stages
    del records[second]
    stages = made_report(planned, records=records).content["stages"]
    digests = [stages["digests"][i : i + 64] for i in range(0, len(stages["digests"]), 64)]
    assert digests[:2] == [digest("record", first), "-" * 64]
    assert len(digests) == len(planned.stages)
    with_artifact = [i for i in planned.stages if i in records and records[i]["artifact"]["bytes"]]
    assert stages["artifacts"] == "".join(digest("artifact", i) for i in with_artifact)


def test_a_stages_parents_have_smaller_numbers_than_it() -> None:
    """The script walks the path by them."""
    planned = small()
    stages = made_report(planned).content["stages"]
    for number, (flat, spec) in enumerate(zip(stages["parents"], planned.stages.values(), strict=True)):
        roles = {stages["roles"][flat[i]]: list(planned.stages)[flat[i + 1]] for i in range(0, len(flat), 2)}
        assert roles == spec.parents
        assert all(parent < number for parent in flat[1::2])


def test_the_same_numbers_give_the_same_content_in_any_order_of_the_records() -> None:
    planned = small()
    records = records_of(planned)
    turned = dict(reversed(records.items()))
    first, second = (json.dumps(made_report(planned, records=found).content) for found in (records, turned))
    assert first == second


def test_a_number_of_the_papers_that_has_a_story_brings_it() -> None:
    """SQuAD of dense BERT-Base is no run of the authors' (trap 5 of the published numbers)."""
    planned = papers_plan(models=["bert-base"], methods=["dense"], seeds=[0])
    scores = collect_scores(study_of(planned), records_of(planned), set(planned.paths))
    numbers = StudyNumbers(study_of(planned), records_of(planned), scores, aggregate(scores), {})
    content = report_of(numbers, {}, []).content
    told = {
        content["columns"][column][0]
        for column, remark in zip(content["rows"]["column"], content["rows"]["remark"], strict=True)
        if remark
    }
    assert told == {"squad"}


def test_shipped_methods_keep_their_look_whatever_stands_beside_them() -> None:
    assert _looks(["dense", "prune-ofa"]) == [(0, 3), (1, 0)]
    assert _looks(["aaa", "dense", "finetune-pruning", "prune-ofa"])[1:] == [(0, 3), (2, 1), (1, 0)]


def test_twenty_methods_are_told_apart_by_colour_and_mark() -> None:
    looks = [(color, mark % NUM_MARKS) for color, mark in _looks(["dense", *(f"m{number}" for number in range(20))])]
    assert len(set(looks)) == 21
    assert {color for color, _ in looks} <= set(range(NUM_COLORS))


def test_the_script_has_as_many_marks_as_that() -> None:
    marks = page_script().partition("const MARKS = [")[2].partition("];")[0]
    assert marks.count("(r) =>") == NUM_MARKS


def test_values_are_short_where_that_turns_no_decimal_of_the_tables() -> None:
    assert _rounded(81.12345678) == 81.123457
    assert _rounded(84.12500000000001) == 84.12500000000001  # 84.13 in the tables; 84.125 is 84.12
    assert _rounded(None) is None
