"""Calls of a kind's function: the one place that says what a stage's code did wrong beside raising an Exception.

The code may be another package's. It may leave the process, return something that is no result, or leave no model where
its kind makes one: the stage itself has failed then, not the next one, which would stumble over it.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.planning.foreign_code import begin_of, place_of, shown, told
from harness.planning.kinds import StageKind
from harness.stages.context import StageContext, StageResult

MODEL_FILES = ("config.json", "model.safetensors")  # what the next stage loads
MOST_NAMES = 5
_TAKEN = ("metrics", "did")  # beside which the details stand in the record


class StageFault(HarnessError):
    """A stage's code did what no stage may do; the message names the place."""


def call_stage(kind: StageKind, context: StageContext) -> StageResult:
    """The result of the kind's function, which a record can hold; its artifact holds a model where the kind makes one.

    Raises StageFault for anything else, and what the function raises if that is an Exception.
    """
    try:
        function = kind.function()
        result = function(context)
    except BaseException as error:
        if isinstance(error, Exception) or _is_ctrl_c(error):
            raise
        place = place_of(error, kind.run.partition(":")[0]) or kind.run
        raise StageFault(f"its run raised {told(error)} ({place})") from error
    if not isinstance(result, StageResult):
        raise StageFault(f"its run returned {shown(result)}, expected a StageResult ({begin_of(function)})")
    if problem := next(_problems(result), None):
        raise StageFault(f"its run returned a StageResult in which {problem} ({begin_of(function)})")
    if kind.makes_model and (found := _without_model(context.artifact)) is not None:
        raise StageFault(
            f"it left no model: expected {' and '.join(MODEL_FILES)} in context.artifact, found {found} "
            f"({begin_of(function)})"
        )
    return result


def _is_ctrl_c(error: BaseException) -> bool:
    """Whether it can be the user's: a worker process ignores that signal."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _problems(result: StageResult) -> Iterator[str]:
    """What a record cannot hold."""
    if not isinstance(result.did, list) or not all(isinstance(text, str) for text in result.did):
        yield f"did is {shown(result.did)}, expected a list of texts"
    for name, value in {"metrics": result.metrics, "details": result.details}.items():
        if not isinstance(value, dict):
            yield f"{name} is {shown(value)}, expected a dictionary"
        else:
            yield from _not_json(name, value)
    yield from (f"details.{name} is of no use: a record has {name} of its own" for name in _TAKEN if _has(result, name))


def _has(result: StageResult, name: str) -> bool:
    return isinstance(result.details, dict) and name in result.details


def _not_json(name: str, value: Any) -> Iterator[str]:
    """Each value below `name` that JSON has no form for, by its dotted name."""
    if isinstance(value, dict):
        for key, below in value.items():
            if not isinstance(key, str | int):
                yield f"{name} has {shown(key)} as a key, expected texts"
            else:
                yield from _not_json(f"{name}.{key}", below)
    elif isinstance(value, list | tuple):
        for position, below in enumerate(value):
            yield from _not_json(f"{name}.{position}", below)
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{name} is {'NaN' if math.isnan(value) else 'infinite'}"
    elif not (value is None or isinstance(value, str | int)):
        yield f"{name} is {shown(value)}, expected numbers, texts, and lists and dictionaries of them"


def _without_model(artifact: Path) -> str | None:
    """What is in the folder instead of a model; None where there is one."""
    if all((artifact / name).is_file() for name in MODEL_FILES):
        return None
    names = sorted(path.name for path in artifact.iterdir()) if artifact.is_dir() else []
    more = ", .." if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more or "nothing"
