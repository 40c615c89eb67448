"""A cell's model and a packed folder, loaded to be used."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from harness.compression.quantization import load_frozen
from harness.errors import UsageError
from harness.inputs.weight_files import INT8_FILE
from harness.packed.checkpoint import PACKED_FILE, unpacked_model
from harness.packed.packed_file import PackedFileError
from harness.specs import Cell
from harness.stages.loading import (
    family_of,
    library_config,
    load_for_task,
    load_int8,
    load_tokenizer,
    one_line,
    quiet,
)
from harness.studies.cell_models import CellModel
from harness.tasks import Task

ATTENTION = "sdpa"
UNNAMED = ("LABEL_0", "LABEL_1")  # what the library says of a model whose labels nobody named


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on the CPU, with the cell it is of.

    model: takes token tensors and gives logits; a quantised one computes with its stored integers and ranges.
    tokenizer: its own.
    """

    model: Any
    tokenizer: Any
    cell: Cell


def load(found: CellModel) -> LoadedModel:
    return LoadedModel(
        load_folder(found.folder, found.study.plan.task_of(found.cell), is_quantised=found.is_quantised),
        load_tokenizer(found.folder),
        found.cell,
    )


def load_folder(folder: Path, task: Task, *, is_quantised: bool) -> nn.Module:
    """The model of a folder in the hub's layout, in evaluation mode. Raises UsageError where it cannot be loaded."""
    quiet()
    with told_of_damage():
        model: nn.Module = load_for_task(folder, task, seed=0, attention=ATTENTION, new_head=False)
        if is_quantised:
            load_frozen(model, load_int8(folder))
        return model.eval()


@contextmanager
def told_of_damage() -> Iterator[None]:
    """Raises UsageError in the place of what loading says of files that are damaged or do not fit."""
    try:
        yield
    except (ValueError, SafetensorError) as error:
        if isinstance(error, UsageError | PackedFileError):
            raise
        raise UsageError(str(error)) from None


def load_packed(folder: Path, task: Task) -> tuple[nn.Module, Any]:
    """The model and the tokenizer of a folder that `harness export --format packed` wrote.

    No code that the folder brings is run. Raises UsageError for a folder without a packed file, `PackedFileError` for
    one that is damaged.
    """
    if not (folder / PACKED_FILE).is_file():
        raise UsageError(f"{folder} has no {PACKED_FILE}. Name a folder that harness export --format packed wrote.")
    family_of(folder)  # an unknown one is told by its name
    try:
        labels = tuple(library_config(folder).id2label.values())
    except ValueError as error:
        raise UsageError(
            f"{folder / 'config.json'} cannot be used ({one_line(error)}). Expected one of the library's own: no "
            "code that a folder brings is run."
        ) from None
    is_of_the_task = labels == (task.label_names or UNNAMED[: task.num_labels or len(UNNAMED)])
    if not is_of_the_task:
        raise UsageError(
            f"the model in {folder} was not trained on {task.name}: its labels are {', '.join(labels)}, those of the "
            f"task {', '.join(task.label_names) or 'none'}. Name the task that its model card names."
        )
    with tempfile.TemporaryDirectory() as temporary:
        plain = unpack_folder(folder, Path(temporary) / "model")
        model = load_folder(plain, task, is_quantised=(plain / INT8_FILE).is_file())
        with told_of_damage():
            return model, load_tokenizer(plain)


def unpack_folder(folder: Path, to: Path) -> Path:
    """Write a packed folder's content in the hub's layout into a new folder."""
    model = unpacked_model(folder / PACKED_FILE)
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns(PACKED_FILE))
    model.write(to)
    return to
