"""Shared fixtures: the tiny world, made once a session."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import NamedTuple

import pytest


class World(NamedTuple):
    model: Path
    data: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from tiny_world import make_data, make_model

    folder = tmp_path_factory.mktemp("world")
    return World(make_model(folder / "model"), make_data(folder / "data"))


def pytest_collection_finish() -> None:
    """What the imports left, a few million objects, is out of the garbage collector's sight from here on.

    Accelerate collects garbage after every training, and each time walked through all of it: half of a tiny training.
    """
    gc.collect()
    gc.freeze()
