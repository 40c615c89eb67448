"""Every hyperparameter reaches the computation: changed alone, it changes what its stage produces.

A setting that is read nowhere, or overwritten on its way, would sit in recipe, identity and record and mean nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny_world

from harness.cli import main as cli
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import FolderData
from harness.inputs.models import find_models
from harness.planning.kinds import KINDS
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.store.store import Store
from harness.studies.study import read_study
from harness.worker.run import run_stage

# Another value for each setting, by name; SETTING[KIND.NAME] where a kind needs one of its own.
OTHER: dict[str, Any] = {
    "learning_rate": 0.0021,
    "batch_size": 4,
    "weight_decay": 0.5,
    "warmup_fraction": 0.4,
    "max_grad_norm": 0.01,
    "adam_beta1": 0.5,
    "adam_beta2": 0.9,
    "adam_epsilon": 0.01,
    "epochs": 1.0,
    "kd_positions": 0.5,
    "padding": "max_length",
    "steps": 14,
    "student_pruning.steps": 24,
    "mlm_probability": 0.4,
    "evaluation_pairs": 8,
    "ce_weight": 0.9,
    "kd_weight": 0.1,
    "temperature": 7.0,
    "initial_sparsity": 0.5,
    "ramp_begin": 0.2,
    "ramp_end": 0.3,
    "first_event": 0.3,
    "task_pruning.first_event": 0.4,
    "last_event": 0.95,
    "frequency": 0.1,
    "ranking": "global",
    "lr_rewind": False,
    "prune_pooler": False,
    "regrowth": False,
    "lock_pooler": False,
    "activation_momentum": 0.9,
    "weight_scale": "ref_max127_5",
    "quantization_begin": 0.5,
    "max_length": 8,
    "pairs.max_length": 20,
    "train_examples": 40,
    "train_subset_seed": 5,
    "short_sequence_probability": 1.0,
    "next_sentence_probability": 0.0,
    "seed": 9,
    "sparsity": 0.5,
    "shuffle_seed": 7,
}
WAIVED = {
    "precision": "tf32 needs a GPU; tests/training/test_precision.py and tests/planning/test_switches.py",
    "attention": "the kernels agree to the last bit here; tests/stages/test_loading.py looks at the model",
    "threads": "changes bits only on matrices large enough to be split",
    "teacher_logits": "changes nothing beyond rounding: tests/stages/test_teacher_logits.py",
    "sentence_splitter": "there is one so far",
    "tie_rule": "no two weights tie here; tests/training/test_switches.py makes them",
    "task": "an axis of the grid",
    "embeddings": "of a measure: tests/packed/test_checkpoint.py",
    "sizes": "of a measure of time: tests/export",
    "seconds": "of a measure of time: tests/runtimes/test_timing.py",
    "machine": "of a measure of time: tests/studies/test_measures.py",
    "model": "an axis of the grid",
    "train_subset_seed": "with all examples taken; the subset itself has its own tests",
}
TRAINED = ("teacher_preparation", "student_pruning", "dense", "task_pruning", "transfer", "quantization")
CASES = [
    (kind, name)
    for kind in ("corpus", "pairs", *TRAINED)
    for name in dict.fromkeys((*KINDS[kind].recipe, *KINDS[kind].identity, *KINDS[kind].task_data))
    if name not in WAIVED and name not in ("doc_stride", "max_query_length")
]


class Ready(NamedTuple):
    store: Store
    specs: dict[str, StageSpec]
    sources: Any


@pytest.fixture(scope="module")
def ready(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """A store in which one stage of every kind is done."""
    root = tmp_path_factory.mktemp("settings")
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, root, dense__epochs=2.0)
    arguments += ["--tasks", "sst2", "--methods", "prune-ofa,finetune-pruning", "--quantization", "int8"]
    assert cli.main(arguments) == 0
    store = Store(root)
    plan = read_study(store, tiny_world.STUDY).plan
    models = find_models([("tiny", tiny.model)], ContentHashes()).models
    specs = {spec.kind: spec for spec in plan.stages.values()}
    return Ready(store, specs, Sources(models=models, data=FolderData(tiny.data)))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda value: value)
def test_a_changed_setting_changes_what_the_stage_makes(ready: Ready, kind: str, name: str) -> None:
    spec = ready.specs[kind]
    other = OTHER.get(f"{kind}.{name}", OTHER[name])
    declared = KINDS[kind].recipe.get(name)
    default = declared.default if declared and declared.silent else None
    has = spec.parameters.get(name, default)
    assert has is not None, "the stage has no such parameter"
    assert has != other, "the other value is the value it has"
    changed = replace(spec, parameters={**spec.parameters, name: other})
    run_stage(changed, ready.store, ready.sources, Resources(), lambda: False)
    before, after = ready.store.stage(spec.stage_id).read_record(), ready.store.stage(changed.stage_id).read_record()
    if name == "evaluation_pairs":
        assert before["result"]["metrics"] != after["result"]["metrics"]
    else:
        assert before["artifact"]["digest"] != after["artifact"]["digest"]


def test_every_parameter_has_another_value_or_a_reason() -> None:
    known = {name for kind in KINDS.values() for name in (*kind.recipe, *kind.identity)}
    named = {key.rpartition(".")[2] for key in OTHER}
    assert known - named - set(WAIVED) == set()


@pytest.mark.slow
def test_padding_is_no_part_of_a_score(ready: Ready) -> None:
    spec = ready.specs["evaluation"]
    padded = replace(spec, parameters={**spec.parameters, "padding": "max_length"})
    assert spec.parameters["padding"] == "longest"
    run_stage(padded, ready.store, ready.sources, Resources(), lambda: False)
    before, after = ready.store.stage(spec.stage_id).read_record(), ready.store.stage(padded.stage_id).read_record()
    assert (before["result"], before["artifact"]["digest"]) == (after["result"], after["artifact"]["digest"])


@pytest.mark.slow
def test_the_same_stage_again_makes_the_same_artifact(ready: Ready, tmp_path: Path) -> None:
    """What the first test rests on: without a change nothing changes."""
    spec = ready.specs["task_pruning"]
    again = Store(tmp_path)
    for parent in spec.parents.values():
        again.stage(parent).record_path.parent.mkdir(parents=True, exist_ok=True)
        again.stage(parent).record_path.write_bytes(ready.store.stage(parent).record_path.read_bytes())
        again.stage(parent).artifact_path.parent.mkdir(parents=True, exist_ok=True)
        again.stage(parent).artifact_path.symlink_to(ready.store.stage(parent).artifact_path)
    run_stage(spec, again, ready.sources, Resources(), lambda: False)
    assert (
        again.stage(spec.stage_id).read_record()["artifact"]
        == ready.store.stage(spec.stage_id).read_record()["artifact"]
    )
