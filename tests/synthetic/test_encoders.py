"""The tiny encoders: the same files everywhere, readable by the library, and what the harness says of them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModel, AutoTokenizer

from harness.inputs.content_hashes import ContentHashes
from harness.inputs.families import BERT
from harness.inputs.models import find_models
from harness.inputs.shapes import shape_of
from harness.synthetic.encoders import ENCODER_VERSION, ENCODERS, weights_content_id
from harness.synthetic.weights import rotation, sinusoids, weights, write_encoder
from harness.synthetic.words import PEOPLE

# SHA-256 of the weights by version; rounded, since the last bit of a sine may differ between machines.
DIGESTS: dict[int, dict[str, str]] = {2: {"tiny-wide": "acded3b79cd0001f", "tiny-narrow": "2bb8fd86fbe25007"}}


@pytest.fixture(params=[*ENCODERS])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_weights_are_those_of_the_recorded_version(name: str) -> None:
    digest = hashlib.sha256()
    for key, array in sorted(weights(ENCODERS[name]).items()):
        digest.update(key.encode())
        digest.update(np.round(array * 1000).astype(np.int32).tobytes())
    assert digest.hexdigest()[:16] == DIGESTS[ENCODER_VERSION].get(name), "raise ENCODER_VERSION, record the digest"


def test_the_library_finds_every_weight_and_no_other(name: str, tmp_path: Path) -> None:
    folder = write_encoder(name, tmp_path)
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    encoder = ENCODERS[name]
    matrices = [key for key, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    expected = {matrix.removeprefix("bert.") for matrix in BERT.encoder_matrices(encoder.layers)}
    assert set(matrices) == expected | {"pooler.dense"}


def test_the_same_files_are_written_every_time(name: str, tmp_path: Path) -> None:
    first, second = write_encoder(name, tmp_path / "a"), write_encoder(name, tmp_path / "b")
    files = sorted(path.name for path in first.iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def test_the_tokenizer_keeps_the_worlds_words_whole_and_spells_others(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(write_encoder("tiny-wide", tmp_path))
    assert tokenizer.tokenize("Anna lives in Oslo.") == ["anna", "lives", "in", "oslo", "."]
    assert tokenizer.tokenize("Who is Xyz?") == ["who", "is", "x", "##y", "##z", "?"]


def test_the_first_head_begins_blind_but_to_words_and_sees_like_ones(tmp_path: Path) -> None:
    encoder = ENCODERS["tiny-wide"]
    tensors = load_file(write_encoder("tiny-wide", tmp_path) / "model.safetensors")
    size = encoder.width // encoder.heads
    query, key = (tensors[f"encoder.layer.0.attention.self.{role}.weight"] for role in ("query", "key"))
    assert (query[:size] == key[:size]).all()
    words = tensors["embeddings.word_embeddings.weight"]
    for other in ("position", "token_type"):
        seen = np.abs(tensors[f"embeddings.{other}_embeddings.weight"]).sum(axis=0) > 0
        assert not (np.abs(words).sum(axis=0) > 0)[seen].any()  # dimensions of their own
        assert not query[:size, seen].any()
    words = words / np.linalg.norm(words, axis=1, keepdims=True)  # as the layer norm leaves them
    scores = (words @ query[:size].T) @ (words @ key[:size].T).T
    assert (scores.argmax(axis=1) == np.arange(len(words))).mean() > 0.8
    last = [tensors[f"encoder.layer.1.attention.self.{role}.weight"][-size:] for role in ("query", "key")]
    assert (last[0] != last[1]).mean() > 0.99  # as drawn
    assert abs(float(last[0].std()) - encoder.spread) < 0.1 * encoder.spread


def test_a_head_of_the_second_layer_begins_by_looking_at_the_like_word_of_the_other_text(tmp_path: Path) -> None:
    """Of most names; where there is none, it looks at that text all the same, the separator that ends it not last."""
    folder = write_encoder("tiny-wide", tmp_path)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = {"like": 0, "separator": 0, "across": 0}
    for name, other in zip(PEOPLE, PEOPLE[1:] + PEOPLE[:1], strict=True):
        for second, expected, place in ((f"what has {name}", "like", 8), (f"what has {other}", "separator", 9)):
            inputs = tokenizer(f"today it is {name}", second, return_tensors="pt")
            assert inputs["input_ids"][0, -1] == tokenizer.sep_token_id
            with torch.no_grad():
                hidden = model.embeddings(inputs["input_ids"], token_type_ids=inputs["token_type_ids"])
                attention = model.encoder.layer[1].attention.self
                size = ENCODERS["tiny-wide"].width // ENCODERS["tiny-wide"].heads
                scores = attention.query(hidden)[0, 4, :size] @ attention.key(hidden)[0, :, :size].T
            looked_at = scores.argsort(descending=True).tolist()
            found["across"] += looked_at[0] >= 6  # "[CLS] today it is NAME [SEP]" are 0 to 5
            found[expected] += place in looked_at[: 1 if expected == "like" else 3]
    assert found["like"] >= 0.7 * len(PEOPLE)
    assert found["separator"] >= 0.7 * len(PEOPLE)
    assert found["across"] >= 0.9 * 2 * len(PEOPLE)


def test_two_heads_begin_by_looking_before_and_behind(tmp_path: Path) -> None:
    encoder = ENCODERS["tiny-narrow"]
    tensors = load_file(write_encoder("tiny-narrow", tmp_path) / "model.safetensors")
    size, positions = encoder.width // encoder.heads, tensors["embeddings.position_embeddings.weight"][:20]
    for head, step in ((1, -3), (2, 2)):
        rows = slice(head * size, (head + 1) * size)
        query, key = (tensors[f"encoder.layer.0.attention.self.{role}.weight"][rows] for role in ("query", "key"))
        looked_at = ((positions @ query.T) @ (positions @ key.T).T).argmax(axis=1)
        assert looked_at[5:15].tolist() == [position + step for position in range(5, 15)]


def test_one_head_of_the_last_layer_begins_by_taking_all_tokens_alike(tmp_path: Path) -> None:
    encoder = ENCODERS["tiny-wide"]
    model = AutoModel.from_pretrained(write_encoder("tiny-wide", tmp_path), attn_implementation="eager").eval()
    with torch.no_grad():
        looked = model(torch.arange(5, 17)[None], output_attentions=True).attentions[encoder.layers - 1]
    assert torch.allclose(looked[0, 0], torch.full((12, 12), 1 / 12), atol=1e-6)
    assert looked[0, 1:].std() > 0.05


def test_positions_begin_as_sinusoids_which_a_step_rotates() -> None:
    found = sinusoids(np.arange(8), 4)  # 2 and 0.05 radians a position
    assert found.shape == (8, 4)
    assert found[3].tolist() == pytest.approx([math.cos(6), math.sin(6), math.cos(0.15), math.sin(0.15)])
    assert np.allclose(found[:6] @ rotation(2, 4).T, found[2:])


def test_the_stated_shape_is_that_of_the_weights(name: str) -> None:
    found = find_models([(name, None)], ContentHashes())
    assert (found.problems, found.missing) == ([], [])
    model = found.models[name]
    assert model.folder is None
    assert not model.pretrained
    shape, arrays = shape_of(model), weights(ENCODERS[name])
    prunable = [f"{matrix.removeprefix('bert.')}.weight" for matrix in BERT.encoder_matrices(shape.layers)]
    assert shape.encoder_weights == sum(arrays[key].size for key in prunable)
    assert arrays["embeddings.word_embeddings.weight"].shape == (shape.vocabulary, shape.width)
    assert len(arrays["embeddings.position_embeddings.weight"]) == shape.positions


def test_identity_tells_encoders_and_versions_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {weights_content_id(name) for name in ENCODERS}
    assert len(before) == len(ENCODERS)
    monkeypatch.setattr("harness.synthetic.encoders.ENCODER_VERSION", ENCODER_VERSION + 1)
    assert not before & {weights_content_id(name) for name in ENCODERS}
