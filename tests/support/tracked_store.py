"""A store whose stages have curves, and a tracker of another package that writes lines into files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from filled_stores import finish, make_study

from harness.specs import StageSpec
from harness.studies.study import Study

LOSSES = ((40, 2.5), (80, 1.25), (100, 0.75))
RATE, STEPS, WARMUP = 0.002, 100, 20

# Of another package: appends a line to FOLDER/lines for each stage. Words in the environment make it fail.
TRACKER = """
import json, os, sys, time
from harness.tracking.trackers import Tracker

def open_study(folder, study):
    if NAME in os.environ.get("FAIL_OPEN", ""):
        raise OSError("no such host")
    return Lines(folder, study)

class Lines:
    def __init__(self, folder, study):
        self.folder, self.place, self.view = folder, f"{folder} {study}", "cat lines"

    def write(self, run):
        print("a banner on standard output")
        sys.stdout.flush()
        os.system("echo a banner of a process of its own")
        for word, action in ACTIONS.items():
            if NAME in os.environ.get(word, ""):
                action()
        with open(self.folder / "lines", "a") as file:
            file.write(json.dumps({"stage": run.stage_id, "name": run.name, "at": time.time()}) + "\\n")

    def close(self):
        if NAME in os.environ.get("FAIL_CLOSE", ""):
            raise OSError("the connection was lost")

def fail():
    raise RuntimeError("the server said no.\\nAnd more of it.")

ACTIONS = {"FAIL_WRITE": fail, "DIE": lambda: os._exit(7), "HANG": lambda: time.sleep(600)}
NAME = "NAME_HERE"
TRACKER = Tracker(name=NAME, opens=__name__ + ":open_study")
"""


def result(spec: StageSpec) -> dict[str, Any]:
    """What a trained stage's record tells of its training; student pruning has its ramp too."""
    if spec.kind in ("evaluation", "corpus", "pairs"):
        return {}
    training = {
        "steps": STEPS,
        "warmup_steps": WARMUP,
        "learning_rate": RATE,
        "tokens_seen": 1000,
        "seconds": 3.5,
        "loss_curve": [{"step": step, "loss": loss} for step, loss in LOSSES],
    }
    counts = {"encoder": 0.5, "encoder_zeros": 1, "encoder_numel": 2, "zeros_by_matrix": {"a": 1}}
    found: dict[str, Any] = {"training": training, "sparsity": counts}
    if spec.kind == "student_pruning":
        found["schedule"] = {"ramp_begin": 0, "ramp_end": 50, "first_event": 0, "last_event": 50, "frequency": 25}
    return found


def filled(root: Path, without: Sequence[str] = (), **axes: Any) -> Study:
    study = make_study(root, **axes)
    finish(root, study, result=result, without=without)
    return study


def install_trackers(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Packages with a tracker of that name each, for this process and those that it starts."""
    for name in names:
        metadata = folder / f"tracker_{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tracker-{name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[harness.trackers]\n{name} = tracker_{name}:TRACKER\n")
        (folder / f"tracker_{name}.py").write_text(TRACKER.replace("NAME_HERE", name))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")


def lines_of(folder: Path, name: str) -> list[Mapping[str, Any]]:
    """What a tracker wrote into its folder below `folder`."""
    path = folder / name / "lines"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
