"""Which trackers there are, and whether they can be written to. Naming one imports none of its packages.

Trackers are written behind the records: from what is finished, by a process of its own (`behind` starts it, `main` is
it) that gives each a `StageRun` of each stage. They enter no identity, and no stage waits for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from harness.errors import Problem, UsageError, unknown
from harness.identity import is_name
from harness.planning.foreign_code import locate, told
from harness.store.store import Store
from harness.tracking.stage_run import StageRun
from harness.wording import option, shown

GROUP = "harness.trackers"
FOLDER = "trackers"  # of a store


class Sink(Protocol):
    """One study in a tracker, open to be written.

    place: where its runs go; what was written to another place was not written here. view: how to look at them.
    """

    place: str
    view: str

    def write(self, run: StageRun) -> None:
        """Write a stage whole, in the place of what an earlier, broken try at the same record left. Raises anything."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """One tracker.

    packages: modules that must be there. extra: of this package, that brings them; "": one's own package does.
    opens: "module:function", which gets the folder for this tracker's files and the study's name and returns a `Sink`;
    it is imported and called in the process that writes.
    """

    name: str
    opens: str
    packages: tuple[str, ...] = ()
    extra: str = ""

    def absent(self) -> list[str]:
        """Its packages that are not installed."""
        return [name for name in self.packages if locate(name) is None]


BUILT_IN: Mapping[str, Tracker] = {
    tracker.name: tracker
    for tracker in (
        Tracker(
            name="tensorboard",
            opens="harness.tracking.to_tensorboard:open_study",
            packages=("tensorboard",),
            extra="tensorboard",
        ),
        Tracker(name="wandb", opens="harness.tracking.to_wandb:open_study", packages=("wandb",), extra="wandb"),
        Tracker(
            name="mlflow",
            opens="harness.tracking.to_mlflow:open_study",
            packages=("mlflow", "sqlalchemy", "alembic"),
            extra="mlflow",
        ),
        Tracker(name="trackio", opens="harness.tracking.to_trackio:open_study", packages=("trackio",), extra="trackio"),
    )
}


def find_tracker(name: str) -> Tracker:
    """The tracker of that name. Raises UsageError where there is none, or another package's cannot be used."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    points = {point.name: point for point in entry_points(group=GROUP) if is_name(point.name)}
    if name not in points:
        raise UsageError(unknown("tracker", name, {*BUILT_IN, *points}))
    where, mend = f"tracker {name!r}: entry point {points[name].value}", "Mend or uninstall its package."
    try:
        found = points[name].load()
    except Exception as error:  # whatever their code does on import
        raise UsageError(f"{where} cannot be loaded ({told(error)}). {mend}") from error
    if not isinstance(found, Tracker) or found.name != name:
        raise UsageError(f"{where} is {shown(found)}, expected a Tracker named {name!r}. {mend}")
    return found


def default_folder(store: Store) -> Path:
    """Where trackers write when nobody names a folder."""
    return store.root / FOLDER


def track_problems(names: Iterable[str], folder: Path, of: str = "track") -> list[Problem]:
    """What keeps these trackers from being written to; each by its name, missing packages with how to get them.

    Writes nothing. folder: of all of them. of: the option that names them.
    """
    found: list[Problem] = []
    for name in names:
        try:
            tracker = find_tracker(name)
        except UsageError as error:
            found += [Problem(each.found, of, each.expected, each.next_move) for each in error.problems]
            continue
        if absent := tracker.absent():
            extra = f"'encoder-compression-harness[{tracker.extra}]'" if tracker.extra else " ".join(absent)
            what = f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"
            found.append(Problem(f"{option(of)} {name}: {what}", of, next_move=f"pip install {extra}"))
    if not found and (problem := _folder_problem(folder)):
        found.append(problem)
    return found


def _folder_problem(folder: Path) -> Problem | None:
    """Why nothing can be written below a folder that may not be there yet; a full disk shows when it is written."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        why = f"{nearest} is a file" if nearest.exists() else f"{nearest} is a link to nothing"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        why = f"{nearest} cannot be written"
    else:
        return None
    move = "Name a folder that can be written: harness track --to NAME --out DIR."
    return Problem(f"the trackers' folder {folder}: {why}", "out", next_move=move)
