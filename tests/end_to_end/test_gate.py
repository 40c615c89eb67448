"""The quick grid run anew, on whatever processor this is, against the expected file that another one wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from grid_world import ROOT, environment

EXPECTED = ROOT / "results" / "quick" / "expected.toml"


@pytest.mark.slow
def test_the_quick_grid_passes_the_gate_that_another_machine_wrote(tmp_path: Path) -> None:
    def harness(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "harness", *words, "--store", str(tmp_path / "runs")],
            env={**environment(), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    ran = harness("grid", "--preset", "quick")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    junit = tmp_path / "gate.xml"
    checked = harness("check", "--expected", str(EXPECTED), "--junit", str(junit))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "; 70 ok" in checked.stdout.splitlines()[0] or "improved" in checked.stdout.splitlines()[0]
    assert junit.read_text().count("<testcase") == 70
    found = json.loads(harness("check", "--expected", str(EXPECTED), "--json").stdout)
    print({finding["name"]: finding["p_value"] for finding in found["findings"][:5]})
