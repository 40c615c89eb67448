"""Calls into a method's own code: the one place that says what it did wrong, and where.

The code of another package can raise, leave the process, call itself without end, or return something else than was
asked for. All of these are problems of that package: one UsageError, which names it and the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.errors import Problem, UsageError
from harness.planning.chain import Chain
from harness.planning.foreign_code import begin_of, place_of, shown, told, unheard
from harness.planning.method import Method
from harness.planning.recipe import WrongCall
from harness.specs import StageSpec

NEXT_MOVE = "Mend the package, or leave the method out."


class MethodFault(UsageError):
    """A method's own code failed. what: the code, as a sentence calls it. did: what it did. place: its file and line.

    Faults of one `source` are one, told by the first cell that has it.
    """

    def __init__(self, what: str, did: str, place: str, cell: str, expected: str | None = None) -> None:
        self.source = (what, place)
        super().__init__(Problem(f"{what}{did} ({place}), as for {cell}", expected=expected, next_move=NEXT_MOVE))


def model_stage(method: Method, chain: Chain, foreign: str | None) -> StageSpec:
    """Let a method add the stages of the chain's cell; returns the one whose artifact is the cell's model.

    foreign: how a sentence calls a method of another package; None: it is built in, and its errors are ours.
    Raises UsageError: MethodFault where a foreign method's own code is at fault.
    """
    model = _added(method.stages, (chain,), chain, foreign and f"{foreign}: its stages")
    if chain.cell.quantization == "int8":
        model = _added(method.quantize, (chain, model), chain, foreign and f"{foreign}: its quantize")
    return model


def _added(function: Callable[..., StageSpec], arguments: tuple[Any, ...], chain: Chain, what: str | None) -> StageSpec:
    if what is None:
        return function(*arguments)
    cell = str(chain.cell)
    with faults_of(function, what, cell):
        returned = function(*arguments)
        problem = _not_a_model(returned, chain)
    if problem is not None:
        expected = "the stage that makes the cell's model, as chain.transfer(..) returns it"
        raise MethodFault(what, f" returned {problem}", begin_of(function), cell, expected)
    return returned


def _not_a_model(returned: object, chain: Chain) -> str | None:
    """What was returned where it is no stage that makes the cell's model."""
    if not isinstance(returned, StageSpec):
        return shown(returned)
    if returned.stage_id not in chain.plan.stages:
        return f"a stage {returned.kind} that it did not add to the chain"
    if (task := returned.parameters.get("task", chain.cell.task)) != chain.cell.task:
        return f"a stage {returned.kind} on another task, {task}"
    if not chain.kind(returned.kind).makes_model:
        return f"a stage {returned.kind}, which makes no model"
    return None


@contextmanager
def faults_of(function: Callable[..., Any], what: str, cell: str) -> Iterator[None]:
    """What another package's `function` raises in the block becomes a MethodFault; what: how a sentence calls it.

    A UsageError that the user can mend passes, and so does Ctrl-C. What the block prints goes nowhere.
    """
    try:
        with unheard():
            yield
    except WrongCall as error:
        raise MethodFault(what, f": {str(error).rstrip('.')}", _place(function, error), cell) from error
    except (UsageError, KeyboardInterrupt):
        raise
    except RecursionError as error:
        raise MethodFault(what, " called itself without end", _place(function, error), cell) from error
    except BaseException as error:
        raise MethodFault(what, f" raised {told(error)}", _place(function, error), cell) from error


def _place(function: Callable[..., Any], error: BaseException) -> str:
    """file:line of the other package's code: where the error passed last, else where the function begins."""
    return place_of(error, str(getattr(function, "__module__", ""))) or begin_of(function)
