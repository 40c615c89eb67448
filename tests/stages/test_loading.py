"""Weights that do not fit are refused: the library would fill them in at random and say so only in a log."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.inputs.content_hashes import ContentHashes
from harness.inputs.models import find_models
from harness.specs import StageSpec
from harness.stages.context import Sources
from harness.stages.loading import (
    base_model_folder,
    load_for_pretraining,
    load_for_task,
    load_tokenizer,
    save_artifact,
)
from harness.tasks import get_task

OPTIONS: dict[str, Any] = {"seed": 0, "attention": "sdpa"}


@pytest.fixture
def folder(tiny: Any, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder."""
    for path in tiny.model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def renamed(folder: Path, change: Any) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {change(name): tensor for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )


def test_a_base_model_without_heads_gets_them_drawn_with_the_seed(tiny: Any) -> None:
    task = get_task("sst2")
    first, again, other = (
        load_for_task(tiny.model, task, seed=seed, attention="sdpa", new_head=True) for seed in (0, 0, 1)
    )
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert torch.equal(first.bert.pooler.dense.weight, other.bert.pooler.dense.weight)
    assert load_for_pretraining(tiny.model, new_head=True, **OPTIONS).cls.predictions.decoder.weight.shape[0] > 40


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_attention_kernel_is_the_recipes(tiny: Any, attention: str) -> None:
    for model in (
        load_for_task(tiny.model, get_task("squad"), seed=0, attention=attention, new_head=True),
        load_for_pretraining(tiny.model, seed=0, attention=attention, new_head=True),
    ):
        assert model.config._attn_implementation == attention


def test_foreign_names_are_refused(folder: Path) -> None:
    renamed(folder, lambda name: f"weird.{name}")
    with pytest.raises(ValueError, match="lacks 37 of 37 encoder tensors"):
        load_for_task(folder, get_task("squad"), new_head=True, **OPTIONS)


def test_a_checkpoint_saved_during_pruning_is_refused(folder: Path) -> None:
    """As the authors' release saves it: weight_original and weight_mask in place of the weight."""
    renamed(folder, lambda name: name.replace("query.weight", "query.weight_original"))
    with pytest.raises(
        ValueError, match="lacks 2 of 37 encoder tensors .*saved during pruning: make its masks permanent"
    ):
        load_for_task(folder, get_task("sst2"), new_head=True, **OPTIONS)


def test_an_artifact_must_have_its_head(tiny: Any, tmp_path: Path) -> None:
    task = get_task("sst2")
    with pytest.raises(ValueError, match=r"lack 2 of the model's parameters \(classifier.bias, classifier.weight"):
        load_for_task(tiny.model, task, new_head=False, **OPTIONS)
    whole = load_for_task(tiny.model, task, new_head=True, **OPTIONS)
    from harness.stages.loading import load_tokenizer

    save_artifact(tmp_path, whole, load_tokenizer(tiny.model))
    assert torch.equal(
        load_for_task(tmp_path, task, new_head=False, **OPTIONS).classifier.weight, whole.classifier.weight
    )


@pytest.mark.parametrize("harm", ["cut off", "empty", "other bytes"])
def test_weights_that_cannot_be_read_name_the_folder(folder: Path, harm: str) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes({"cut off": content[:5000], "empty": b"", "other bytes": b"\xff" * 5000}[harm])
    words = "is cut off: .* Copy it again" if harm == "cut off" else "is no safetensors file"
    with pytest.raises(ValueError, match=f"{folder}/model.safetensors {words}"):
        load_for_task(folder, get_task("sst2"), new_head=True, **OPTIONS)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("vocab_size", 20, r"word_embeddings.weight is \[\d+, 32\] in the file and \[20, 32\]"),
        ("intermediate_size", 128, r"\[64, 32\] in the file and \[128, 32\] by the configuration \(6 such\)"),
        ("num_hidden_layers", 3, "lacks 16 of 53 encoder tensors of num_hidden_layers = 3"),
        ("num_hidden_layers", 1, "has 16 encoder tensors for which a bert with num_hidden_layers = 1 has no place"),
        ("num_attention_heads", 5, "hidden_size = 32 and num_attention_heads = 5"),
    ],
)
def test_a_configuration_that_does_not_fit_the_weights_says_where(
    folder: Path, key: str, value: int, words: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ValueError, match=words):
        load_for_task(folder, get_task("sst2"), new_head=True, **OPTIONS)


