"""Format: one way to write a cell's model, and how what was written is read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from harness.studies.cell_models import CellModel


@dataclass(frozen=True)
class Format:
    """name: as `harness export --format` takes it.

    write: the model's files into a new folder; what they hold, a line each. open: what was written, as a model that can
    be scored, in the runtime that reads it; read_by: that runtime in words. loading: how a program loads it, for the
    card, with {auto} for the library's class and {task} for the task.
    """

    name: str
    write: Callable[[CellModel, Path], list[str]]
    open: Callable[[CellModel, Path], nn.Module]
    read_by: str
    loading: str
