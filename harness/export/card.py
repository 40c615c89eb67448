"""The model card of an exported model: what it is, how it was made, what it scores, and how to load it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import require
from harness.export.format import Format
from harness.export.rescored import Rescored
from harness.files import write_new
from harness.inputs.data_sources import HubData
from harness.inputs.hub import HubSource
from harness.inputs.models import MODELS
from harness.planning.kept_recipe import recipe_of
from harness.planning.method_registry import find_method
from harness.studies.cell_models import CellModel
from harness.studies.description import METHOD, PLAN, settings_with_evidence
from harness.tasks import EXTRACTIVE_QA, TASKS, Task

CARD = "README.md"


def write_card(found: CellModel, form: Format, folder: Path, scores: Sequence[Rescored] = ()) -> None:
    """Write README.md into the folder; one that the model's own folder brought is replaced.

    scores: of what was written, where others run it.
    """
    (folder / CARD).unlink(missing_ok=True)
    write_new(folder / CARD, "\n".join(_lines(found, form, scores)) + "\n")


def _lines(found: CellModel, form: Format, scores: Sequence[Rescored]) -> Iterator[str]:
    cell, task = found.cell, found.study.plan.task_of(found.cell)
    yield from _front_matter(found, form, task)
    method = find_method(cell.method).method
    yield f"# {cell.model}, {method.title}, {task.name}"
    yield ""
    yield f"{method.note}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in _facts(found):
        yield f"| {name} | {value} |"
    yield ""
    yield "## Scores"
    yield ""
    yield "On the evaluation splits, every example scored once. One training: a number of one seed."
    yield ""
    yield "| split | metric | value | examples |"
    yield "|---|---|---|---|"
    yield from _scores(found.scores, task)
    yield ""
    if scores:
        yield from _rescored(scores, form)
    yield "## Use"
    yield ""
    yield "```python"
    auto = "AutoModelForQuestionAnswering" if task.head == EXTRACTIVE_QA else "AutoModelForSequenceClassification"
    named = task.name if task.name in TASKS else f"{task.name}.toml"  # the file that declares it
    yield form.loading.format(auto=auto, task=named)
    yield "```"
    yield ""
    yield from _caveats(found, form)
    yield "## Recipe"
    yield ""
    yield f"Preset {found.study.recipe['preset']}: {found.study.recipe['description']}"
    for note in found.study.recipe["notes"]:
        yield f"- {note}"
    yield ""
    for stage_id, record in found.path.items():
        yield from _stage(found, stage_id, record)
    yield "## Provenance"
    yield ""
    made = found.record["provenance"]
    yield f"- stage {found.stage_id}, record {found.record['digest']}"
    yield f"- harness {made.get('harness')}, commit {made.get('commit')}" + (
        ", with changes that are not committed" if made.get("uncommitted") else ""
    )
    yield f"- {made.get('processor')}, {', '.join(f'{k} {v}' for k, v in sorted((made.get('versions') or {}).items()))}"


def _front_matter(found: CellModel, form: Format, task: Task) -> Iterator[str]:
    cell = found.cell
    source = MODELS.get(cell.model)
    yield "---"
    if form.name == "hub":
        yield "library_name: transformers"
    begins_with = {content for record in found.path.values() for content in record["inputs"].values()}
    if isinstance(source, HubSource) and source.content_id("weights") in begins_with:
        yield f"base_model: {source.repository}"
    if _is_of_the_hub(found, task):
        yield "datasets:"
        yield f"- {task.hub_path}"
    yield "metrics:"
    for metric in task.metrics:
        yield f"- {metric}"
    yield "tags:"
    for tag in ("sparse" if cell.sparsity else "dense", "int8" if cell.quantization == "int8" else "fp32", cell.method):
        yield f"- {tag}"
    yield "---"


def _is_of_the_hub(found: CellModel, task: Task) -> bool:
    """Whether what was scored is the hub's data set at its pinned commit, and not a folder or a made-up world."""
    theirs = HubData().content_ids([task], corpus=False)
    return all(theirs.get(f"{task.name}/{split}") == content for split, content in found.scores["inputs"].items())


def _facts(found: CellModel) -> Iterator[tuple[str, str]]:
    cell = found.cell
    counted = found.record["result"].get("sparsity", {})
    yield "base model", cell.model
    yield "task", cell.task
    task = found.study.plan.task_of(cell)
    if _is_of_the_hub(found, task):
        yield "data", f"{task.hub_path} {task.hub_name} at {task.hub_revision}"
    else:
        contents = ", ".join(f"{split} {content[:12]}" for split, content in found.scores["inputs"].items())
        yield "data", f"not the hub's: files or a generated world of the same schema ({contents})"
    yield "method", cell.method
    if counted:
        zeros, numel = counted["encoder_zeros"], counted["encoder_numel"]
        yield "zeros", f"{zeros:,} of {numel:,} weights of the prunable encoder matrices ({zeros / numel:.2%})"
    if found.is_quantised:
        yield "numbers", "8 bits: int8 weights, uint8 activations with stored ranges, in every Linear"
    else:
        yield "numbers", "fp32"
    yield "seed", f"{cell.seed}" + (f", pruning seed {cell.pruning_seed}" if cell.pruning_seed else "")
    yield "study", found.study.name


def _scores(scores: Mapping[str, Any], task: Task) -> Iterator[str]:
    for split, metrics in scores["result"]["metrics"].items():
        count = metrics.get("num_examples", metrics.get("num_questions", ""))
        for name in task.metrics:
            require(name in metrics, f"no {name} of {split}")
            value = metrics[name] if task.head.metrics_in_percent else 100 * metrics[name]
            yield f"| {split} | {name} | {value:.2f} | {count} |"


def _rescored(scores: Sequence[Rescored], form: Format) -> Iterator[str]:
    yield f"The files of this folder, scored again on the same examples {form.read_by}:"
    yield ""
    yield "| split | metric | value | difference |"
    yield "|---|---|---|---|"
    for each in scores:
        yield f"| {each.split} | {each.metric} | {each.exported:.2f} | {each.difference:+.2f} |"
    yield ""


def _caveats(found: CellModel, form: Format) -> Iterator[str]:
    if found.is_quantised and form.name == "hub":
        yield (
            "`model.safetensors` holds the weights as fp32, each codes times scale. A library that knows nothing of "
            "`int8.safetensors` computes with them in fp32 and leaves activations as they are; the scores above are of "
            "the 8-bit arithmetic (`harness.load_model`, or the formats onnx and openvino)."
        )
        yield ""


def _stage(found: CellModel, stage_id: str, record: Mapping[str, Any]) -> Iterator[str]:
    plan = found.study.plan
    settings = settings_with_evidence(plan.stages[stage_id], plan, recipe_of(found.study.recipe))
    shown = [each for each in settings if each["evidence"] not in (PLAN, METHOD)]
    yield f"<details><summary>{plan.label(stage_id)}</summary>"
    yield ""
    for line in record["result"]["did"]:
        yield f"- {line}"
    for each in shown:
        yield f"- {each['name']} = {each['value']} ({each['evidence']}: {each['source']})"
    yield ""
    yield "</details>"
    yield ""
