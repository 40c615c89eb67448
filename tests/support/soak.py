"""Runs the faults on the dev cluster again and again, and writes what came of each: `python soak.py --log FILE`."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

from grid_world import ROOT
from tabulate import tabulate

from slurm.devcluster.daemons import SYSTEM_PATH

FAULTS = ROOT / "tests" / "cluster" / "test_faults.py"


def run_once(report: Path, at_once: int) -> dict[str, str]:
    """Every scenario by its name with its seconds, or why it has none."""
    words = ["--numprocesses", str(at_once), "--dist", "load", f"--junitxml={report}", str(FAULTS)]
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, check=False)
    return read_report(report.read_text())


def read_report(text: str) -> dict[str, str]:
    """text: JUnit's XML, as pytest writes it. The seconds are of the test itself and its fixtures."""
    found: dict[str, str] = {}
    for case in ElementTree.fromstring(text).iter("testcase"):
        problems = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        name = case.attrib["name"].removeprefix("test_").replace("_", " ")
        found[name] = problems[0] if problems else f"{float(case.attrib['time']):.0f}"
    return found


def log_text(rounds: Sequence[dict[str, str]], head: str, seconds: Sequence[float]) -> str:
    """The log: a line for each scenario, a column for each round."""
    names = list(dict.fromkeys(name for found in rounds for name in found))
    rows = [[name, *(found.get(name, "missing") for found in rounds)] for name in names]
    rows.append(["all, side by side", *(f"{each:.0f}" for each in seconds)])
    table = tabulate(rows, ["seconds of", *(f"round {n}" for n, _ in enumerate(rounds, 1))], disable_numparse=True)
    bad = sum(not cell.isdigit() for found in rounds for cell in found.values())
    return f"{head}\n\n{table}\n\n{f'{bad} did not pass' if bad else 'all passed'}\n"


def head() -> str:
    """When and with what."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    slurm = subprocess.run(["slurmctld", "-V"], env={"PATH": SYSTEM_PATH}, capture_output=True, text=True).stdout
    versions = f"{slurm.strip()}, submitit {metadata.version('submitit')}, Python {platform.python_version()}"
    return f"{time.strftime('%Y-%m-%d')}, commit {commit.strip()}, {versions}, {len(os.sched_getaffinity(0))} cores"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=2, help="scenarios side by side, each on a cluster of its own")
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    rounds, seconds = [], []
    for number in range(options.times):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            rounds.append(run_once(Path(folder) / f"{number}.xml", options.at_once))
            seconds.append(time.monotonic() - began)
    text = log_text(rounds, head(), seconds)
    options.log.write_text(text)
    print(text)
    return 0 if "all passed" in text else 1


if __name__ == "__main__":
    sys.exit(main())
