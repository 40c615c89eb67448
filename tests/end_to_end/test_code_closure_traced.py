"""The source a kind is said to rest on, held against what ran: every function of ours that any stage called."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import tiny_world

from harness.cli import main as cli
from harness.planning.kinds import KINDS, StageKind
from harness.stages import latency
from harness.worker.code_closure import COMPUTES, project_tree


@pytest.mark.slow
def test_no_function_runs_in_a_stage_that_its_kind_does_not_count(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = project_tree()
    module_of = {str(path): module for name in COMPUTES for module, path in tree.files(name).items()}
    ran: dict[str, set[str]] = defaultdict(set)
    plain = StageKind.function

    def traced(kind: StageKind) -> Any:
        def look(frame: FrameType, event: str, argument: object) -> None:
            if event == "call" and (module := module_of.get(frame.f_code.co_filename)) is not None:
                outermost = frame.f_code.co_qualname.partition(".")[0]
                if not outermost.startswith("<"):  # a module's own body, on its import
                    ran[kind.name].add(f"{module}:{outermost}")

        def run(context: Any) -> Any:
            function = plain(kind)
            sys.setprofile(look)
            try:
                return function(context)
            finally:
                sys.setprofile(None)

        return run

    monkeypatch.setattr(StageKind, "function", traced)
    folder = tiny_world.make_sparse(tmp_path / "sparse", tiny.model, 0.7)
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, tmp_path / "runs")
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, "--sparse-from", f"mine={folder}", "--tasks", "sst2", "--study", "mine"]) == 0
    stored = ["--set", "common.teacher_logits=stored", "--tasks", "sst2,squad", "--study", "stored"]
    assert cli.main([*arguments, *stored]) == 0
    two = [each for each in latency.RUNTIMES if each.name in ("torch fp32", "onnxruntime int8")]
    monkeypatch.setattr(latency, "RUNTIMES", two)  # each begins a process, which is not traced
    measured = ["--measures", "packing,latency", "--set", "latency.sizes=1x8", "--set", "latency.seconds=0.01"]
    one = ["--methods", "dense", "--tasks", "sst2", "--quantization", "none,int8", "--study", "measured"]
    assert cli.main([*arguments, *measured, *one]) == 0
    assert ran.keys() == KINDS.keys()
    for name, functions in ran.items():
        assert len(functions) > 5
        assert functions <= tree.closure(KINDS[name].run).keys(), name
