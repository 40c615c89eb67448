"""What the command line does, for a notebook or a script: plan, run, and read records as a pandas frame.

    grid = harness.plan_grid(models="minilm-l6", preset="reduced", data="DIR")
    print(grid)                                  # nothing has run
    outcome = grid.run(workers=2)
    frame = harness.records(study="reduced")     # a row for each cell and metric

The names stand in `harness` as well; importing that imports nothing else. Arguments are the options of `harness grid`
with underscores, read by the same code, so that a grid asked for here is the one asked for there, stage for stage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.execution.executors import execution_problems
from harness.execution.outcome import Outcome
from harness.grids.planned import Planned, plan_as_text, planned_grid, start, without_effect
from harness.grids.request import Asked
from harness.planning.graph import Plan
from harness.specs import Cell
from harness.store.store import Store
from harness.studies.state import read_states
from harness.studies.study import only_study, read_study
from harness.studies.verification import verified_records
from paper_tables.study_tables import read_tables

if TYPE_CHECKING:
    import pandas as pd

Word = str | int | float | Path
Words = Word | Iterable[Word]

# Column of `records` -> its type; "Int64" holds whole numbers and missing ones.
COLUMNS: Mapping[str, str] = {
    "study": "str",
    "model": "str",
    "method": "str",
    "sparsity": "float64",
    "task": "str",
    "quantization": "str",
    "seed": "Int64",
    "pruning_seed": "Int64",
    "metric": "str",
    "value": "float64",
    "measured_sparsity": "float64",
    "state": "str",
    "stage_id": "str",
}
_OPTION = re.compile(
    r"--(models|methods|sparsities|tasks|quantization|seeds|pruning-seeds|preset|data|set|sparse-from|study|store|"
    r"executor|workers|resource|max-gpu-hours)\b"
)


@dataclass(frozen=True, repr=False)
class PlannedGrid:
    """A grid that makes sense. Printing it shows what `harness grid --dry-run` shows, for the store as it is now."""

    _planned: Planned

    @property
    def study(self) -> str:
        return self._planned.study

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self._planned.request.grid.cells

    @property
    def dropped(self) -> tuple[str, ...]:
        """Combinations that were left out, each with its reason."""
        return self._planned.request.grid.dropped

    @property
    def plan(self) -> Plan:
        return self._planned.plan

    def run(self, *, executor: str = "local", workers: int | None = None) -> Outcome:
        """Run what is not done; tells on standard error how far it is.

        executor: "local" (worker processes) or "debug" (in this process). workers: stages side by side; None: as many
        as GPUs or cores allow. Returns the stages by how they ended; a stage that fails raises nothing.
        Raises UsageError when something is missing or the estimate is above `max_gpu_hours`, Interrupted when a signal
        stopped it: the same call goes on from the last checkpoint.
        """
        with _in_keywords():
            if problems := execution_problems(executor, workers):
                raise UsageError(problems)
            return start(self._planned, self._planned.outlook(), executor=executor, workers=workers)

    def __str__(self) -> str:
        outlook = self._planned.outlook()
        lines = [plan_as_text(self._planned, outlook)]
        lines += [f"note: set {idle} changes nothing in this grid." for idle in without_effect(self._planned)]
        lines += [f"warning: {_as_keywords(sentence)}" for sentence in outlook.missing]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<PlannedGrid {self.study}: {len(self.cells)} cells, {len(self.plan.stages)} stages>"


def plan_grid(
    *,
    models: Words | Mapping[str, str | Path] | None = None,
    methods: Words | None = None,
    sparsities: Words | None = None,
    tasks: Words | None = None,
    quantization: Words | None = None,
    seeds: Words | None = None,
    pruning_seeds: Words = 0,
    preset: str | Path = "paper",
    data: str | Path | None = None,
    set: Mapping[str, object] | None = None,
    sparse_from: Mapping[str, str | Path] | None = None,
    study: str | None = None,
    store: str | Path = "runs",
    resource: Mapping[str, object] | None = None,
    max_gpu_hours: float | None = None,
) -> PlannedGrid:
    """Check and plan a grid; writes nothing and starts nothing.

    models: aliases, or a mapping NAME -> folder; None: the preset's, where it names any. Axes: one value, a sequence,
    or comma-separated words; None: the preset's. set: recipe key -> value. sparse_from: NAME -> folder.
    resource: KEY -> value. The other arguments are as in `harness grid`. Raises UsageError with every problem found.
    """
    with _in_keywords():
        problems: list[str] = []
        asked = Asked(
            models=_words(
                "models", _assigned("models", models, problems) if isinstance(models, Mapping) else models, problems
            ),
            methods=_words("methods", methods, problems),
            sparsities=_words("sparsities", sparsities, problems),
            tasks=_words("tasks", tasks, problems),
            quantization=_words("quantization", quantization, problems),
            seeds=_words("seeds", seeds, problems),
            pruning_seeds=_words("pruning_seeds", pruning_seeds, problems) or "",
            preset=str(preset),
            data=None if data is None else str(data),
            set=_assigned("set", set or {}, problems),
            sparse_from=[
                _words("sparse_from", [each], problems) or ""
                for each in _assigned("sparse_from", sparse_from or {}, problems)
            ],
            study=study,
            resource=_assigned("resource", resource or {}, problems),
            max_gpu_hours=None if max_gpu_hours is None else str(max_gpu_hours),
        )
        if problems:
            raise UsageError(problems)
        return PlannedGrid(planned_grid(asked, Store(Path(store))))


def records(store: str | Path = "runs", study: str | None = None) -> pd.DataFrame:
    """The numbers of a study, a row for each cell and metric, whether its record is in or not.

    Columns as in `COLUMNS`: value in percent and measured_sparsity as a share, both NaN where the record is not in;
    state: of the cell's last stage, `stage_id`; pruning_seed: missing where the method has none.
    study: None where the store holds one. Raises UsageError for no such study, StoreError for records that were edited.
    """
    import pandas as pd

    from paper_tables.collect import cell_scores

    with _in_keywords():
        place = Store(Path(store))
        found = read_study(place, study or only_study(place))
    verified = verified_records(found.plan, place)
    states = read_states(found.plan, place)
    rows = [
        {**vars(score), "quantization": cell.quantization, "state": states[found.plan.endpoint(cell)]}
        for cell in found.plan.paths
        for score in cell_scores(found, verified, cell)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict(COLUMNS))


def tables(store: str | Path = "runs", study: str | None = None) -> str:
    """The tables of a study as Markdown, as `harness tables` prints them. Raises as `records`."""
    with _in_keywords():
        place = Store(Path(store))
        return read_tables(place, study or only_study(place)).markdown


def _words(name: str, values: Words | None, problems: list[str]) -> str | None:
    """An axis in the command line's words. A comma inside a value cannot be told from one between two."""
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, Iterable):
        return str(values)
    texts = [str(value) for value in values]
    problems += [f"{name} {text!r}: a value may hold no comma." for text in texts if "," in text]
    return ",".join(texts)


def _assigned(name: str, values: Mapping[str, object], problems: list[str]) -> list[str]:
    """KEY=VALUE as `--set` reads it: true, false and null are JSON's."""
    if not isinstance(values, Mapping):
        problems.append(f"{name}={values!r}: expected a mapping of names to values, as {{'transfer.epochs': 2}}.")
        return []
    return [
        f"{key}={json.dumps(value) if value is None or isinstance(value, bool) else value}"
        for key, value in values.items()
    ]


@contextmanager
def _in_keywords() -> Iterator[None]:
    """Problems name arguments as they are written here, not the command line's options."""
    try:
        yield
    except UsageError as error:
        raise UsageError([_as_keywords(problem) for problem in error.problems]) from None


def _as_keywords(problem: str) -> str:
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), problem)
