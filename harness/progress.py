"""How far a running stage is, for whoever watches, and whether it is to go on: what stands between its loops and us.

Progress is a small file beside its attempt, for this machine or another.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

from harness.errors import Interrupted
from harness.identity import parse_json

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def _never() -> bool:
    return False


@dataclass(frozen=True)
class StopFlag:
    """Ends a loop of a stage between two of its items once a stop is requested: each of them raises Interrupted.

    What it is put around yields, returns and writes what it would without. is_set: asked before each item; it is cheap.
    Without one there is no stop. So it is in another process, and where the library pickles a function for its digest.
    """

    is_set: Callable[[], bool] = _never

    def __reduce__(self) -> tuple[type[StopFlag], tuple[()]]:
        return StopFlag, ()

    def over(self, items: Iterable[Item], what: str) -> Iterator[Item]:
        """The items one by one. what: they are, for the sentence that says where it stopped."""
        of = f" of {len(items)}" if isinstance(items, Sized) else ""
        for done, item in enumerate(items):
            self.check(lambda: f"{done}{of} {what}")  # noqa: B023
            yield item

    def between(self, calls: Callable[Arguments, Result], what: str) -> Callable[Arguments, Result]:
        """The function, for a library that calls it in a loop of its own. what: its calls do."""
        calls_done = [0]

        @functools.wraps(calls)
        def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
            self.check(lambda: f"{calls_done[0]} {what}")
            calls_done[0] += 1
            return calls(*arguments, **options)

        return call

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[BinaryIO]:
        """A file to write to, for a library that writes in a loop of its own."""
        with io.BufferedWriter(_StoppableFile(path, "w", self)) as file:
            yield file

    @contextlib.contextmanager
    def reading(self, path: Path) -> Iterator[io.BufferedReader]:
        """A file to read from, in the same way."""
        raw: io.RawIOBase = _StoppableFile(path, "r", self)
        with io.BufferedReader(raw) as file:
            yield cast(io.BufferedReader, file)

    def check(self, where: Callable[[], str]) -> None:
        """Raises Interrupted if the flag is set. where: after what it stopped."""
        if self.is_set():
            raise Interrupted(f"stopped after {where()}.")


NEVER = StopFlag()


class _StoppableFile(io.FileIO):
    def __init__(self, path: Path, mode: str, stops: StopFlag) -> None:
        super().__init__(path, mode)
        self._stops, self._path = stops, path

    def write(self, data: Any) -> int:
        self._check("writing")
        return super().write(data)

    def readinto(self, buffer: Any) -> int:
        self._check("reading")
        return super().readinto(buffer)

    def _check(self, doing: str) -> None:
        self._stops.check(lambda: f"{doing} {self.tell():,} bytes of {self._path.name}")


@dataclass(frozen=True, kw_only=True)
class StageProgress:
    """step of steps: optimizer steps, or batches that are scored. seconds_left: at the pace so far.

    loss: mean of the last steps; None where nothing is trained. tokens: trained on so far.
    """

    step: int
    steps: int
    seconds_left: float
    loss: float | None = None
    tokens: int | None = None

    def __str__(self) -> str:
        loss = "" if self.loss is None else f", loss {self.loss:.4f}"
        left = f", {about(self.seconds_left)} left" if self.step < self.steps else ""
        return f"step {self.step} of {self.steps}{loss}{left}"


@dataclass
class ProgressFile:
    """Writes the newest progress, at most every `seconds`. It only informs: a full disk does not end the stage."""

    path: Path
    seconds: float
    _written: float = field(default=float("-inf"))

    def __call__(self, progress: StageProgress) -> None:
        now = time.monotonic()
        if now - self._written < self.seconds:
            return
        self._written = now
        beside = self.path.with_suffix(".progress.new")
        with contextlib.suppress(OSError):
            beside.write_text(json.dumps(asdict(progress)))
            beside.replace(self.path)


def read_progress(path: Path) -> StageProgress | None:
    """The newest progress; None where there is none."""
    try:
        return StageProgress(**parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def duration(seconds: float) -> str:
    """What something took: "8 s", "1 min 05 s", "2 h 05 min"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def about(seconds: float) -> str:
    """What something will take, as roughly as one can tell: "a few seconds", "about 20 s", "about 3 min"."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 95:
        return f"about {round(seconds / 10) * 10} s"
    if seconds < 95 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {round(seconds / 1800) / 2:g} h"
