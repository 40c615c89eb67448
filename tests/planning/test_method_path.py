"""Stages, sharing and cost of a method, as `harness ls methods` tells them: counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from grid_world import Ran

from harness.planning.chain import Chain
from harness.planning.method_path import path_of
from harness.planning.method_registry import BUILT_IN, get_method
from harness.specs import StageSpec

Run = Callable[[Sequence[str]], Ran]


def test_the_stages_of_prune_ofa_and_the_axes_by_which_they_differ() -> None:
    assert [str(stages) for stages in path_of(get_method("prune-ofa")).stages] == [
        "corpus: one for each model",
        "pairs: one for each model",
        "teacher_preparation: one for each pruning seed",
        "student_pruning: one for each sparsity x pruning seed",
        "dense: one for each task",  # the teacher, of seed 0 for every seed
        "transfer: one for each sparsity x task x seed x pruning seed",
    ]


def test_pruning_once_pays_no_pre_training_for_another_task() -> None:
    path = path_of(get_method("prune-ofa"))
    assert path.trained == {"pre-training": 2, "training": 2}
    assert path.trained_anew == {
        "sparsity": {"pre-training": 1, "training": 1},
        "task": {"training": 2},
        "seed": {"training": 1},
        "pruning seed": {"pre-training": 2, "training": 1},
    }


def test_the_cost_in_words() -> None:
    assert path_of(get_method("finetune-pruning")).cost == (
        "a cell: 2 trainings; another sparsity: 1 training; another task: 2 trainings; another seed: 1 training"
    )
    assert path_of(get_method("dense")).cost == "a cell: 1 training; another task: 1 training; another seed: 1 training"


def test_the_list_shows_stages_cost_and_source(run_harness: Run) -> None:
    shown = run_harness(["ls", "methods", "prune-ofa"]).out.splitlines()
    assert shown[0] == "prune-ofa"
    assert shown[2] == "  source        arXiv 2111.05754"
    assert "  stages        corpus: one for each model" in shown
    assert "                student_pruning: one for each sparsity x pruning seed" in shown
    (cost,) = (line for line in shown if line.startswith("  cost"))
    assert cost.startswith("  cost          a cell: 2 pre-trainings, 2 trainings; another sparsity: 1 pre-training, 1")
    assert max(map(len, shown)) <= 110
    (row,) = json.loads(run_harness(["ls", "methods", "gordon", "--json"]).out)
    assert (row["source"], row["stages"][2]) == (
        "arXiv 2002.08307",
        "gordon:pruning: one for each sparsity x pruning seed",
    )


def test_several_stages_of_one_kind_that_differ_alike_are_counted_together() -> None:
    def stages(chain: Chain) -> StageSpec:
        model = chain.dense()
        for _ in range(3):
            model = chain.transfer(model, distillation=False)
        return model

    path = path_of(replace(get_method("prune-ofa"), stages=stages))
    assert [str(stages) for stages in path.stages] == [
        "dense: one for each task x seed",
        "transfer: 3 for each task x seed",
    ]
    assert path.trained == {"training": 4}
    assert path.trained_anew["sparsity"] == {}  # and so the cost says nothing of it
    assert "sparsity" not in path.cost


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_method_says_where_it_comes_from(name: str) -> None:
    assert get_method(name).source


def test_a_method_need_not_say_where_it_was_published_and_says_it_in_words() -> None:
    assert replace(get_method("dense"), source="").source == ""
    with pytest.raises(ValueError, match="source=3: expected a text"):
        replace(get_method("dense"), source=3)
