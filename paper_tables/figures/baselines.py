"""Baseline: what a task's metric reaches without the model: by chance, or from shallow features.

Chance of a classification is 100 / labels on any data: a label drawn evenly; of a correlation it is 0. Everything else
is in `baselines.toml`, with its source, and holds for one data source: a study's evaluations tell by content id which
data they read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from harness.studies.study import Study
from harness.tasks import SIGNED_METRICS, Task, task_of

SYNTHETIC = "synthetic:0"


@dataclass(frozen=True)
class Baseline:
    """value: in percent. source: where it is from.

    kind: "chance", or "shallow" for the best of several learners of words, overlap, place and length.
    """

    kind: str
    value: float
    source: str


Baselines = Mapping[tuple[str, str], tuple[Baseline, ...]]  # by (task as reported, metric)
NO_BASELINES: Baselines = {}


def study_baselines(study: Study) -> Baselines:
    """The baselines that hold for the data of this study; a split of unknown data has the chance of its labels."""
    sources: dict[tuple[Task, str], set[str]] = {}
    for spec in study.plan.stages.values():
        if spec.kind == "evaluation":
            for split, content in spec.inputs.items():
                sources.setdefault((task_of(spec.parameters), split), set()).add(content)
    found: dict[tuple[str, str], tuple[Baseline, ...]] = {}
    for (task, split), contents in sources.items():
        reported_as = dict(task.evaluation_splits).get(split)
        if reported_as is not None:
            data = _source(task.name, split, contents)
            found |= {(reported_as, metric): known for metric in task.metrics if (known := _known(task, metric, data))}
    return found


def _known(task: Task, metric: str, data: str | None) -> tuple[Baseline, ...]:
    chance = [Baseline("chance", 100 / task.num_labels, "a label drawn evenly")] if metric == "accuracy" else []
    chance += [Baseline("chance", 0.0, "no correlation")] if metric in SIGNED_METRICS else []
    listed = [
        Baseline(row["kind"], row["value"], row["source"])
        for row in _rows()
        if (row["data"], row["task"], row["metric"]) == (data, task.name, metric)
    ]
    return (*chance, *listed)


def _source(task: str, split: str, contents: set[str]) -> str | None:
    """The data source that has all these contents: the synthetic world, or None for one without listed baselines."""
    from harness.synthetic.source import SPLITS, content_id

    known = split in SPLITS.get(task, ()) and contents == {content_id(f"{task}/{split}", 0)}
    return SYNTHETIC if known else None


@cache
def _rows() -> tuple[dict[str, Any], ...]:
    text = resources.files("paper_tables.figures").joinpath("baselines.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["baseline"])
