"""Deviations from the paper, told from plans whose standing is known."""

from __future__ import annotations

import pytest
from grid_world import papers_plan, plan
from made_reports import made_report, records_of

from harness.inputs.data_sources import WIKIPEDIA
from harness.planning.graph import Plan
from paper_tables.report.deviations import Deviation
from paper_tables.report.study_report import StudyReport


def of_topic(report: StudyReport, topic: str) -> Deviation:
    (found,) = [each for each in (*report.deviations, *report.corrections) if each.topic == topic]
    return found


@pytest.fixture(scope="module")
def paper() -> StudyReport:
    return made_report(papers_plan(models=["bert-base"], seeds=[0]))


def test_the_pinned_corpus_is_named_by_its_dump_and_is_not_the_papers(paper: StudyReport) -> None:
    found = of_topic(paper, "Pre-training corpus")
    assert WIKIPEDIA[1] in found.here
    assert "20200501" in found.paper
    assert found.counts


def test_another_corpus_is_named_by_its_content() -> None:
    found = of_topic(made_report(plan(methods=["prune-ofa"], tasks=["sst2"])), "Pre-training corpus")
    assert "other text, of content corpus/train" in found.here


def test_a_study_that_pre_trains_nothing_has_no_corpus_to_differ() -> None:
    report = made_report(plan(methods=["dense"], tasks=["sst2"]))
    assert not of_topic(report, "Pre-training corpus").counts
    assert not of_topic(report, "Length of pre-training pairs").counts


@pytest.mark.parametrize(
    ("planned", "counts", "words"),
    [
        (papers_plan(models=["bert-base"], seeds=[0]), False, "the pinned data sets of the hub"),
        (plan(methods=["dense"], tasks=["sst2"]), True, "other data, or a part of them (sst2)"),
    ],
    ids=["the hub's", "others"],
)
def test_the_tasks_data_are_held_against_the_pins(planned: Plan, counts: bool, words: str) -> None:
    found = of_topic(made_report(planned), "Data of the tasks")
    assert (found.counts, words in found.here) == (counts, True)


def test_there_are_four_corrections_each_with_its_pull_request(paper: StudyReport) -> None:
    requests = ["pull request 2", "pull request 8", "pull request 10", "pull request 13"]
    assert len(paper.corrections) == 4
    assert all(request in each.paper for request, each in zip(requests, paper.corrections, strict=True))


def test_pairs_of_the_papers_length_do_not_differ(paper: StudyReport) -> None:
    assert not of_topic(paper, "Length of pre-training pairs").counts


def test_only_pruning_that_begins_late_was_touched_by_the_old_rate(paper: StudyReport) -> None:
    assert of_topic(paper, "Learning rate before the ramp").counts
    assert "task_pruning" in of_topic(paper, "Learning rate before the ramp").here
    ofa = made_report(papers_plan(models=["bert-base"], methods=["prune-ofa"], seeds=[0]))
    assert not of_topic(ofa, "Learning rate before the ramp").counts


def test_no_teacher_of_another_model_no_starved_teacher(paper: StudyReport) -> None:
    found = of_topic(paper, "Token types of the teacher")
    assert not found.counts
    assert "no student here" in found.here


def test_the_counted_zeros_stand_beside_the_name(paper: StudyReport) -> None:
    assert "0.00 points off" in of_topic(paper, "Sparsity that was asked for").here


def test_zeros_that_are_not_those_of_the_name_matter() -> None:
    """The mistake of the release itself: named 90 %, and 85 % are zero."""
    plan = papers_plan(models=["bert-base"], methods=["prune-ofa"], sparsities=[0.9], seeds=[0])
    for share, counts in ((0.9, False), (0.8999, False), (0.85, True)):
        records = records_of(plan)
        for cell in plan.paths:
            records[plan.endpoint(cell)]["result"]["cell_sparsity"] = share
        found = of_topic(made_report(plan, records=records), "Sparsity that was asked for")
        assert found.counts is counts
        assert f"{100 * (0.9 - share):.2f} points off" in found.here


def test_settings_stand_by_evidence_the_furthest_from_the_paper_first(paper: StudyReport) -> None:
    kinds = [setting.kind for setting in paper.settings]
    assert kinds == sorted(kinds, key=["set", "assumed", "partner", "published"].index)
    assert len(kinds) == len(paper.study.recipe["settings"])
    assert {"assumed", "published"} <= set(kinds)
