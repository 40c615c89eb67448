"""What comes from the hub is declared with a commit; a branch, a tag or a short hash is refused where it is written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.identity import require_commit
from harness.inputs.data_sources import HUB_ROWS, WIKIPEDIA
from harness.inputs.hub import HubSource
from harness.tasks import TASKS

COMMIT = "86b5e0934494bd15c9632b12f734a8a67f723594"
UNPINNED = [
    "main",
    "v1.0",
    "refs/pr/3",
    COMMIT[:12],
    COMMIT + "0",
    COMMIT.upper(),
    COMMIT[:-1] + "g",
    COMMIT + "\n",
    "",
]


@pytest.mark.parametrize("revision", UNPINNED)
def test_an_unpinned_model_is_refused_with_its_name(revision: str) -> None:
    with pytest.raises(ValueError, match=r"model google-bert/bert-base-uncased: revision .* is not pinned") as caught:
        HubSource(repository="google-bert/bert-base-uncased", revision=revision)
    assert repr(revision) in str(caught.value)
    assert "40 hexadecimal digits of a commit" in str(caught.value)


@pytest.mark.parametrize("revision", UNPINNED)
def test_an_unpinned_task_is_refused_with_its_name(revision: str) -> None:
    with pytest.raises(ValueError, match=r"task 'squad' \(rajpurkar/squad\): revision .* is not pinned"):
        replace(TASKS["squad"], hub_revision=revision)


def test_a_commit_is_taken() -> None:
    assert HubSource(repository="r", revision=COMMIT).revision == COMMIT
    assert replace(TASKS["squad"], hub_revision=COMMIT).hub_revision == COMMIT
    require_commit("the corpus", WIKIPEDIA[2])


def test_the_rows_of_every_shipped_tasks_splits_are_known() -> None:
    assert {f"{task.name}/{split}" for task in TASKS.values() for split in task.splits} == HUB_ROWS.keys()
