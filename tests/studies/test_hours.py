"""Hours: attempts added up by kind and by method, and a stage's share of its task's GPUs."""

from __future__ import annotations

import pytest
from grid_world import of_kind, plan

from harness.studies.hours import SHARED, Try, gpu_share, hours_text, methods_of, sum_up


@pytest.mark.parametrize(
    ("profile", "share"),
    [
        ({}, 0.0),
        ({"gpus": 0, "stages_at_once": 4}, 0.0),
        ({"gpus": 1}, 1.0),
        ({"gpus": 4}, 1.0),  # four stages side by side, one for each
        ({"gpus": "a100:4", "stages_at_once": 2}, 2.0),
        ({"gpus": 1, "stages_at_once": 4}, 0.25),
        ({"gpus": "?", "stages_at_once": None}, 0.0),
    ],
)
def test_the_gpus_of_a_stage(profile: dict[str, object], share: float) -> None:
    assert gpu_share(profile) == share


def test_a_stage_of_several_methods_is_shared() -> None:
    planned = plan(tasks=["sst2"])
    by_kind = {planned.stages[i].kind: method for i, method in methods_of(planned).items()}
    assert (by_kind["corpus"], by_kind["dense"], by_kind["task_pruning"]) == (SHARED, SHARED, "finetune-pruning")
    assert by_kind["quantization"] == "prune-ofa"


def test_tries_add_up_and_an_estimate_that_lacks_one_stage_is_none() -> None:
    planned = plan(tasks=["sst2"], methods=["dense"], seeds=[0, 1])
    first, second = of_kind(planned, "dense")
    tries = [
        Try(first, hours=0.5, threads=4, gpus=1.0, is_lost=True),
        Try(first, hours=1.0, threads=4, gpus=0.5, is_lost=False),
        Try(second, hours=2.0, threads=4, gpus=0.0, is_lost=False),
    ]
    found = sum_up(planned, {first}, tries, {first: 1.25})
    spent = found.kinds["dense"]
    assert (spent.stages, spent.wall, spent.cpu, spent.gpu, spent.lost, spent.estimated) == (1, 3.5, 14, 1.0, 0.5, 1.25)
    assert sum_up(planned, {first, second}, tries, {first: 1.25}).kinds["dense"].estimated is None
    assert [row.split()[:3] for row in hours_text(found).splitlines() if row.startswith("total")] == [
        ["total", "1", "3.5"],
        ["total", "1", "3.5"],
    ]
