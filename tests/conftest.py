"""Shared fixtures: the tiny world, made once a session."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Iterator
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


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """mounted(options) -> a small file system of its own; called again it is mounted anew, or changed by "remount,..".

    Skips where mounting is not permitted.
    """
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no mount command here")
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def pytest_collection_finish() -> None:
    """What the imports left, a few million objects, is out of the garbage collector's sight from here on.

    Accelerate collects garbage after every training, and each time walked through all of it: half of a tiny training.
    """
    gc.collect()
    gc.freeze()
