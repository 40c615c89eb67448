"""Comparable: which of our cells are the paper's own, so that its number may stand beside ours.

A cell is planned again as a shipped preset of the paper's gives it, with the pinned models and data, and the two paths
are compared field by field. Names decide nothing: not the preset's, not the model's. Everything counts but code
versions with the settings that they brought, for these are none of the paper's; the seeds of a cell; and what no number
depends on beyond rounding (`NOT_OF_PAPER`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

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
from harness.specs import TEACHER_LOGITS, Cell
from harness.studies.study import Study
from harness.tasks import TASKS
from paper_tables.numbers.published import PAPER_MODELS, published_value

PRUNED_HERE, RELEASED = "paper", "paper-released"  # `equal` is a recipe of ours, not the paper's
OURS_AND_PAPERS = "{name} {one}, in the paper's preset {other}"
ROUNDING = ("threads", "attention", "evaluation_pairs", TEACHER_LOGITS)  # of any kind; change no score beyond rounding
# Settings that the paper's number does not hang on: the seeds of the cell, and what changes no score beyond rounding.
NOT_OF_PAPER = {
    "evaluation.batch_size",
    f"{TEACHER_LOGITS}.batch_size",
    *(f"{kind.name}.seed" for kind in KINDS.values() if "seed" in kind.identity),
    *(f"{kind.name}.{name}" for kind in KINDS.values() for name in ROUNDING if name in kind.recipe),
}

Differing = Mapping[Cell, tuple[Difference, ...]]


def differing_from_paper(study: Study) -> Differing:
    """What sets each cell that the paper prints a number for apart from the paper's; nothing: it is comparable."""
    plan = study.plan
    firsts = {cells[0]: cells for cells in _but_for_seeds(plan) if is_printed(cells[0])}
    by_preset: dict[str, list[Cell]] = {PRUNED_HERE: [], RELEASED: []}
    for cell in firsts:
        kinds = {plan.stages[stage_id].kind for stage_id in plan.paths[cell]}
        by_preset[RELEASED if "sparse_checkpoint" in kinds else PRUNED_HERE].append(cell)
    found: dict[Cell, tuple[Difference, ...]] = {}
    for preset, cells in by_preset.items():
        theirs = _as_in_paper(preset, cells)
        comparison = Comparison(plan, theirs, counts=_counts)
        for cell in cells:
            if cell in theirs.paths:
                differences = comparison.differences(plan.endpoint(cell), theirs.endpoint(cell))
            else:
                differences = (Difference("model", f"{cell.model} at {cell.sparsity:g}", "ours", None),)
            found |= dict.fromkeys(firsts[cell], differences)
    return {cell: found[cell] for cell in plan.paths if cell in found}


def _but_for_seeds(plan: Plan) -> Iterable[list[Cell]]:
    """The cells, those together that only seeds set apart: one is compared for all of them."""
    together: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell, path in plan.paths.items():
        row = cell.model, cell.method, cell.sparsity, cell.task, cell.quantization
        together[row, plan.alike(path[-1])].append(cell)
    return together.values()


def is_printed(cell: Cell) -> bool:
    """Whether the paper prints a number of that name, in any metric."""
    task = TASKS.get(cell.task)  # one of the user's own is not printed
    return (
        task is not None
        and cell.model in PAPER_MODELS
        and any(
            published_value(cell.model, cell.method, cell.sparsity, cell.bits, reported_as, metric)
            for _, reported_as in task.evaluation_splits
            for metric in task.metrics
        )
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
    if found.what == "stages" and found.name.startswith(f"{TEACHER_LOGITS} of "):
        return False
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
