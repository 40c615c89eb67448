"""The learning rates of preset reduced are the best that were tried on the slice of train, by records that are here."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from harness.planning.preset import load_preset
from harness.planning.recipe import SEARCHED
from harness.store.store import Store
from harness.studies.study import read_study, study_names

CHOICES = Path(__file__).parents[2] / "results" / "reduced" / "choices"
STAGES = {"dense": "dense", "finetune-pruning": "task_pruning", "prune-ofa": "transfer"}
TASKS = ("sst2", "qqp", "mnli")
Scores = dict[str, dict[float, dict[str, float]]]


@pytest.fixture(scope="module")
def scores() -> Scores:
    """Accuracy in percent by method, learning rate and task."""
    store, found = Store(CHOICES), defaultdict[str, dict[float, dict[str, float]]](lambda: defaultdict(dict))
    for name in study_names(store):
        plan = read_study(store, name).plan
        for cell in plan.paths:
            evaluation = plan.endpoint(cell)
            rate = plan.stages[plan.stages[evaluation].parents["model"]].parameters["learning_rate"]
            metrics = store.stage(evaluation).read_record()["result"]["metrics"]
            (values,) = metrics.values()
            found[cell.method][rate][cell.task] = 100 * values["num_correct"] / values["num_examples"]
    return dict(found)


def test_the_preset_has_the_best_of_each_method_and_it_stands_at_no_end(scores: Scores) -> None:
    settings = load_preset("reduced").recipe.settings
    words = {settings[f"{stage}.learning_rate"].source for stage in STAGES.values()}
    assert len(words) == 1
    for method, stage in STAGES.items():
        setting = settings[f"{stage}.learning_rate"]
        sums = {rate: sum(tasks.values()) for rate, tasks in scores[method].items()}
        assert all(set(tasks) == set(TASKS) for tasks in scores[method].values())
        assert {1e-4, 2e-4, 4e-4} <= set(sums)
        assert (setting.evidence, setting.value) == (SEARCHED, max(sums, key=lambda rate: sums[rate]))
        assert min(sums) < setting.value < max(sums)


def test_the_page_has_every_score(scores: Scores) -> None:
    page = (CHOICES / "learning-rates.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ([\w-]+) \| (\de-\d) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\w-]+) \|$", page, re.MULTILINE
    )
    told = {(method, float(rate)): tuple(map(float, values)) for method, rate, *values, _ in rows}
    measured = {
        (method, rate): tuple(round(tasks[task], 1) for task in TASKS)
        for method, rates in scores.items()
        for rate, tasks in rates.items()
    }
    assert told == measured
    for method, rates in scores.items():
        (line,) = (line for line in page.splitlines() if line.startswith(f"| {method} | ") and "**" in line)
        sums = [float(cell.strip("* ")) for cell in line.split("|")[2:-1] if cell.strip()]
        assert sums == [round(sum(rates[rate].values()), 1) for rate in sorted(rates)]
