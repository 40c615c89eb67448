"""Baselines: what is known of which data, and from where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.inputs.data_sources import SyntheticData
from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import Study, read_study
from harness.synthetic.page import CEILINGS
from harness.synthetic.source import SPLITS
from harness.tasks import TASKS
from paper_tables.figures.baselines import Baselines, study_baselines

RESULTS = Path(__file__).parents[2] / "results"


def shown(baselines: Baselines) -> dict[tuple[str, str], dict[str, float]]:
    return {column: {row.kind: round(row.value, 1) for row in rows} for column, rows in baselines.items()}


def of_seed(seed: int) -> Study:
    preset = load_preset("quick")
    data = SyntheticData(seed).content_ids([TASKS[task] for task in SPLITS], corpus=True)
    found = Inputs(models={"tiny-wide": ModelIdentity(weights="w", tokenizer="t")}, data=data)
    cells = expand(Axes(models=["tiny-wide"], methods=["dense"], tasks=[*SPLITS], seeds=[0]), preset).cells
    return Study("mine", preset.as_json(), plan_cells(cells, preset.recipe, found))


def test_the_synthetic_world_has_chance_and_shallow_features() -> None:
    assert shown(study_baselines(of_seed(0))) == {
        ("sst2", "accuracy"): {"chance": 50.0, "shallow": 62.0},
        ("qnli", "accuracy"): {"chance": 50.0, "shallow": 58.0},
        ("qqp", "accuracy"): {"chance": 50.0, "shallow": 58.0},
        ("mnli", "accuracy"): {"chance": 33.3, "shallow": 55.0},
        ("squad", "exact_match"): {"chance": 50.0, "shallow": 78.0},
    }


def test_another_draw_of_the_world_and_other_data_have_only_the_chance_of_their_labels(
    make_study: Callable[..., Study],
) -> None:
    expected = {("sst2", "accuracy"): {"chance": 50.0}, ("mnli", "accuracy"): {"chance": 33.3}}
    drawn = shown(study_baselines(of_seed(7)))
    assert {column: drawn[column] for column in expected} == expected
    assert ("squad", "exact_match") not in drawn
    of_mnli = [f"task.mnli.{name}" for name in ("max_length=32", "train_examples=0", "train_subset_seed=0")]
    other = make_study(*of_mnli, methods=["dense"], tasks=["sst2", "mnli", "squad"])
    assert shown(study_baselines(other)) == {**expected, ("mnli-mm", "accuracy"): {"chance": 33.3}}


def test_the_listed_numbers_are_those_of_their_sources() -> None:
    page = (RESULTS.parent / "docs" / "synthetic-world.md").read_text(encoding="utf-8")
    found = study_baselines(of_seed(0))
    for (task, metric), rows in found.items():
        for row in rows:
            if row.kind == "shallow":
                assert row.value == CEILINGS[task][0]
            else:
                words = {"exact_match": "exact match"}.get(metric, metric)
                assert f"| {task} | {metric if metric == 'accuracy' else words} | {row.value:.1f} % |" in page


def test_the_committed_quick_study_reads_that_world() -> None:
    found = study_baselines(read_study(Store(RESULTS / "quick"), "quick"))
    assert shown(found)["sst2", "accuracy"] == {"chance": 50.0, "shallow": 62.0}
