"""What a stage's code can do wrong beside raising an Exception: it is that stage that fails, and the place is told."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from grid_world import World, of_kind, plan

from harness.execution.executors import run_in_process
from harness.planning.kinds import KINDS
from harness.stages.context import Resources, Sources, StageContext, StageResult
from harness.store.store import Store
from harness.worker.stage_call import StageFault, call_stage

Call = Callable[..., StageResult]

MODULE = """
from harness.stages.context import StageResult

class Own(BaseException):
    pass

def run(context):
    {body}
"""
LINE = 8  # of the body
SAVE = "(context.artifact / 'config.json').touch(); (context.artifact / 'model.safetensors').touch(); "


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """called(body, work=..) -> what `call_stage` makes of a kind whose function has that body."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "artifact").mkdir()

    def made(body: str, work: str = "data") -> StageResult:
        (tmp_path / "odd_stage.py").write_text(MODULE.format(body=body))
        sys.modules.pop("odd_stage", None)
        context: Any = SimpleNamespace(artifact=tmp_path / "artifact")
        return call_stage(replace(KINDS["dense"], run="odd_stage:run", work=work), context)

    yield made
    sys.modules.pop("odd_stage", None)


BAD = {
    "leaves in order": ("raise SystemExit(0)", "its run raised SystemExit: 0 ({line})"),
    "leaves": ("import sys; sys.exit('so')", "its run raised SystemExit: so ({line})"),
    "an exception of its own": ("raise Own('hello')", "its run raised Own: hello ({line})"),
    "a generator's": ("raise GeneratorExit", "its run raised GeneratorExit ({line})"),
    "nothing": ("pass", "its run returned None, expected a StageResult ({begin})"),
    "a dictionary": ("return {}", "its run returned a value of type dict, expected a StageResult ({begin})"),
    "no list of texts": ("return StageResult(did=3)", "did is a value of type int, expected a list of texts ({begin})"),
    "a text": ("return StageResult(did='all')", "did is the text 'all', expected a list of texts ({begin})"),
    "no dictionary": ("return StageResult(metrics=[1])", "metrics is a value of type list, expected a dictionary"),
    "NaN": ("return StageResult(metrics=dict(x=float('nan')))", "a StageResult in which metrics.x is NaN ({begin})"),
    "infinite": ("return StageResult(details=dict(a=[1, dict(b=1e999)]))", "in which details.a.1.b is infinite"),
    "an object": ("return StageResult(details=dict(o=object()))", "in which details.o is a value of type object,"),
    "a key": ("return StageResult(details={(1, 2): 3})", "in which details has a value of type tuple as a key"),
    "a taken name": ("return StageResult(details=dict(metrics={}))", "in which details.metrics is of no use: "),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD)
def test_it_is_a_fault_of_the_stage_with_its_place(called: Call, tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(StageFault) as caught:
        called(body)
    path = tmp_path / "odd_stage.py"
    assert message.format(line=f"{path}:{LINE}", begin=f"{path}:{LINE - 1}") in str(caught.value)


@pytest.mark.parametrize("work", ["training", "pretraining", "conversion"])
@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("", "nothing"),
        ("(context.artifact / 'config.json').touch(); ", "config.json"),
        ("context.artifact.rmdir(); ", "nothing"),
    ],
)
def test_a_kind_that_makes_a_model_leaves_one(called: Call, work: str, body: str, found: str) -> None:
    with pytest.raises(StageFault, match=rf"^it left no model: expected config.json and .*, found {found} \("):
        called(body + "return StageResult()", work)


def test_what_a_record_can_hold_passes(called: Call) -> None:
    result = called(
        SAVE + "return StageResult(metrics={'x': 0.5}, details={'a': [1, 'b', None, {'c': (True,)}]})", "training"
    )
    assert result.metrics == {"x": 0.5}
    assert called("return StageResult(did=['made data'])", "data").did == ["made data"]


def test_an_interrupt_is_the_users_but_in_a_process_that_ignores_it(
    called: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)  # whoever started the tests
    with pytest.raises(KeyboardInterrupt):
        called("raise KeyboardInterrupt")
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    with pytest.raises(StageFault, match=r"^its run raised KeyboardInterrupt \("):
        called("raise KeyboardInterrupt")


def test_in_one_process_a_stage_that_leaves_has_failed_and_the_rest_goes_on(
    store: Store, fakes: ModuleType, tmp_path: Path
) -> None:
    def leave(context: StageContext) -> None:
        sys.exit(0)

    planned = plan(tasks=["sst2"])
    fakes.ACTIONS["dense"] = leave
    said: list[str] = []
    outcome = run_in_process(planned, store, Sources(models={}, data=tmp_path), Resources(), said.append)  # type: ignore[arg-type]
    (dense,) = of_kind(planned, "dense")
    assert outcome.failed.keys() == {dense}
    assert outcome.failed[dense].startswith("its run raised SystemExit: 0 (")
    assert len(outcome.done) == 6
    assert any(line.startswith("failed: ") and "SystemExit" in line for line in said)
    assert [attempt.outcome for attempt in store.stage(dense).attempts()] == ["code"]


def test_the_command_says_so_and_ends_with_1(run_harness: Any, world: World, fakes: ModuleType) -> None:
    fakes.ACTIONS["dense"] = lambda context: sys.exit(0)
    done = run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    assert done.code == 1
    assert re.search(r"failed: .*: its run raised SystemExit: 0 \(.*test_stage_call.py|fake_stages.py:\d+\)", done.err)
