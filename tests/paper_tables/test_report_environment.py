"""On what records were made, counted."""

from __future__ import annotations

from paper_tables.report.environment import environment, facts_of

MADE = {"commit": "abc", "harness": "0.1", "versions": {"torch": "2.13"}, "processor": "EPYC", "torch": {"gpus": []}}


def test_each_value_is_counted_the_most_frequent_first() -> None:
    records = {
        "1": {"provenance": MADE},
        "2": {"provenance": {**MADE, "commit": "def", "torch": None}},
        "3": {"provenance": {**MADE, "commit": "def", "torch": {"gpus": ["A100", "A100"]}}},
        "4": {},
    }
    found = {fact.name: fact.counts for fact in environment(records)}
    assert found["commit"] == (("def", 2), ("abc", 1), ("not recorded", 1))
    assert found["torch"] == (("2.13", 3), ("not recorded", 1))
    assert found["GPUs"] == (("A100, A100", 1), ("none", 1))  # a stage without torch knows of none


def test_uncommitted_changes_are_another_source() -> None:
    assert facts_of({"commit": "abc", "uncommitted": "d"})["commit"] == "abc, with uncommitted changes"
    assert facts_of({"commit": "abc", "uncommitted": None})["commit"] == "abc"


def test_no_record_no_fact() -> None:
    assert environment({}) == []