@pytest.mark.parametrize("name", ["encoder.extra.weight", "embeddings.foo"])
def test_a_tensor_of_the_encoder_that_it_has_no_place_for_is_refused(folder: Path, name: str) -> None:
    weights = {f"bert.{each}": tensor for each, tensor in load_file(folder / "model.safetensors").items()}
    save_file({**weights, f"bert.{name}": torch.ones(3)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=rf"1 encoder tensor for which a bert .* has no place \({name}\)"):
        load_for_task(folder, get_task("sst2"), new_head=True, **OPTIONS)


def test_integers_are_no_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    weights[name] = (weights[name] * 100).to(torch.int8)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=rf"1 encoder tensor of no floating-point type \({name} is I8\)"):
        load_for_task(folder, get_task("sst2"), new_head=True, **OPTIONS)


@pytest.mark.parametrize("content", ["", '{"x', "{}"])
def test_a_tokenizer_that_cannot_be_read_names_the_folder(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    (folder / "vocab.txt").unlink()
    with pytest.raises(ValueError, match=r"the tokenizer in .* cannot be read .*copy them again"):
        load_tokenizer(folder)


def test_a_tokenizer_of_another_model_is_refused_before_an_index_is_out_of_range(folder: Path) -> None:
    assert len(load_tokenizer(folder)) > 40
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 40}))
    with pytest.raises(ValueError, match=r"has \d+ tokens and config.json a vocab_size of 40"):
        load_tokenizer(folder)


def test_a_tokenizer_far_smaller_than_the_embeddings_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 250}))
    with pytest.raises(ValueError, match=r"has \d+ tokens and config.json a vocab_size of 250, so that \d+ embeddings"):
        load_tokenizer(folder)


def test_a_tokenizer_without_a_special_token_is_refused_where_the_library_adds_it(folder: Path) -> None:
    """Where the vocabulary is padded, the added token would get an embedding that nobody trained."""
    words = [word for word in load_tokenizer(folder).get_vocab() if word != "[CLS]"]
    for name in ("tokenizer.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    with pytest.raises(ValueError, match=r"lacks \[CLS\] \(cls_token\)"):
        load_tokenizer(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folder: Path, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(weights) if name.endswith("attention.self.query.weight"))
    weights[name][0, 0] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"are not finite: .*attention.self.query.weight\. The model had diverged"):
        load_for_task(folder, get_task("sst2"), seed=0, attention="sdpa", new_head=True)


def test_a_configuration_that_the_library_refuses_is_not_blamed_on_the_tokenizer(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": 7}))
    with pytest.raises(ValueError, match=r"config\.json cannot be used"):
        load_tokenizer(folder)


def test_a_stage_does_not_train_on_a_base_model_that_changed_since_the_plan(folder: Path) -> None:
    """Else its record would name other weights than it was made from."""
    model = find_models([("tiny", folder)], ContentHashes()).models["tiny"]
    sources = Sources(models={"tiny": model}, data=None)  # type: ignore[arg-type]
    spec = StageSpec(kind="dense", parameters={"model": "tiny"}, inputs={"model": model.weights})
    context: Any = SimpleNamespace(sources=sources, spec=spec, parameters=spec.parameters)
    assert base_model_folder(context) == folder
    weights = load_file(folder / "model.safetensors")
    save_file({n: torch.zeros_like(t) for n, t in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=f"weights in {folder} changed since the plan was made. Put the files back"):
        base_model_folder(context)


def test_a_folder_that_is_gone_is_not_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def look_up(*address: object, **options: object) -> list[Any]:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="the folder gone is gone"):
        load_tokenizer(Path("gone"))
    with pytest.raises(ValueError, match="gone is no folder"):
        load_for_task(Path("gone"), get_task("sst2"), seed=0, attention="sdpa", new_head=True)
    assert not tried
