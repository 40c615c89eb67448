"""Stages without torch, a small world on disk, and the command line in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import fake_stages
import pytest
from core_world import Ran, World, make_world

from harness.cli import main
from harness.kinds import KINDS
from harness.store import Store


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Every stage kind runs its fake; none misbehaves until ACTIONS says so."""
    for name, kind in fake_stages.FAKE_KINDS.items():
        monkeypatch.setitem(KINDS, name, kind)
    fake_stages.CALLS.clear()
    fake_stages.ACTIONS.clear()
    yield fake_stages
    fake_stages.ACTIONS.clear()


@pytest.fixture
def run_harness(capsys: pytest.CaptureFixture[str], fakes: ModuleType) -> Iterator[Callable[[Sequence[str]], Ran]]:
    """run_harness(arguments) -> exit code and what was printed. A grid that starts runs the fakes."""
    logger = logging.getLogger("harness")
    before = list(logger.handlers)

    def run(arguments: Sequence[str]) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        return Ran(code, *capsys.readouterr())

    yield run
    logger.handlers[:] = before
