"""Every family beside BERT and DistilBERT through the real stages, one of them declared by the page for authors.

Facts are counted here from the artifacts: zeros by hand, the pattern from the weights, what is rounded from the codes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import family_toys
import pytest
import tiny_world
import torch
import transformers
from family_toys import LAYERS, TOYS, Toy
from safetensors.torch import load_file

from harness.cli import main as cli
from harness.inputs.declared_families import family_in
from harness.specs import StageSpec
from harness.stages.loading import family_of
from harness.store.store import Store
from harness.studies.study import read_study

SHORT = {
    "teacher_preparation__steps": 4,
    "dense__epochs": 1.0,
    "transfer__epochs": 1.0,
    "quantization__epochs": 0.5,
}
# The task of each: the ModernBERT that answers questions has no module of its own for it, and the byte-level tokenizers
# give other offsets; the rest classify.
TASKS = {"modernbert": "squad", "roberta": "sst2,squad"}


class Chain(NamedTuple):
    toy: Toy
    model: Path
    store: Store
    stages: dict[str, StageSpec]

    def of(self, kind: str) -> list[str]:
        return [stage_id for stage_id, spec in self.stages.items() if spec.kind == kind]

    def artifact(self, stage_id: str) -> Path:
        return self.store.stage(stage_id).artifact_path

    def result(self, stage_id: str) -> Any:
        return self.store.stage(stage_id).read_record()["result"]

    @property
    def encoder(self) -> dict[str, int]:
        """Weights of the prunable matrices by name, from the toy's own list."""
        config = json.loads((self.artifact(self.of("student_pruning")[0]) / "config.json").read_text())
        family = family_in(config)
        layers = [f"{family.backbone}.{family.layers.format(i=i)}" for i in range(LAYERS)]
        return {f"{layer}.{name}": size for layer in layers for name, size in self.toy.matrices.items()}

    def zeros(self, stage_id: str) -> dict[str, torch.Tensor]:
        weights = load_file(self.artifact(stage_id) / "model.safetensors")
        return {name: weights[f"{name}.weight"] == 0 for name in self.encoder}


@pytest.fixture(scope="module", params=TOYS)
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    model = family_toys.make(folder / "model", name)
    arguments = tiny_world.grid_arguments(
        model, tiny_world.make_data(folder / "data"), folder / "runs", common__attention=TOYS[name].attention, **SHORT
    )
    asked = ["--methods", "prune-ofa", "--quantization", "none,int8", "--tasks", TASKS.get(name, "sst2")]
    assert cli.main([*arguments, *asked, "--seeds", "0", "--measures", "packing"]) == 0
    store = Store(folder / "runs")
    return Chain(TOYS[name], model, store, dict(read_study(store, tiny_world.STUDY).plan.stages))


@pytest.mark.slow
def test_masked_lm_alone_trains_the_teacher_and_the_student(chain: Chain) -> None:
    for kind in ("teacher_preparation", "student_pruning"):
        (stage,) = chain.of(kind)
        metrics = chain.result(stage)["metrics"]
        assert metrics["mlm_positions"] > 0
        assert not any(name.startswith("nsp") for name in metrics)


@pytest.mark.slow
def test_pruning_leaves_exactly_floor_of_the_share(chain: Chain) -> None:
    (pruned,) = chain.of("student_pruning")
    zeros = {name: int(found.sum()) for name, found in chain.zeros(pruned).items()}
    assert zeros == {name: int(0.85 * size + 1e-9) for name, size in chain.encoder.items()}
    assert chain.result(pruned)["did"][0] == f"masked {len(zeros)} of {len(zeros)} encoder matrices"
    teacher = chain.zeros(chain.of("teacher_preparation")[0])
    assert sum(int(found.sum()) for found in teacher.values()) == 0


@pytest.mark.slow
def test_transfer_and_quantization_keep_the_pattern(chain: Chain) -> None:
    pattern = chain.zeros(chain.of("student_pruning")[0])
    for stage in (*chain.of("transfer"), *chain.of("quantization")):
        found = chain.zeros(stage)
        assert all(bool(found[name][zeros].all()) for name, zeros in pattern.items())
    for stage in chain.of("transfer"):
        assert all(torch.equal(chain.zeros(stage)[name], zeros) for name, zeros in pattern.items())


