"""Pictures: which figures a study has, as data, with what draws each; and what cannot be drawn, said why.

The kinds, by the word that `harness plots --only` takes:

    accuracy   over nominal compression: average and tasks of each model, the average alone, all models together
    methods    every method on a line of its own, by its average, a picture for each model
    stored     the same over compression as stored
    speed      the same over the speed-up that was measured, on each machine by itself
    tokens     the average over pre-training tokens
    sparsity   zeros by layer and kind of matrix, a chart for each model
    curves     learning curves, of the prunings in pre-training unless stages are named
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.identity import MOST_NAME_LETTERS
from harness.studies.study import Study
from paper_tables.claims.budget import BudgetCurve
from paper_tables.figures.averages import average_of, joint, with_average
from paper_tables.figures.baselines import Baselines, study_baselines
from paper_tables.figures.curve import LearningCurve, learning_curve
from paper_tables.figures.draw import draw
from paper_tables.figures.draw_curve import draw_curve
from paper_tables.figures.draw_map import draw_map
from paper_tables.figures.draw_ranking import draw_ranking
from paper_tables.figures.look import method_looks
from paper_tables.figures.page import Caption
from paper_tables.figures.points import Chart, charts
from paper_tables.figures.sparsity_map import SparsityChart, sparsity_charts
from paper_tables.figures.speed import speed_charts
from paper_tables.figures.stored import stored_charts
from paper_tables.figures.tokens import PRUNING, tokens_chart
from paper_tables.numbers.study_numbers import StudyNumbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_KINDS = ("accuracy", "methods", "stored", "speed", "tokens", "sparsity", "curves")
DEFAULT_KINDS = ("accuracy",)


@dataclass(frozen=True)
class Picture:
    """stem: name of its file, without suffix; unique in a study. data: what it shows."""

    kind: str
    stem: str
    data: Chart | SparsityChart | LearningCurve
    draw: Callable[[], Figure]

    @property
    def budgets(self) -> Sequence[BudgetCurve]:
        """What it says of budgets of pre-training, of the one that is about them."""
        return self.data.budgets if isinstance(self.data, Chart) else ()

    @property
    def ranking(self) -> Chart | None:
        """The average of every method, of the one that ranks them."""
        return self.data if self.kind == "methods" and isinstance(self.data, Chart) else None

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self.data)}


@dataclass(frozen=True)
class Pictures:
    """left_out: a sentence for each figure that was asked for and cannot be made."""

    found: Sequence[Picture]
    left_out: Sequence[str]


def kinds_of(study: Study) -> tuple[str, ...]:
    """Every kind, in the order of `FIGURE_KINDS`; speed only of a study that measures any."""
    plan = study.plan
    has_speed = any(plan.measuring(cell, "latency") for cell in plan.measures)
    return tuple(kind for kind in FIGURE_KINDS if kind != "speed" or has_speed)


def study_pictures(
    numbers: StudyNumbers,
    kinds: Collection[str] = DEFAULT_KINDS,
    *,
    stage_ids: Collection[str] = (),
    others: Sequence[StudyNumbers] = (),
) -> Pictures:
    """The study's figures of these kinds, in the order of `FIGURE_KINDS`.

    stage_ids: of the learning curves; none: those of the study's prunings in pre-training. others: studies whose
    results stand beside its own over pre-training tokens.
    """
    gallery = _Gallery(numbers)
    baselines = study_baselines(numbers.study)
    if "accuracy" in kinds:
        gallery.add_charts("accuracy", [with_average(chart) for chart in charts(numbers.rows, baselines)], "")
    if "methods" in kinds:
        _add_rankings(gallery, baselines)
    if "stored" in kinds:
        _add_stored(gallery, baselines)
    if "speed" in kinds:
        _add_speed(gallery, baselines)
    if "tokens" in kinds:
        found = tokens_chart([numbers, *others])
        if found is None:
            gallery.left_out.append(
                "accuracy against pre-training tokens: no result of a model pruned in pre-training."
            )
        else:
            gallery.add_chart("tokens", "-tokens", found)
    if "sparsity" in kinds:
        _add_maps(gallery)
    if "curves" in kinds:
        _add_curves(gallery, stage_ids)
    return Pictures(gallery.pictures, gallery.left_out)


class _Gallery:
    """Pictures of one study, under names of their own."""

    def __init__(self, numbers: StudyNumbers) -> None:
        study = numbers.study
        self.numbers = numbers
        self.caption = Caption(study=study.name, preset=study.recipe["preset"], notes=study.recipe["notes"])
        self.looks = method_looks({cell.method for cell in study.plan.paths})
        self.pictures: list[Picture] = []
        self.left_out: list[str] = []

    def add(self, kind: str, name: str, data: Any, drawn: Callable[[], Figure]) -> None:
        self.pictures.append(Picture(kind, self._stem(name), data, drawn))

    def add_chart(self, kind: str, name: str, chart: Chart) -> None:
        looks = self.looks | method_looks(set(chart.methods))
        self.add(kind, name, chart, lambda: draw(chart, self.caption, looks))

    def add_charts(self, kind: str, found: Sequence[Chart], suffix: str) -> None:
        """Each model's chart and its average alone, then the averages of all models together."""
        for chart in found:
            self.add_chart(kind, f"-{safe(chart.subject)}{suffix}", chart)
        for chart in found:
            if average := average_of(chart):
                self.add_chart(kind, f"-{safe(chart.subject)}{suffix}-average", average)
        if together := joint(found, "all models"):
            self.add_chart(kind, f"-all-models{suffix}", together)

    def _stem(self, name: str) -> str:
        return unique_stem(f"{self.numbers.study.name}{name}", {picture.stem for picture in self.pictures})


