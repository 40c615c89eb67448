"""The quick grid run anew, as shipped, on whatever processor this is: its gate, its claims of what is learned.

One store for all tests of this file, since their cells share pre-trainings; a few minutes on two cores, a quarter of an
hour on slow ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest
from grid_world import ROOT, environment

import harness
from harness.synthetic.page import CEILINGS, MARGIN

EXPECTED = ROOT / "results" / "quick" / "expected.toml"
DENSE = ("--methods", "dense", "--seeds", "0")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the study `quick`."""
    store = tmp_path_factory.mktemp("quick as shipped") / "runs"
    _grid(store)
    return store


def _grid(store: Path, *words: str) -> None:
    ran = _harness("grid", "--preset", "quick", *words, "--store", str(store))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _harness(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "harness", *words],
        env={**environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_passes_the_gate_that_another_machine_wrote(runs: Path, tmp_path: Path) -> None:
    junit = tmp_path / "gate.xml"
    check = ("check", "--expected", str(EXPECTED), "--store", str(runs), "--study", "quick")
    checked = _harness(*check, "--junit", str(junit))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "; 70 ok" in checked.stdout.splitlines()[0] or "improved" in checked.stdout.splitlines()[0]
    assert junit.read_text().count("<testcase") == 70
    found = json.loads(_harness(*check, "--json").stdout)
    print({finding["name"]: finding["p_value"] for finding in found["findings"][:5]})


def test_the_dense_encoder_is_well_above_the_ceilings(runs: Path) -> None:
    """One seed, world 0. Of the wider encoder and of worlds 1 and 7 the committed records tell (tests/results)."""
    _grid(runs, *DENSE, "--tasks", ",".join(CEILINGS), "--study", "dense")
    frame = harness.records(runs, "dense")
    frame = frame[frame["metric"].isin(["accuracy", "exact_match"])]
    assert len(frame) == len(CEILINGS)
    assert not {row.task: row.value for row in frame.itertuples() if row.value < CEILINGS[row.task][0] + MARGIN}


def test_the_demo_is_learned_by_pre_training_and_hardly_without(runs: Path) -> None:
    """One seed; tests/results holds the claims for each task and both encoders on five.

    On another processor the last bits differ, and a seed's scores with them; the mean of three tasks hardly does.
    """
    _grid(runs, *DENSE, "--set", "teacher_preparation.steps=1", "--study", "without")
    learned, untaught = (_accuracies(runs, study) for study in ("quick", "without"))
    assert set(learned) == set(untaught) == {"sst2", "qnli", "qqp"}
    assert fmean(learned.values()) >= 75
    assert fmean(learned.values()) >= fmean(untaught.values()) + 5


def _accuracies(store: Path, study: str) -> dict[str, float]:
    """Of the dense model of seed 0, by task."""
    frame = harness.records(store, study)
    frame = frame[(frame["metric"] == "accuracy") & (frame["method"] == "dense") & (frame["seed"] == 0)]
    return dict(zip(frame["task"], frame["value"], strict=True))
