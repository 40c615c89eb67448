"""What an exported model scores where others run it, beside what is on the cell's record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import Problem, UsageError
from harness.export.format import Format
from harness.export.models import load_folder
from harness.inputs.data_sources import DataSource
from harness.runtimes.onnx_graph import input_names, output_names, require_packages
from harness.runtimes.sessions import RUNTIMES, Source
from harness.stages.evaluation import score
from harness.stages.loading import load_tokenizer
from harness.studies.cell_models import CellModel


@dataclass(frozen=True)
class Rescored:
    """One metric of one evaluation split, in percent. split: as reported. recorded: the cell's own record's."""

    split: str
    metric: str
    recorded: float
    exported: float
    examples: int

    @property
    def difference(self) -> float:
        """In percentage points."""
        return self.exported - self.recorded


def check_data(found: CellModel, data: DataSource) -> None:
    """Raises UsageError where these are not the rows that the record's scores are of, or cannot be read."""
    task = found.study.plan.task_of(found.cell)
    if problems := [*data.problems([task], corpus=False), *data.missing([task], corpus=False)]:
        raise UsageError([Problem(problem, "score_on") for problem in problems])
    here = data.content_ids([task], corpus=False)
    for split, content in found.scores["inputs"].items():
        if here.get(f"{task.name}/{split}") != content:
            raise UsageError(
                Problem(
                    f"the rows of {task.name}/{split} are not those that the cell was scored on",
                    "score_on",
                    next_move="Name the data of its grid.",
                )
            )


def rescored(found: CellModel, form: Format, folder: Path, data: DataSource) -> Iterator[Rescored]:
    """Every metric of the task on every split that the record has, scored by the runtime that reads this format.

    folder: as `harness.export.formats.write` wrote it. data: as `check_data` found it right.
    """
    task = found.study.plan.task_of(found.cell)
    evaluation = found.study.plan.stages[found.study.plan.endpoint(found.cell)]
    torch.set_num_threads(evaluation.parameters["threads"])
    model, tokenizer = form.open(found, folder), load_tokenizer(folder)
    in_percent = 1 if task.head.metrics_in_percent else 100
    for split, reported_as in task.evaluation_splits:
        if split not in evaluation.inputs:
            continue
        rows = data.rows(task, split, evaluation.inputs[split])
        scored = score(model, rows, task, tokenizer, evaluation.parameters, evaluation.parameters["batch_size"])
        recorded = found.scores["result"]["metrics"][reported_as]
        for metric in task.metrics:
            yield Rescored(
                reported_as,
                metric,
                in_percent * recorded[metric],
                in_percent * scored.result.metrics[metric],
                len(rows),
            )


class _GraphModel(nn.Module):
    """A graph in its runtime, where a model of torch is expected: token tensors in, logits by name out."""

    def __init__(self, reference: nn.Module, runtime: str, graph: Path) -> None:
        super().__init__()
        names = input_names(reference)
        opened = next(each for each in RUNTIMES if each.name == runtime)
        self._session = opened.open(Source(lambda: reference, graph, names), torch.get_num_threads())
        self._inputs, self._outputs = names, output_names(reference)
        self._where = nn.Parameter(torch.empty(0), requires_grad=False)  # scoring asks where a model's weights are

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        given: dict[str, Any] = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        }
        found: Any = self._session({name: given[name] for name in self._inputs})
        return {name: torch.from_numpy(found[i]) for i, name in enumerate(self._outputs)}


def opened_graph(found: CellModel, runtime: str, graph: Path) -> nn.Module:
    """The graph of a cell's model in "onnxruntime" or "openvino". Raises UsageError where that is not installed."""
    require_packages(runtime, extra="openvino" if runtime == "openvino" else "onnx")
    task = found.study.plan.task_of(found.cell)
    reference = load_folder(found.folder, task, is_quantised=found.is_quantised)
    return _GraphModel(reference, f"{runtime} {'int8' if found.is_quantised else 'fp32'}", graph)
