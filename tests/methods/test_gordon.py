"""Pruning in pre-training without distillation, then plain fine-tuning with the pattern kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_world
from stage_runs import SETTINGS, rounds
from tiny_world import ENCODER_WEIGHTS

from harness.compression.mask import num_zeros
from harness.planning.graph import Plan
from harness.planning.method_needs import StandIn, needs
from harness.planning.method_registry import get_method
from harness.specs import Cell
from harness.store.store import Store
from harness.studies.study import read_study
from harness.testing import planned

TARGET, KIND = "methods.gordon:METHOD", "gordon:pruning"


def plan(*sparsities: float, **settings: Any) -> Plan:
    return planned(TARGET, settings={**SETTINGS, **settings}, sparsities=sparsities or [0.85])


def test_no_stage_has_a_teacher_or_a_weight_of_one() -> None:
    for spec in plan().stages.values():
        assert "teacher" not in spec.parents
        assert not {"kd_weight", "ce_weight", "temperature", "kd_positions"} & spec.parameters.keys()


def test_it_prunes_the_pre_trained_model_itself_and_fine_tunes_what_comes_of_it() -> None:
    made = plan()
    (pruning,), (transfer,) = ([made.stages[i] for i in rounds(made, kind)] for kind in (KIND, "transfer"))
    assert pruning.inputs == {"model": "weights"}
    assert set(pruning.parents) == {"pairs"}
    assert transfer.parents == {"model": pruning.stage_id}
    assert not rounds(made, "teacher_preparation")
    assert not rounds(made, "dense")


def test_a_model_with_random_weights_is_pre_trained_first() -> None:
    stand_in = StandIn(get_method("gordon"), released=False, pretrained=False)
    cell = Cell(model="m", method="gordon", sparsity=0.9, task="sst2", quantization="none", seed=0, pruning_seed=4)
    end = get_method("gordon").stages(stand_in.chain(cell))
    pruning = stand_in.plan.stages[end.parents["model"]]
    start = stand_in.plan.stages[pruning.parents["model"]]
    assert (start.kind, start.parameters["seed"], pruning.parameters["seed"]) == ("teacher_preparation", 0, 4)


def test_it_reads_the_corpus_and_another_pruning_seed_is_another_model() -> None:
    found = needs(get_method("gordon"), released=False)
    assert (found.corpus, found.pruning_seed, found.released) == (True, True, False)


def test_the_rate_is_not_rewound_whatever_a_preset_says_for_prune_ofa() -> None:
    (pruning,) = (spec for spec in plan().stages.values() if spec.kind == KIND)
    assert pruning.parameters["lr_rewind"] is False
    assert pruning.parameters["steps"] == 1600  # of the preset quick, as student_pruning


@pytest.mark.slow
def test_it_runs_and_fine_tuning_keeps_the_pattern(tiny: Any, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, store)
    arguments += ["--methods", "gordon", "--tasks", "sst2", "--sparsities", "0.85", "--quantization", "none,int8"]
    arguments += ["--set", f"{KIND}.steps=20", "--set", f"{KIND}.learning_rate=1e-3"]
    done = subprocess.run([sys.executable, "-P", "-m", "harness", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    opened = Store(store)
    stages = read_study(opened, tiny_world.STUDY).plan.stages
    records = {spec.kind: opened.stage(stage_id).read_record() for stage_id, spec in stages.items()}
    found = {kind: records[kind]["result"]["sparsity"] for kind in (KIND, "transfer", "quantization")}
    # floor(.85 * 1024) = 870 in four matrices a layer, floor(.85 * 2048) = 1740 in two.
    assert found[KIND]["encoder_zeros"] == 2 * (4 * 870 + 2 * 1740) <= num_zeros(0.85, ENCODER_WEIGHTS)
    assert len({each["pattern_sha256"] for each in found.values()}) == 1
