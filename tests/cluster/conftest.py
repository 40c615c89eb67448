"""A real SLURM for the tests of this folder: one cluster for all of them, emptied after each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.devcluster.cluster import Cluster, temporary
from slurm.devcluster.machine import problem_here


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is marked `cluster` and `slow`, so that none starts a cluster among the fast ones."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("cluster")
            item.add_marker("slow")


@pytest.fixture(scope="session")
def real_slurm() -> None:
    """Skips where this machine cannot run one, and says why."""
    problem = problem_here()
    if problem is not None:
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def _cluster(real_slurm: None) -> Iterator[Cluster]:
    with temporary() as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Cluster) -> Iterator[Cluster]:
    """Two nodes, n1 and n2, of four slots, with accounting. What a test leaves broken is mended after it."""
    yield _cluster
    _cluster.mend()
    _cluster.cancel_all()
