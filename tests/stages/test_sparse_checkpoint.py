"""A checkpoint from outside is taken in as it is, or refused with what was found and what was claimed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny_world
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, BertModel

from harness.errors import UsageError
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.families import BERT, DISTILBERT, Family
from harness.inputs.models import BaseModel
from harness.inputs.sparse_checkpoints import SparseCheckpoint
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources, StageContext, StageResult
from harness.stages.loading import load_for_task
from harness.stages.sparse_checkpoint import RefusedCheckpointError, read_tensors, sparse_checkpoint
from harness.tasks import get_task

# floor(.85 * 1024) = 870 in each of 4 matrices a layer, floor(.85 * 2048) = 1740 in each of 2.
ZEROS = tiny_world.NUM_LAYERS * (4 * 870 + 2 * 1740)


class Taken(NamedTuple):
    result: StageResult
    artifact: Path

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.artifact / "model.safetensors")


Take = Callable[..., Taken]


@pytest.fixture
def take(tiny: Any, tmp_path: Path) -> Take:
    """take(folder, claimed=.., base=..) runs the stage on a folder (None: it is not cached)."""

    def run(folder: Path | None, claimed: float = 0.85, base: Path = tiny.model) -> Taken:
        checkpoint = SparseCheckpoint(source="mine", content_id="c", sparsity=claimed, folder=folder, pinned=True)
        model = BaseModel(alias="tiny", folder=base, weights="w", tokenizer="t", pinned=True)
        artifact = tmp_path / "artifact"
        artifact.mkdir()
        context = StageContext(
            spec=StageSpec(
                kind="sparse_checkpoint",
                parameters={"model": "tiny", "sparsity": claimed},
                inputs={"checkpoint": "c", "tokenizer": "t"},
            ),
            parent_records={},
            parent_artifacts={},
            artifact=artifact,
            checkpoints=tmp_path / "checkpoints",
            sources=Sources(models={"tiny": model}, data=None, checkpoints={"c": checkpoint}),  # type: ignore[arg-type]
            resources=Resources(),
            should_stop=lambda: False,
            report=lambda progress: None,
        )
        return Taken(sparse_checkpoint(context), artifact)

    return run


@pytest.fixture
def sparse(tiny: Any, tmp_path: Path) -> Path:
    return tiny_world.make_sparse(tmp_path / "sparse", tiny.model, 0.85)


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def check_taken(taken: Taken, source: dict[str, torch.Tensor], family: Family) -> None:
    encoder = family.encoder_matrices(tiny_world.NUM_LAYERS)
    weights = taken.weights()
    assert all(torch.equal(weights[f"{name}.weight"], source[f"{name}.weight"]) for name in encoder)
    counted = taken.result.details["sparsity"]
    assert counted["encoder_zeros"] == ZEROS
    assert counted["encoder_numel"] == tiny_world.ENCODER_WEIGHTS
    assert counted["encoder_matrices"] == tiny_world.MATRICES
    assert set(counted["zeros_by_matrix"].values()) == {870, 1740}
    assert not any(name.startswith("cls") for name in weights)  # heads stay behind


@pytest.mark.parametrize("pickled", [False, True])
def test_the_encoder_is_taken_in_bit_for_bit(tiny: Any, tmp_path: Path, take: Take, pickled: bool) -> None:
    source = tiny_world.make_sparse(tmp_path / "sparse", tiny.model, 0.85)
    folder = tiny_world.make_sparse(tmp_path / "given", tiny.model, 0.85, pickled=pickled)
    taken = take(folder)
    check_taken(taken, load_file(source / "model.safetensors"), BERT)
    name = "pytorch_model.bin, converted to model.safetensors" if pickled else "model.safetensors"
    assert taken.result.did[0] == f"took 12 of 12 encoder matrices from {name}"
    assert taken.result.details["checkpoint"]["claimed_sparsity"] == 0.85
    assert not list(taken.artifact.glob("*.bin"))
    # The next stage and the library's own loader read it alike.
    model = load_for_task(taken.artifact, get_task("sst2"), seed=0, attention="sdpa", new_head=True)
    library = AutoModel.from_pretrained(taken.artifact)
    assert torch.equal(model.bert.pooler.dense.weight, library.pooler.dense.weight)
    assert int((library.encoder.layer[0].output.dense.weight == 0).sum()) == 1740


@pytest.mark.parametrize("pickled", [False, True])
def test_a_distilbert_is_taken_in(tiny: Any, tmp_path: Path, take: Take, pickled: bool) -> None:
    base = tiny_world.make_distilbert(tmp_path / "base")
    source = tiny_world.make_sparse(tmp_path / "sparse", base, 0.85)
    taken = take(tiny_world.make_sparse(tmp_path / "given", base, 0.85, pickled=pickled), base=base)
    check_taken(taken, load_file(source / "model.safetensors"), DISTILBERT)
    assert taken.result.details["sparsity"]["pooler"] == {}


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("claimed", [0.9, 0.8])
def test_another_sparsity_than_claimed_is_refused(
    tiny: Any, tmp_path: Path, take: Take, claimed: float, pickled: bool
) -> None:
    folder = tiny_world.make_sparse(tmp_path / "sparse", tiny.model, 0.85, pickled=pickled)
    with pytest.raises(RefusedCheckpointError) as caught:
        take(folder, claimed)
    said = str(caught.value)
    assert f"{ZEROS:,} of the {tiny_world.ENCODER_WEIGHTS:,} weights" in said
    assert f"a sparsity of 0.8496; claimed is {claimed:g}" in said  # 13,920 of 16,384
    assert "\n" not in said


@pytest.mark.parametrize(("sparsity", "accepted"), [(0.846, True), (0.854, True), (0.844, False), (0.856, False)])
def test_half_a_point_is_allowed(tiny: Any, tmp_path: Path, take: Take, sparsity: float, accepted: bool) -> None:
    folder = tiny_world.make_sparse(tmp_path / "sparse", tiny.model, sparsity)
    if accepted:
        take(folder)
    else:
        with pytest.raises(RefusedCheckpointError, match=r"claimed is 0\.85"):
            take(folder)


class Harmful:
    """Unpickled carelessly, it runs a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_pickle_that_asks_for_more_than_tensors_is_refused_and_not_executed(
    tiny: Any, tmp_path: Path, take: Take, form: str
) -> None:
    folder = tiny_world.make_sparse(tmp_path / "sparse", tiny.model, 0.85, pickled=True)
    witness, file = tmp_path / "executed", folder / "pytorch_model.bin"
    weights = {**torch.load(file, weights_only=True), "extra": Harmful(witness)}
    if form == "torch":
        torch.save(weights, file)
    else:
        file.write_bytes(pickle.dumps(Harmful(witness)))
    with pytest.raises(RefusedCheckpointError, match="asks for more than tensors, and loading never executes"):
        take(folder)
    assert not witness.exists()
    pickle.loads(pickle.dumps(Harmful(witness)))  # the control: opened as a program, it would have run
    assert witness.exists()