@pytest.mark.slow
def test_every_linear_is_in_8_bits_and_residual_branches_stay_fp32(chain: Chain) -> None:
    pattern = chain.zeros(chain.of("student_pruning")[0])
    for stage in chain.of("quantization"):
        codes = load_file(chain.artifact(stage) / "int8.safetensors")
        assert all(bool((codes[f"{name}.codes"][zeros] == 0).all()) for name, zeros in pattern.items())
        task = chain.stages[stage].parameters["task"]
        auto = transformers.AutoModelForQuestionAnswering if task == "squad" else None
        model = (auto or transformers.AutoModelForSequenceClassification).from_pretrained(chain.artifact(stage))
        linears = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
        assert {name.removesuffix(".codes") for name in codes if name.endswith(".codes")} == linears
        requantised = {key.removesuffix(".output_scale") for key in codes if key.endswith(".output_scale")}
        assert requantised == {name for name in chain.encoder if name.endswith(chain.toy.requantised)}


@pytest.mark.slow
def test_int8_is_scored_from_its_integers_and_packed(chain: Chain) -> None:
    scored = [chain.result(stage) for stage in chain.of("evaluation")]
    assert any("int8 codes, frozen scales" in result["did"][0] for result in scored)
    numel = sum(chain.encoder.values())
    assert {result["artifact_sparsity"]["encoder_numel"] for result in scored} == {numel}
    for stage in chain.of("packing"):
        (evaluation,) = [
            each
            for each in chain.of("evaluation")
            if chain.stages[each].parents["model"] == chain.stages[stage].parents["model"]
        ]
        packed = chain.result(stage)
        assert packed["metrics"] == chain.result(evaluation)["metrics"]
        assert packed["packed"]["encoder_fp32_bytes"] == 4 * numel
        assert packed["packed"]["encoder_bytes"] < 4 * numel


@pytest.mark.slow
def test_what_is_trained_from_a_declared_encoder_carries_the_declaration(chain: Chain) -> None:
    """An artifact has no family.toml, and its family is the same; of ours nothing is added to config.json."""
    for stage in (*chain.of("student_pruning"), *chain.of("quantization"), *chain.of("packing")):
        folder = chain.artifact(stage)
        assert family_of(folder) == family_of(chain.model)
        assert not (folder / "family.toml").exists()
        declared = "encoder_family" in json.loads((folder / "config.json").read_text())
        assert declared == (chain.toy.declaration is not None)


@pytest.mark.slow
def test_a_sparse_encoder_of_ones_own_is_counted_and_locked(chain: Chain) -> None:
    """The pruned artifact, given back by --sparse-from: the same zeros, and they stay."""
    pruned = chain.of("student_pruning")[0]
    folder = chain.model.parent
    arguments = tiny_world.grid_arguments(
        chain.model, folder / "data", folder / "runs", common__attention=chain.toy.attention, **SHORT
    )
    task = chain.stages[chain.of("transfer")[0]].parameters["task"]
    asked = ["--sparse-from", f"mine={chain.artifact(pruned)}", "--tasks", task, "--seeds", "0", "--study", "own"]
    assert cli.main([*arguments, *asked]) == 0
    own = dict(read_study(chain.store, "own").plan.stages)
    (imported,) = [stage_id for stage_id, spec in own.items() if spec.kind == "sparse_checkpoint"]
    pattern = chain.zeros(pruned)
    assert chain.result(imported)["sparsity"]["encoder_zeros"] == sum(int(zeros.sum()) for zeros in pattern.values())
    for stage in (imported, *(i for i, spec in own.items() if spec.kind == "transfer" and i not in chain.stages)):
        found = chain.zeros(stage)
        assert all(torch.equal(found[name], zeros) for name, zeros in pattern.items())


def test_a_kernel_that_the_library_lacks_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = family_toys.make(tmp_path / "model", "deberta-v2")
    arguments = tiny_world.grid_arguments(model, tiny_world.make_data(tmp_path / "data"), tmp_path / "runs")
    assert cli.main([*arguments, "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert "common.attention=sdpa, and the library has eager for 'tiny'" in told
    assert "--set common.attention=eager" in told


def test_a_length_beyond_the_usable_positions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the toy RoBERTa's 66 positions a token can have 64; a BERT could have used 65."""
    model = family_toys.make(tmp_path / "model", "roberta")
    data = tiny_world.make_data(tmp_path / "data")
    arguments = tiny_world.grid_arguments(model, data, tmp_path / "runs", task__sst2__max_length=65)
    assert cli.main([*arguments, "--dry-run"]) == 2
    assert "task.sst2.max_length=65, and model 'tiny' has 64 positions" in capsys.readouterr().err
    arguments = tiny_world.grid_arguments(model, data, tmp_path / "runs", task__sst2__max_length=64)
    assert cli.main([*arguments, "--dry-run"]) == 0
