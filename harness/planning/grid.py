"""The grid: axes as a user writes them, checked all at once and expanded to cells.

Without methods, sparsities and quantization the preset's rows are meant; naming any of them means the full product.
Sparse checkpoints of the user's own: alone they mean their cells and the dense ones; with methods they are further
methods of the product, each at the sparsity that was counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from harness.errors import Problem, Problems, UsageError, unknown
from harness.planning.method import Method
from harness.planning.method_needs import needs, prunes_in_pretraining
from harness.planning.method_registry import FoundMethod, find_method, get_method, method_problem
from harness.planning.method_summary import SPARSE_FROM
from harness.planning.preset import Preset, Rows
from harness.specs import QUANTIZATIONS, Cell, as_sparsity, seed_problem, sparsity_problem
from harness.tasks import TASKS, Task
from harness.wording import option


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The axes of a grid. None: not named by the user. known_tasks: those that there are.

    sparse_from: NAME of a sparse checkpoint of the one base model -> its counted sparsity (0: it could not be counted).
    """

    models: Sequence[str]
    methods: Sequence[str] | None = None
    sparsities: Sequence[float] | None = None
    tasks: Sequence[str] | None = None
    quantization: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    pruning_seeds: Sequence[int] = (0,)
    sparse_from: Mapping[str, float] = field(default_factory=dict)
    known_tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)

    def problems(self) -> list[Problem]:
        """One for every value that is not valid, with the option that it is given by."""
        found = Problems()
        if not self.models:
            empty = f"{option('models')} is empty, here and in the preset"
            moves = [
                "Give aliases (harness ls models) or NAME=DIR.",
                "To try it: harness grid --preset quick.",
                "To see a plan: harness grid --models bert-base --dry-run.",
            ]
            found.add(Problem(empty, "models", next_move=" ".join(moves)))
        axes: list[tuple[str, Sequence[Any] | None, Callable[[Any], Problem | str | None]]] = [
            ("methods", self.methods, _method_problem),
            ("tasks", self.tasks, self._task_problem),
            ("quantization", self.quantization, _quantization_problem),
            ("sparsities", self.sparsities, sparsity_problem),
            ("seeds", self.seeds, seed_problem),
            ("pruning-seeds", self.pruning_seeds, seed_problem),
        ]
        for name, values, problem_of in axes:
            if values is not None and not values:
                found.add(Problem(f"{option(name)} is empty", name, next_move="Give at least one."))
            found.extend((problem for value in values or () if (problem := problem_of(value))), name)
        found.extend(self._checkpoint_problems())
        return found.found

    def _task_problem(self, name: str) -> Problem | None:
        if name in self.known_tasks:
            return None
        problem = unknown("task", name, self.known_tasks)
        return replace(problem, next_move=f"{problem.next_move} One of your own: {option('task-file')} FILE.toml.")

    def _checkpoint_problems(self) -> Iterator[Problem]:
        """What cannot stand beside sparse checkpoints."""
        if self.sparse_from and len(set(self.models)) > 1:
            yield Problem(
                f"{option('sparse-from')}: a checkpoint belongs to one base model, and {option('models')} names "
                f"{len(set(self.models))}",
                "sparse-from",
                next_move="Give each its own grid.",
            )
        if self.sparse_from and self.methods is None and self.sparsities is not None:
            yield Problem(
                f"{option('sparsities')}: the sparsity of a checkpoint is counted, not chosen",
                "sparsities",
                next_move=f"Leave it out, or name {option('methods')}.",
            )


def _method_problem(name: str) -> Problem | str | None:
    if name.startswith(SPARSE_FROM):
        alone = f"A sparse checkpoint is named by {option('sparse-from')} NAME=DIR alone."
        return Problem(f"{name!r} is no method to name", next_move=alone)
    return method_problem(name)


def _quantization_problem(name: str) -> Problem | None:
    return None if name in QUANTIZATIONS else unknown("quantization", name, QUANTIZATIONS)


@dataclass(frozen=True)
class Grid:
    """Cells in a fixed order, and a sentence for each combination that was left out, with the reason.

    methods: those of the cells, by name.
    """

    cells: tuple[Cell, ...]
    dropped: tuple[str, ...]
    methods: Mapping[str, FoundMethod] = field(default_factory=dict)


