"""The paper's grid, counted by hand; nothing is cached and nothing is downloaded."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from harness.data.places import HubPlace
from harness.errors import UsageError
from harness.grid import Axes, expand
from harness.models import MODELS, HubSource
from harness.plan import Inputs, ModelIdentity, Plan, plan_cells
from harness.recipes import load_preset
from harness.tasks import TASKS

PAPER_MODELS = ("bert-base", "bert-large", "distilbert")


def planned(**axes: object) -> Plan:
    recipe = load_preset("paper")
    cells = expand(Axes(**{"models": PAPER_MODELS, **axes}), recipe).cells  # type: ignore[arg-type]
    identities = {alias: ModelIdentity(weights=f"{alias} weights", tokenizer=alias) for alias in PAPER_MODELS}
    return plan_cells(cells, recipe, Inputs(models=identities, data=HubPlace().identities(TASKS.values(), corpus=True)))


def test_the_papers_rows_are_160_cells_that_share_their_stages() -> None:
    """16 rows x 5 tasks x 2 seeds = 160 cells, each with its evaluation.

    dense: 3 models. task_pruning: BERT-Base .85, DistilBERT .85 and .9. transfer: BERT-Base .85 without and with KD,
    .9; BERT-Large .9; DistilBERT .85, .9. quantization: BERT-Base .85, BERT-Large .9, DistilBERT .85, .9. All x 10.
    student_pruning: BERT-Base .85, .9; BERT-Large .9; DistilBERT .85, .9.
    """
    counts = planned().counts()
    assert counts == {
        "corpus": 1,
        "pairs": 3,
        "teacher_preparation": 3,
        "student_pruning": 5,
        "dense": 30,
        "task_pruning": 30,
        "transfer": 60,
        "quantization": 40,
        "evaluation": 160,
    }


def test_the_rows_are_six_three_and_seven() -> None:
    rows = {
        (cell.model, cell.method, cell.sparsity, cell.quantization) for cell in planned(tasks=["sst2"], seeds=[0]).paths
    }
    assert Counter(model for model, *_ in rows) == {"bert-base": 6, "bert-large": 3, "distilbert": 7}
    assert ("bert-base", "prune-ofa", 0.9, "int8") not in rows  # the paper quantizes BERT-Base at 85 % only
    assert ("bert-base", "prune-ofa-no-kd", 0.85, "none") in rows


def test_the_full_product_of_prune_ofa_is_120_cells() -> None:
    """3 models x 2 sparsities x 2 precisions x 5 tasks x 2 seeds; the 15 dense stages are the teachers."""
    plan = planned(methods=["prune-ofa"], sparsities=[0.85, 0.9], quantization=["none", "int8"])
    assert len(plan.paths) == 120
    counts = plan.counts()
    assert {kind: counts[kind] for kind in ("teacher_preparation", "student_pruning", "dense")} == {
        "teacher_preparation": 3,
        "student_pruning": 6,
        "dense": 15,
    }
    assert (counts["transfer"], counts["quantization"]) == (60, 60)


def test_mnli_from_the_hub_is_scored_on_both_of_its_splits() -> None:
    plan = planned(models=["bert-base"], methods=["dense"], tasks=["mnli"], seeds=[0])
    (end,) = [spec for spec in plan.stages.values() if spec.kind == "evaluation"]
    assert set(end.inputs) == {"validation_matched", "validation_mismatched"}


def test_a_model_without_rows_in_the_preset_is_told_what_to_do() -> None:
    with pytest.raises(UsageError, match="minilm-l6: preset 'paper' has no rows for it; name --methods"):
        expand(Axes(models=["minilm-l6"]), load_preset("paper"))


def test_every_setting_of_a_more_specific_scope_wins() -> None:
    """DistilBERT on SQuAD has its own learning rate, BERT-Base the task's, SST-2 on BERT-Base the stage's."""
    rates = {}
    plan = planned(methods=["prune-ofa"], tasks=["squad", "sst2"], seeds=[0])
    for spec in plan.stages.values():
        if spec.kind == "transfer":
            rates[spec.parameters["model"], spec.parameters["task"]] = spec.parameters["learning_rate"]
    assert rates["distilbert", "squad"] == 1.8e-4
    assert rates["distilbert", "sst2"] == 1.5e-4
    assert rates["bert-base", "squad"] == rates["bert-large", "squad"] == 1.5e-4
    assert rates["bert-base", "sst2"] == 1e-4


def test_hub_sources_are_pinned_to_a_commit() -> None:
    revisions = [source.revision for source in MODELS.values() if isinstance(source, HubSource)]
    revisions += [task.hub_revision for task in TASKS.values()]
    assert len(revisions) == 8
    assert all(len(revision) == 40 and int(revision, 16) >= 0 for revision in revisions)


TEN_THOUSAND = r"""
import re, time
from pathlib import Path
from harness.data.places import HubPlace
from harness.grid import Axes, expand
from harness.plan import Inputs, ModelIdentity, plan_cells
from harness.recipes import load_preset
from harness.tasks import TASKS

begin = time.process_time()
models = ["bert-base", "bert-large", "distilbert"]
recipe = load_preset("paper")
axes = Axes(models=models, methods=["prune-ofa", "finetune-pruning"], sparsities=[.5, .6, .7, .8, .9],
            quantization=["none", "int8"], seeds=list(range(34)))
identities = {alias: ModelIdentity(weights=alias, tokenizer=alias) for alias in models}
inputs = Inputs(models=identities, data=HubPlace().identities(TASKS.values(), corpus=True))
plan = plan_cells(expand(axes, recipe).cells, recipe, inputs)
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss counts the parent too
print(len(plan.paths), time.process_time() - begin, int(peak[1]) / 1024)
"""


def test_ten_thousand_cells_plan_in_seconds_and_150_mb() -> None:
    """CPU time of planning (target 2 s; a slower or busy machine gets twice that) and peak memory; the best of five."""
    runs = [
        subprocess.run([sys.executable, "-c", TEN_THOUSAND], capture_output=True, text=True, check=True, timeout=60)
        for _ in range(5)
    ]
    cells, seconds, megabytes = zip(*(map(float, run.stdout.split()) for run in runs), strict=True)
    assert set(cells) == {10_200}
    assert min(seconds) <= 4.0
    assert min(megabytes) <= 150
