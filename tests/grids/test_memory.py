"""Stages that need more memory than there is are refused before they start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import grid_world
import pytest
from grid_world import HERE, Ran, World, of_kind

from harness.errors import UsageError
from harness.grids import memory
from harness.grids.memory import memory_problems
from harness.inputs.shapes import Shape
from harness.planning.graph import Plan
from harness.planning.kinds import StageKind
from harness.planning.method_registry import find_method

TARGET, KIND = "random_pruning:METHOD", "random-pruning:pruning"
# Two layers of 4 x 32 x 32 and 2 x 32 x 64 weights: 16,384.
SHAPE = Shape(layers=2, width=32, feed_forward=64, vocabulary=100, positions=16)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.syspath_prepend(HERE / "example_method")
    return grid_world.plan(f"{KIND}.epochs=2", methods=[TARGET], tasks=["sst2"], sparsities=[0.85])


def needing(monkeypatch: pytest.MonkeyPatch, needed: Callable[..., float]) -> None:
    (kind,) = find_method(TARGET).method.kinds
    changed: StageKind = replace(kind, memory=needed)
    monkeypatch.setattr(memory, "kind_of", lambda spec: changed)


def test_it_is_computed_from_the_shape_and_the_parameters(planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 bytes x 16,384 weights x batch: more than one byte less, and not more than just as much."""
    (stage_id,) = of_kind(planned, KIND)
    batch = planned.stages[stage_id].parameters["batch_size"]
    needing(monkeypatch, lambda shape, p: 4 * shape.encoder_weights * p["batch_size"])
    exact = 4 * 16_384 * batch
    assert memory_problems(planned, planned.stages, {"tiny": SHAPE}, lambda: exact) == []
    (problem,) = memory_problems(planned, planned.stages, {"tiny": SHAPE}, lambda: exact - 1)
    assert problem.startswith("random-pruning:pruning tiny sst2 0.85 seed 0 needs ")
    assert memory_problems(planned, [], {"tiny": SHAPE}, lambda: 1) == []  # it is done already
    assert memory_problems(planned, planned.stages, {"tiny": SHAPE}, lambda: None) == []


def test_the_machine_is_not_looked_at_where_no_kind_says_what_it_needs(planned: Plan) -> None:
    def refuse() -> int:
        raise AssertionError("looked")

    assert memory_problems(planned, planned.stages, {"tiny": SHAPE}, refuse) == []


def test_an_error_in_it_is_a_sentence(planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    needing(monkeypatch, lambda shape, p: p["block_size"])
    with pytest.raises(
        UsageError, match="'random-pruning:pruning': its memory raised KeyError: 'block_size' .*test_memory.py:"
    ):
        memory_problems(planned, planned.stages, {"tiny": SHAPE}, lambda: 1)


def test_a_grid_warns_in_a_dry_run_and_does_not_start(
    planned: Plan, monkeypatch: pytest.MonkeyPatch, run_harness: Callable[[Sequence[str]], Ran], world: World
) -> None:
    needing(monkeypatch, lambda shape, p: 1e18)
    words = ["--methods", TARGET, "--tasks", "sst2", "--sparsities", "0.85", "--set", f"{KIND}.epochs=2"]
    dry = run_harness(world.grid(*words, "--dry-run"))
    assert (dry.code, "needs 1,000,000,000.0 GB of memory at once" in dry.err) == (0, True)
    done = run_harness(world.grid(*words))
    assert (done.code, "needs 1,000,000,000.0 GB of memory at once" in done.err) == (2, True)
    assert not Path(world.store / "studies").exists()
    assert "random_pruning.stage" not in sys.modules
