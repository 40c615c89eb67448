"""Bundles: what one worker runs in one go."""

import random

import pytest
from grid_world import of_kind, plan

from harness.execution.bundles import next_bundles
from harness.planning.graph import Plan


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(tasks=["sst2"], methods=["dense", "prune-ofa"], sparsities=[0.85, 0.9], quantization=["none", "int8"])


def kinds(planned: Plan, finished: set[str]) -> list[list[str]]:
    waiting = planned.stages.keys() - finished
    return [[spec.kind for spec in bundle.stages] for bundle in next_bundles(planned, waiting, finished)]


def test_at_first_the_corpus_goes_on_to_the_pairs_and_the_dense_model_to_its_scores(planned: Plan) -> None:
    """Pairs have two sorts of children; the dense model is the teacher of transfers, which wait for it elsewhere."""
    dense = ["dense", "evaluation", "quantization", "evaluation"]
    found = [sorted(names) for names in kinds(planned, set())]
    assert found == [sorted(dense), ["corpus", "pairs"]]


def test_what_many_wait_for_ends_its_bundle(planned: Plan) -> None:
    finished = set(of_kind(planned, "corpus", "pairs"))
    assert ["teacher_preparation"] in kinds(planned, finished)
    finished |= set(of_kind(planned, "teacher_preparation"))
    both = kinds(planned, finished)
    assert both.count(["student_pruning"]) == 2


def test_a_transfer_goes_on_to_the_scores_of_both_precisions(planned: Plan) -> None:
    shared = of_kind(planned, "corpus", "pairs", "teacher_preparation", "student_pruning", "dense")
    chain = ["transfer", "evaluation", "quantization", "evaluation"]
    bundles = [sorted(names) for names in kinds(planned, set(shared)) if "transfer" in names]
    assert bundles == [sorted(chain)] * 2


def test_what_rests_on_a_stage_under_way_starts_no_bundle(planned: Plan) -> None:
    (dense,) = of_kind(planned, "dense")
    waiting = planned.stages.keys() - {dense}
    assert [bundle.ids[0] for bundle in next_bundles(planned, waiting, set())] == list(of_kind(planned, "corpus"))


@pytest.mark.parametrize("seed", range(20))
def test_bundles_can_always_run_as_they_stand(seed: int) -> None:
    """From any finished set that holds its own parents: each stage once, parents first, every ready stage in one."""
    draw = random.Random(seed)
    whole = plan(tasks=["sst2", "squad"], methods=["dense", "finetune-pruning", "prune-ofa"], quantization=["int8"])
    finished: set[str] = set()
    for stage_id, spec in whole.stages.items():
        if finished.issuperset(spec.parents.values()) and draw.random() < 0.5:
            finished.add(stage_id)
    waiting = {stage_id for stage_id in whole.stages if stage_id not in finished and draw.random() < 0.9}
    bundles = next_bundles(whole, waiting, finished)
    placed = [stage_id for bundle in bundles for stage_id in bundle.ids]
    assert len(placed) == len(set(placed))
    assert waiting.issuperset(placed)
    for bundle in bundles:
        available = set(finished)
        for spec in bundle.stages:
            assert available.issuperset(spec.parents.values())
            available.add(spec.stage_id)
    assert {i for i in waiting if finished.issuperset(whole.stages[i].parents.values())} <= set(placed)