def expand(axes: Axes, preset: Preset) -> Grid:
    """Cells of the grid without repeats, in the order models, tasks, methods, sparsities, quantization, seeds.

    The order does not depend on the order in which an axis was written; tasks follow the preset's order, so that
    the cheap ones come first. Raises UsageError with every problem.
    """
    problems = axes.problems()
    if problems:
        raise UsageError(problems)
    dropped: dict[str, None] = {}
    methods: dict[str, FoundMethod] = {}
    cells: dict[Cell, None] = {}
    seeds = sorted(set(preset.seeds if axes.seeds is None else axes.seeds))
    rows_in_use = _rows(axes, preset)
    released = {(checkpoint.model, checkpoint.sparsity) for checkpoint in preset.sparse_checkpoints}
    for model in sorted({m for m in axes.models if not any(_runs(rows, m) for rows in rows_in_use)}):
        other = f"name {option('methods')}, or another {option('preset')}"
        dropped[f"{model}: preset {preset.name!r} has no rows for it; {other}"] = None
    for model, task, rows in product(sorted(set(axes.models)), _tasks(axes, preset), rows_in_use):
        if not _runs(rows, model):
            continue
        found = find_method(rows.method)
        method, needed = found.method, needs(found.method, released=bool(released))
        if prunes_in_pretraining(method) and not needed.pruning_seed and set(axes.pruning_seeds) != {0}:
            dropped[f"{method.name} at other pruning seeds: preset {preset.name!r} starts from released models"] = None
        pruning_seeds = sorted(set(axes.pruning_seeds)) if needed.pruning_seed else [0]
        for sparsity, quantization in product(
            sorted(set(map(as_sparsity, rows.sparsities))), sorted(set(rows.quantization), reverse=True)
        ):
            if reason := _unfit(method, sparsity, quantization):
                dropped[reason] = None
                continue
            if needed.released and axes.sparsities is None and (model, sparsity) not in released:
                dropped[f"{method.name} {model} {sparsity:g}: no released model in preset {preset.name!r}"] = None
                continue
            for seed, pruning_seed in product(seeds, pruning_seeds):
                cell = Cell(
                    model=model,
                    method=method.name,
                    sparsity=sparsity if method.sparse else 0.0,
                    task=task,
                    quantization=quantization,
                    seed=seed,
                    pruning_seed=pruning_seed,
                )
                cells[cell] = None
                methods[method.name] = found
    if not cells:
        raise UsageError(["the grid has no cell.", *dropped])
    return Grid(tuple(cells), tuple(dropped), methods)


def _unfit(method: Method, sparsity: float, quantization: str) -> str | None:
    """Why a method has no cell with these values; None where it has."""
    if method.sparse and sparsity == 0:
        return f"{method.name} at sparsity 0: it prunes nothing there; the dense method is that row"
    if quantization not in method.quantization:
        return f"{method.name} with quantization {quantization}: the method does not define it"
    return None


def one_of_each(cells: Iterable[Cell]) -> list[Cell]:
    """One cell of those that differ in their seeds alone: no recipe key tells seeds apart."""
    return list(dict.fromkeys(replace(cell, seed=0, pruning_seed=0) for cell in cells))


def _runs(rows: Rows, model: str) -> bool:
    return rows.models is None or model in rows.models


def _tasks(axes: Axes, preset: Preset) -> list[str]:
    named = set(axes.tasks or preset.tasks)
    return [task for task in dict.fromkeys([*preset.tasks, *axes.known_tasks]) if task in named]


def _rows(axes: Axes, preset: Preset) -> list[Rows]:
    """The preset's rows, or the product of the named axes; what is not named keeps the preset's values."""
    quantization = tuple(axes.quantization) if axes.quantization else QUANTIZATIONS[:1]
    own = [
        Rows(method=f"{SPARSE_FROM}{name}", sparsities=(sparsity,), quantization=quantization)
        for name, sparsity in sorted(axes.sparse_from.items())
    ]
    if own and axes.methods is None:
        return [Rows(method="dense", sparsities=(0.0,), quantization=QUANTIZATIONS[:1]), *own]
    if axes.methods is None and axes.sparsities is None and axes.quantization is None:
        return list(preset.rows)
    methods = sorted(set(axes.methods)) if axes.methods else list(dict.fromkeys(row.method for row in preset.rows))
    sparse = sorted({s for row in preset.rows for s in row.sparsities if s > 0})
    rows = []
    for name in methods:
        default = tuple(sparse) if get_method(name).sparse else (0.0,)
        rows.append(
            Rows(
                method=name,
                sparsities=tuple(axes.sparsities) if axes.sparsities else default,
                quantization=quantization,
            )
        )
    return [*rows, *own]