@pytest.mark.parametrize("content", [[torch.ones(2)], {"a": torch.ones(2), "epoch": 3}])
def test_a_pickle_that_holds_no_named_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(RefusedCheckpointError, match="expected named tensors"):
        read_tensors(tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    for content in (b"", b"PK\x03\x04 cut off"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RefusedCheckpointError, match=name):
            read_tensors(tmp_path / name)


def test_an_encoder_without_pooler_gets_none(tiny: Any, sparse: Path, take: Take) -> None:
    def behead(weights: dict[str, torch.Tensor]) -> None:
        del weights["bert.pooler.dense.weight"], weights["bert.pooler.dense.bias"]

    change(sparse, behead)
    taken = take(sparse)
    assert not taken.result.details["checkpoint"]["with_pooler"]
    assert not any("pooler" in name for name in taken.weights())
    first, other = (
        load_for_task(taken.artifact, get_task("sst2"), seed=seed, attention="sdpa", new_head=True) for seed in (0, 1)
    )
    assert not torch.equal(first.bert.pooler.dense.weight, other.bert.pooler.dense.weight)  # drawn by the transfer


def test_a_sparse_pooler_is_counted_apart(sparse: Path, take: Take) -> None:
    def prune(weights: dict[str, torch.Tensor]) -> None:
        weights["bert.pooler.dense.weight"][:16] = 0.0

    change(sparse, prune)
    taken = take(sparse)
    assert taken.result.details["sparsity"]["encoder_zeros"] == ZEROS
    assert taken.result.details["sparsity"]["pooler"] == {"bert.pooler.dense": [512, 1024]}
    assert "the pooler holds 512 zeros in 1,024 weights" in taken.result.did


def test_a_negative_zero_counts_as_zero_and_becomes_a_positive_one(sparse: Path, take: Take) -> None:
    name = "bert.encoder.layer.0.output.dense.weight"

    def negate(weights: dict[str, torch.Tensor]) -> None:
        weights[name] = torch.where(weights[name] == 0, -0.0, weights[name])

    change(sparse, negate)
    taken = take(sparse)
    assert taken.result.details["sparsity"]["encoder_zeros"] == ZEROS
    assert not bool(torch.signbit(taken.weights()[name][taken.weights()[name] == 0]).any())


def test_every_tensor_that_does_not_fit_is_named_at_once(sparse: Path, take: Take) -> None:
    layer = "bert.encoder.layer.0"

    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights[f"{layer}.attention.self.query.weight_mask"] = weights.pop(f"{layer}.attention.self.query.weight")
        weights[f"{layer}.attention.self.key.weight"] = torch.ones(31, 32)
        weights[f"{layer}.attention.self.value.weight"][0, 0] = torch.nan
        weights[f"{layer}.output.dense.weight"] = torch.ones(32, 64, dtype=torch.int8)

    change(sparse, spoil)
    with pytest.raises(RefusedCheckpointError) as caught:
        take(sparse)
    for words in (
        "lacks 1 of",
        "attention.self.query.weight ..). If it was saved during pruning, its masks were never made permanent",
        "key.weight is [31, 32], expected [32, 32]",
        "value.weight has entries that are not finite",
        "output.dense.weight is torch.int8, expected floats",
    ):
        assert words in str(caught.value)


def test_another_architecture_is_refused_with_every_difference(tiny: Any, sparse: Path, take: Take) -> None:
    config = json.loads((sparse / "config.json").read_text())
    (sparse / "config.json").write_text(json.dumps({**config, "num_attention_heads": 4, "vocab_size": 99}))
    with pytest.raises(RefusedCheckpointError) as caught:
        take(sparse)
    assert "num_attention_heads is 4, the base model's is 2" in str(caught.value)
    assert "vocab_size is 99" in str(caught.value)


@pytest.mark.parametrize("pickled", [False, True])
def test_layers_without_a_place_are_refused(tiny: Any, tmp_path: Path, take: Take, pickled: bool) -> None:
    """Both configurations say one layer, and the file has two: leaving one behind would make another model."""
    base = tmp_path / "base"
    shutil.copytree(tiny.model, base)
    folder = tiny_world.make_sparse(tmp_path / "sparse", base, 0.85, pickled=pickled)
    for place in (base, folder):
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    words = r"it has 16 encoder tensors for which a bert with its config.json has no place \(encoder.layer.1."
    with pytest.raises(RefusedCheckpointError, match=words):
        take(folder, base=base)


def test_a_tensor_that_the_encoder_has_no_place_for_is_refused(sparse: Path, take: Take) -> None:
    change(sparse, lambda weights: weights.update({"bert.embeddings.foo": torch.ones(3)}))
    with pytest.raises(RefusedCheckpointError, match=r"1 encoder tensor for which .* has no place \(embeddings.foo\)"):
        take(sparse)


def test_the_old_names_of_a_layer_norm_are_taken(sparse: Path, take: Take) -> None:
    before = load_file(sparse / "model.safetensors")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def rename(weights: dict[str, torch.Tensor]) -> None:
        for name in [*weights]:
            for new, former in old.items():
                if name.endswith(new):
                    weights[name.removesuffix(new) + former] = weights.pop(name)

    change(sparse, rename)
    name = "bert.encoder.layer.0.output.LayerNorm.weight"
    assert torch.equal(take(sparse).weights()[name], before[name])


def test_another_family_is_refused(tiny: Any, tmp_path: Path, take: Take) -> None:
    base = tiny_world.make_distilbert(tmp_path / "base")
    folder = tiny_world.make_sparse(tmp_path / "sparse", base, 0.85)
    with pytest.raises(RefusedCheckpointError, match="model_type is distilbert, the base model's is bert"):
        take(folder)


def test_another_vocabulary_of_the_same_size_is_refused(sparse: Path, take: Take) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        path = sparse / name
        if path.is_file():
            path.write_text(path.read_text().replace("good", "nice"))
    with pytest.raises(RefusedCheckpointError, match=r"2 tokens of its vocabulary .* \(good, nice \.\.\)"):
        take(sparse)


def test_without_a_tokenizer_of_its_own_the_base_models_is_kept(tiny: Any, sparse: Path, take: Take) -> None:
    for path in [*sparse.glob("token*"), *sparse.glob("vocab*"), *sparse.glob("special*")]:
        path.unlink()
    taken = take(sparse)
    assert (taken.artifact / "tokenizer.json").read_bytes() == (tiny.model / "tokenizer.json").read_bytes()


def test_a_checkpoint_that_is_not_here_is_refused_with_the_next_move(take: Take) -> None:
    with pytest.raises(RefusedCheckpointError, match=r"mine is not on this machine\. Run harness fetch"):
        take(None)


def test_a_folder_that_lost_its_weights_is_refused(sparse: Path, take: Take) -> None:
    (sparse / "model.safetensors").unlink()
    with pytest.raises(RefusedCheckpointError, match=r"none of model\.safetensors, pytorch_model\.bin in"):
        take(sparse)


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [False, True])
def test_the_published_architecture_at_its_full_size(tmp_path: Path, take: Take, pickled: bool) -> None:
    """Random weights in the shape of bert-base: in each of 12 layers four 768 x 768 and two 768 x 3072 matrices."""
    base = tmp_path / "base"
    tokens = [f"word{i}" for i in range(BertConfig().vocab_size - len(tiny_world.SPECIAL_TOKENS))]
    tiny_world.wordpiece_tokenizer(base, tokens).save_pretrained(base)
    BertModel(BertConfig()).save_pretrained(base)
    folder = tiny_world.make_sparse(tmp_path / "sparse", base, 0.85, pickled=pickled)
    taken = take(folder, base=base)
    counted = taken.result.details["sparsity"]
    assert (counted["encoder_matrices"], counted["encoder_numel"]) == (72, 84_934_656)
    made = 12 * (4 * 501_350 + 2 * 2_005_401)  # floor(.85 * 589,824) and floor(.85 * 2,359,296)
    assert 0 <= counted["encoder_zeros"] - made < 20  # among 85 million normal draws a few are exactly zero
    shutil.rmtree(taken.artifact)
    with pytest.raises(RefusedCheckpointError, match=r"a sparsity of 0\.8500; claimed is 0\.9"):
        take(folder, 0.9, base=base)
    for big in (base, folder):
        shutil.rmtree(big)


def test_a_checkpoint_that_changed_since_the_plan_is_refused(sparse: Path) -> None:
    checkpoint = SparseCheckpoint(source="mine", content_id="of other files", sparsity=0.85, folder=sparse)
    with pytest.raises(UsageError, match=f"mine: the files in {sparse} changed since the plan was made"):
        checkpoint.check_unchanged(ContentHashes())
