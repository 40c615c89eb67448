"""Commands that are started with some of the standard streams closed."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from grid_world import HERE, World, environment

from harness.store.store import Store
from harness.studies.study import read_study

FAKE = [sys.executable, "-P", str(HERE / "fake_stages.py")]


def shell(command: Sequence[str], closed: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run with redirections as a shell writes them."""
    line = f"{shlex.join(command)} {closed}"
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("executor", ["debug", "local"])
def test_a_grid_runs_whichever_stream_is_closed_and_writes_none_of_it_into_the_store(
    world: World, closed: str, executor: str
) -> None:
    grid = world.grid("--tasks", "sst2", "--methods", "dense", "--executor", executor)
    done = shell([*FAKE, "--", *grid], closed, world.folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert ("stages done" in done.stdout) == (closed == "2>&-")
    store = Store(world.store)
    stages = read_study(store, "slice").plan.stages
    assert all(store.stage(stage_id).read_record()["stage_id"] == stage_id for stage_id in stages)
    printed = [path for path in world.store.rglob("*") if path.is_file() and b"stages done" in path.read_bytes()]
    assert printed == []


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_wrong_command_has_its_exit_code_all_the_same(world: World, closed: str) -> None:
    done = shell([*FAKE, "--", "grid", "--models", "none-of-that-name"], closed, world.folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_file_opened_later_gets_the_number_of_no_standard_stream(world: World) -> None:
    script = (
        "import os, harness.cli.streams as s; s.open_closed_streams(); os._exit(os.open('/dev/zero', os.O_RDONLY) > 2)"
    )
    assert shell([sys.executable, "-P", "-c", script], "<&- >&- 2>&-", world.folder).returncode == 1
