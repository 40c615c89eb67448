"""What a submission of ten thousand cells costs on the login node: seconds of CPU, memory, and calls of sbatch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from grid_world import World, environment
from stub_cluster import StubCluster
from yardstick import slowness

SEEDS = 1000  # of ten cells each
MEASURED = """
import json, resource, sys
from harness.cli.main import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)  # its ru_maxrss would have the memory of who started this process
(peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
told = {"code": code, "seconds": used.ru_utime + used.ru_stime, "megabytes": int(peak.split()[1]) / 1024}
print(json.dumps(told), file=sys.stderr)
"""


def measured(words: list[str], stub: StubCluster) -> dict[str, float]:
    """The exit code, CPU seconds and megabytes of the command, without those of the stub."""
    path = f"{stub.bin}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", MEASURED, *words],
        env={**environment(), "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return found


@pytest.mark.slow
def test_ten_thousand_cells_are_submitted_in_five_seconds_and_200_megabytes(
    world: World, stub: StubCluster, tmp_path: Path
) -> None:
    """And the same command again takes at most three, and asks sbatch nothing.

    A slower machine has longer, in proportion.
    """
    profile = tmp_path / "p.toml"
    profile.write_text("[default]\ntime = 20\n")
    words = world.grid("--seeds", ",".join(map(str, range(SEEDS))), "--profile", str(profile))
    words[words.index("debug")] = "slurm"
    slower = slowness()
    first = measured(words, stub)
    calls = len(stub.calls("sbatch"))
    again = measured(words, stub)
    print(f"first {first}, again {again}, {calls} calls of sbatch for {len(stub.tasks)} tasks; machine {slower:.1f}")
    assert first["code"] == again["code"] == 0
    assert len(stub.tasks) > 8000
    assert calls <= len({task["name"] for task in stub.tasks.values()})
    groups = {tuple(task["after"]) for task in stub.tasks.values()}
    assert calls <= 2 * len(groups) + len(stub.tasks) / 1000, "one a group of parents and a thousand tasks"
    assert first["seconds"] <= 5 * slower
    assert again["seconds"] <= 3 * slower
    assert first["megabytes"] <= 200
    assert again["megabytes"] <= 200
    assert len(stub.calls("sbatch")) == calls, "the same command again submits nothing"
