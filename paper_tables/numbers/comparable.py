"""Comparable: which of our cells are the paper's own, so that its number may stand beside ours.

A cell is planned again as a shipped preset of the paper's gives it, with the pinned models and data, and the two paths
are compared field by field. Names decide nothing: not the preset's, not the model's. Everything counts but code
versions with the settings that they brought, for these are none of the paper's; the seeds of a cell; and what no number
depends on beyond rounding (`NOT_OF_PAPER`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.inputs.data_sources import HubData
from harness.inputs.hub import HubSource
from harness.inputs.models import MODELS
from harness.planning.difference import CONTENTS, Comparison, Difference, described
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.kinds import KINDS
from harness.planning.method_needs import needs
from harness.planning.method_registry import get_method
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.specs import Cell
from harness.studies.study import Study
from harness.tasks import TASKS, get_task
from paper_tables.numbers.published import PAPER_MODELS, published_value

PRUNED_HERE, RELEASED = "paper", "paper-released"  # `equal` is a recipe of ours, not the paper's
OURS_AND_PAPERS = "{name} {one}, in the paper's preset {other}"
ROUNDING = ("threads", "attention", "evaluation_pairs")  # of any kind; change no score beyond rounding
# Settings that the paper's number does not hang on: the seeds of the cell, and what changes no score beyond rounding.
NOT_OF_PAPER = {
    "evaluation.batch_size",
    *(f"{kind.name}.seed" for kind in KINDS.values() if "seed" in kind.identity),
    *(f"{kind.name}.{name}" for kind in KINDS.values() for name in ROUNDING if name in kind.recipe),
}

Differing = Mapping[Cell, tuple[Difference, ...]]


def differing_from_paper(study: Study) -> Differing:
    """What sets each cell that the paper prints a number for apart from the paper's; nothing: it is comparable."""
    printed = [cell for cell in study.plan.paths if is_printed(cell)]
    by_preset: dict[str, list[Cell]] = {PRUNED_HERE: [], RELEASED: []}
    for cell in printed:
        kinds = {study.plan.stages[stage_id].kind for stage_id in study.plan.paths[cell]}
        by_preset[RELEASED if "sparse_checkpoint" in kinds else PRUNED_HERE].append(cell)
    classes = alike(study.plan)
    found = {}
    for preset, cells in by_preset.items():
        first: dict[tuple[Cell, int], Cell] = {}  # cells that only seeds set apart are compared once
        like = {
            cell: first.setdefault((_of_any_seed(cell), classes[study.plan.endpoint(cell)]), cell) for cell in cells
        }
        theirs = _as_in_paper(preset, first.values())
        comparison = Comparison(study.plan, theirs, counts=_counts)
        for cell in cells:
            counterpart = like[cell]
            if counterpart in theirs.paths:
                ends = study.plan.endpoint(counterpart), theirs.endpoint(counterpart)
                found[cell] = comparison.differences(*ends)
            else:
                found[cell] = (Difference("model", f"{cell.model} at {cell.sparsity:g}", "ours", None),)
    return {cell: found[cell] for cell in printed}


def _of_any_seed(cell: Cell) -> Cell:
    return replace(cell, seed=0, pruning_seed=0)


def alike(plan: Plan) -> dict[str, int]:
    """A number for each stage, the same for those that only `NOT_OF_PAPER` sets apart, in themselves or behind them."""
    numbers: dict[str, int] = {}
    known: dict[tuple[str, str], int] = {}
    left_out = {
        kind: {name.partition(".")[2] for name in NOT_OF_PAPER if name.startswith(f"{kind}.")} for kind in KINDS
    }
    for stage_id, spec in plan.stages.items():
        names = left_out.get(spec.kind, set())
        parameters = [(name, value) for name, value in spec.parameters.items() if name not in names]
        parents = [(role, numbers[parent]) for role, parent in spec.parents.items()]
        key = spec.kind, repr((parameters, parents, spec.inputs, spec.versions))
        numbers[stage_id] = known.setdefault(key, len(known))
    return numbers


def is_printed(cell: Cell) -> bool:
    """Whether the paper prints a number of that name, in any metric."""
    task = get_task(cell.task)
    return cell.model in PAPER_MODELS and any(
        published_value(cell.model, cell.method, cell.sparsity, cell.bits, reported_as, metric)
        for _, reported_as in task.evaluation_splits
        for metric in task.metrics
    )


def _as_in_paper(name: str, cells: Iterable[Cell]) -> Plan:
    """The cells as the preset gives them; those that start from a model that was not released are left out."""
    cells = list(cells)
    if not cells:
        return Plan()
    preset = load_preset(name)
    models = {
        alias: ModelIdentity(weights=source.content_id("weights"), tokenizer=source.content_id("tokenizer"))
        for alias, source in MODELS.items()
        if isinstance(source, HubSource)
    }
    data = HubData().content_ids(TASKS.values(), corpus=True)
    known = [
        cell
        for cell in cells
        if (cell.model, cell.sparsity) in preset.released
        or not needs(get_method(cell.method), released=bool(preset.released)).released
    ]
    return plan_cells(known, preset.recipe, Inputs(models=models, data=data, released=preset.released))


def _counts(found: Difference) -> bool:
    """All but what is known to be none of the paper's. `of_code`: a setting that another code version brought."""
    return found.what != "version" and not found.of_code and found.name not in NOT_OF_PAPER


def note_on_comparison(differing: Differing) -> list[str]:
    """One sentence that says why the paper's numbers do not stand beside ours; none where nothing sets them apart."""
    apart = [cell for cell, found in differing.items() if found]
    if not apart:
        return []
    found = [each for cell in apart for each in differing[cell]]
    said = described([each for each in found if each.what in CONTENTS])
    if settings := described([each for each in found if each.what not in CONTENTS], OURS_AND_PAPERS):
        said.append(f"the settings ({'; '.join(settings)})")
    stand = "stand beside none" if len(apart) == len(differing) else "do not stand beside all"
    return [
        f"The paper's numbers {stand} of ours: {len(apart)} of {len(differing)} cells differ from its own in "
        f"{', '.join(said)}."
    ]