def unique_stem(wanted: str, taken: Collection[str]) -> str:
    """The name wanted, with a number where another picture has it."""
    numbered = (f"{wanted}-{number}" for number in itertools.count(2))
    return next(stem for stem in itertools.chain([wanted], numbered) if stem not in taken)


def safe(name: str) -> str:
    """A model's name as part of a file's: it may hold more than a file name may, and be longer."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:MOST_NAME_LETTERS]


def _add_rankings(gallery: _Gallery, baselines: Baselines) -> None:
    for chart in charts(gallery.numbers.rows, baselines):
        ranking = average_of(with_average(chart))
        if ranking is None:
            gallery.left_out.append(f"methods by their average: no average of {chart.subject} relative to dense.")
            continue
        gallery.add(
            "methods",
            f"-{safe(chart.subject)}-methods",
            ranking,
            lambda ranking=ranking: draw_ranking(ranking, gallery.caption, gallery.looks),  # type: ignore[misc]
        )


def _add_stored(gallery: _Gallery, baselines: Baselines) -> None:
    found, left_out = stored_charts(gallery.numbers, baselines)
    gallery.add_charts("stored", found, "-stored")
    gallery.left_out += left_out


def _add_speed(gallery: _Gallery, baselines: Baselines) -> None:
    found, left_out = speed_charts(gallery.numbers, baselines)
    for chart in found:
        gallery.add_chart("speed", f"-{safe(chart.subject)}-speed", chart)
    gallery.left_out += left_out


def _add_maps(gallery: _Gallery) -> None:
    found, left_out = sparsity_charts(gallery.numbers)
    for chart in found:
        gallery.add(
            "sparsity",
            f"-{safe(chart.subject)}-sparsity",
            chart,
            lambda chart=chart: draw_map(chart, gallery.caption),  # type: ignore[misc]
        )
    if not found and not left_out:
        left_out = ["sparsity by layer: no record counts the zeros of a pruned model's matrices."]
    gallery.left_out += left_out


def _add_curves(gallery: _Gallery, stage_ids: Collection[str]) -> None:
    plan, records = gallery.numbers.study.plan, gallery.numbers.records
    wanted = stage_ids or [stage_id for stage_id, spec in plan.stages.items() if spec.kind == PRUNING]
    if not wanted:
        gallery.left_out.append("learning curves: nothing is pruned in pre-training. Name stages with --stage WHAT.")
    for stage_id in wanted:
        curve = learning_curve(stage_id, plan.label(stage_id), records[stage_id]) if stage_id in records else None
        if curve is None:
            why = "it holds no losses in the form of a training" if stage_id in records else "it is not finished"
            gallery.left_out.append(f"learning curve of {plan.label(stage_id)} ({stage_id}): {why}.")
            continue
        gallery.add(
            "curves",
            f"-curve-{stage_id[:12]}",
            curve,
            lambda curve=curve: draw_curve(curve, gallery.caption),  # type: ignore[misc]
        )
