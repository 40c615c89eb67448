"""Stage functions without torch: they write a small artifact and made-up numbers, and can be told to misbehave.

As a program: `python fake_stages.py [KIND=sleep] -- ARGUMENTS` is the command line on these stages.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.kinds import KINDS
from harness.tasks import get_task
from harness.worker import StageContext, StageResult

CALLS: list[str] = []  # stage ids, in the order they ran in this process
ACTIONS: dict[str, Callable[[StageContext], None]] = {}  # what a kind does before it writes anything
FAKE_KINDS = {name: replace(kind, run="fake_stages:run") for name, kind in KINDS.items()}
SHARE, PERCENT = 0.5, 50.0


def run(context: StageContext) -> StageResult:
    spec = context.spec
    CALLS.append(spec.stage_id)
    (context.artifact / "half-written.txt").write_text("begun")
    if spec.kind in ACTIONS:
        ACTIONS[spec.kind](context)
    (context.artifact / "half-written.txt").unlink()
    (context.artifact / "weights").mkdir()
    (context.artifact / "weights" / "model.txt").write_text(f"{spec.kind} {spec.stage_id}")
    if spec.kind == "evaluation":
        task = get_task(context.parameters["task"])
        value = PERCENT if task.kind == "extractive-qa" else SHARE
        metrics = {reported: dict.fromkeys(task.metrics, value) for _, reported in task.evaluation_splits}
        return StageResult(metrics=metrics, did=["scored"], details={"cell_sparsity": 0.85})
    if spec.kind == "sparse_checkpoint":
        counted = {"encoder": SHARE, "encoder_zeros": 1, "encoder_numel": 2}
        return StageResult(did=["took"], details={"checkpoint": {"source": "elsewhere"}, "sparsity": counted})
    metrics = {"mlm_accuracy": 0.25, "mlm_correct": 1, "mlm_positions": 4}
    return StageResult(metrics=metrics, did=[f"ran {spec.kind}"], details={"training": {"tokens_seen": 1000}})


def sleep(context: StageContext) -> None:
    """Long enough to be killed in; a file beside the checkpoints says that it began."""
    (context.checkpoints / "begun").write_text("1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.02)


if __name__ == "__main__":
    sys.modules["fake_stages"] = sys.modules["__main__"]  # the worker imports this module by name
    from harness.cli import main

    assert Path(__file__).stem == "fake_stages"
    KINDS.update(FAKE_KINDS)
    told, arguments = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    ACTIONS.update({word.removesuffix("=sleep"): sleep for word in told})
    sys.exit(main(arguments))
