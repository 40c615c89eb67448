"""Model folders while planning: what their headers and vocabularies tell is told before anything runs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grid_world import SPECIAL_TOKENS, TINY_CONFIG, Ran, World, python, with_words, write_model
from sparse_files import save, write_sparse

from harness.errors import UsageError
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import HubData
from harness.inputs.models import check_unchanged, find_models
from harness.inputs.sparse_checkpoints import locate_released
from harness.inputs.weight_files import pickle_problem
from harness.planning.preset import load_preset
from harness.tasks import get_task

Run = Callable[[Sequence[str]], Ran]


def problems(folder: Path) -> list[str]:
    return [problem.on_command_line for problem in find_models([("tiny", folder)], ContentHashes()).problems]


def configured(folder: Path, **config: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**TINY_CONFIG, **config}))


def zeros_of(folder: Path) -> dict[str, np.ndarray]:
    """The tensors that the header names, all zero, read here by hand."""
    content = (folder / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {name: np.zeros(entry["shape"], np.float32) for name, entry in header.items() if name != "__metadata__"}


def test_a_folder_that_fits_has_no_problem(tiny: Any, tmp_path: Path) -> None:
    assert problems(tiny.model) == []  # written by the library, with a pooler
    folder = write_model(tmp_path / "m")
    stored = zeros_of(folder)
    names = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): array for name, array in stored.items()}
    heads = {"cls.predictions.bias": np.zeros(2, np.float32)}
    buffers = {"bert.embeddings.position_ids": np.zeros((1, 512), np.float64)}
    save(folder / "model.safetensors", {**{f"bert.{n}": a for n, a in names.items()}, **heads, **buffers})
    assert problems(folder) == []  # as the hub's BERT has it: with heads, old names and a buffer


def test_a_pooler_of_another_width_is_told(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    save(folder / "model.safetensors", {**zeros_of(folder), "pooler.dense.weight": np.zeros((8, 9), np.float32)})
    assert "pooler.dense.weight is [8, 9] in the file and [8, 8] by the configuration (1 such)" in problems(folder)[0]


@pytest.mark.parametrize("entry", [{"shape": [9, 8]}, {"shape": None}, {"data_offsets": [8, 4]}, {"dtype": "F64"}])
def test_a_header_that_contradicts_itself_is_no_header(tmp_path: Path, entry: dict[str, Any]) -> None:
    file = write_model(tmp_path / "m") / "model.safetensors"
    content = file.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:data])
    header["embeddings.word_embeddings.weight"].update(entry)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[data:])
    assert problems(file.parent) == [
        f"model 'tiny': {file} is no safetensors file. Expected what save_pretrained writes."
    ]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_json_without_end_is_told(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "m")
    deep = b"[" * 200_000
    (folder / name).write_bytes(len(deep).to_bytes(8, "little") + deep if name.endswith("safetensors") else deep)
    (problem,) = problems(folder)
    assert name in problem


@pytest.mark.parametrize("model_type", [["bert"], None, {"a": 1}])
def test_a_model_type_that_is_no_text_is_told(tmp_path: Path, model_type: Any) -> None:
    folder = write_model(tmp_path / "m")
    configured(folder, model_type=model_type)
    assert "model_type" in problems(folder)[0]


def test_bytes_after_the_end_are_told(tmp_path: Path) -> None:
    file = write_model(tmp_path / "m") / "model.safetensors"
    file.write_bytes(file.read_bytes() + b"x")
    assert "goes on after its end: its header tells of" in problems(file.parent)[0]


@pytest.mark.parametrize("missing", [1, 5000])
def test_weights_that_are_cut_off_are_told_from_their_header(tmp_path: Path, missing: int) -> None:
    file = write_model(tmp_path / "m") / "model.safetensors"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-missing])
    (problem,) = problems(file.parent)
    told = f"{size:,} bytes and there are {size - missing:,}. Copy it again."
    assert problem == f"model 'tiny': {file} is cut off: its header tells of {told}"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hidden_size": 16}, "word_embeddings.weight is [5, 8] in the file and [5, 16] by the configuration"),
        ({"vocab_size": 6}, "embeddings.word_embeddings.weight is [5, 8] in the file and [6, 8] by the config"),
        ({"max_position_embeddings": 9}, "position_embeddings.weight is [512, 8] in the file and [9, 8] by"),
        ({"type_vocab_size": 3}, "token_type_embeddings.weight is [2, 8] in the file and [3, 8] by"),
        ({"intermediate_size": 9}, "intermediate.dense.weight is [16, 8] in the file and [9, 8] by"),
        # 5 tensors of embeddings, 16 of each layer: 12 of the 6 matrices and 4 of the 2 norms
        ({"num_hidden_layers": 3}, "it lacks 16 of 53 encoder tensors of num_hidden_layers = 3 (encoder.layer.2."),
        ({"num_hidden_layers": 10**12}, "there cannot be some for each layer of num_hidden_layers = 1000000000000."),
        (
            {"num_hidden_layers": 1},
            "it has 16 encoder tensors for which a bert with num_hidden_layers = 1 has no place (enc",
        ),
        (
            {"num_attention_heads": 3},
            "gives hidden_size = 8 and num_attention_heads = 3. Expected heads of equal width",
        ),
        ({"num_attention_heads": 0}, "gives num_attention_heads = 0. Expected a whole number above 0."),
        ({"vocab_size": True}, "gives vocab_size = True. Expected a whole number above 0."),
        ({"num_hidden_layers": "two"}, "gives num_hidden_layers = 'two'. Expected a whole number above 0."),
    ],
)
def test_a_configuration_of_another_model_is_told(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    folder = write_model(tmp_path / "m")
    configured(folder, **config)
    (problem,) = problems(folder)
    assert words in problem


def test_distilberts_own_keys_are_checked(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", model_type="distilbert", n_layers=2, dim=8, n_heads=2, hidden_dim=16)
    assert problems(folder) == []
    configured(folder, model_type="distilbert", n_layers=1, dim=8, n_heads=2, hidden_dim=16)
    (problem,) = problems(folder)
    assert "16 encoder tensors for which a distilbert with n_layers = 1 has no place (transformer.layer.1." in problem


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("name", ["encoder.extra.weight", "embeddings.foo", "encoder.layer.0.extra.bias", "foo.weight"])
def test_a_tensor_of_the_encoder_that_it_has_no_place_for_is_refused(tmp_path: Path, name: str, prefix: str) -> None:
    folder = write_model(tmp_path / "m")
    tensors = {**zeros_of(folder), name: np.zeros(8, np.float32)}
    save(folder / "model.safetensors", {f"{prefix}{each}": array for each, array in tensors.items()})
    (problem,) = problems(folder)
    assert f"it has 1 encoder tensor for which a bert with num_hidden_layers = 2 has no place ({name})" in problem


@pytest.mark.parametrize(
    ("model_type", "head"),
    [("bert", "cls.predictions.bias"), ("bert", "qa_outputs.weight"), ("distilbert", "pre_classifier.weight")],
)
def test_a_head_and_a_buffer_beside_a_bare_encoder_have_their_place(tmp_path: Path, model_type: str, head: str) -> None:
    sizes = {"n_layers": 2, "dim": 8, "n_heads": 2, "hidden_dim": 16} if model_type == "distilbert" else {}
    folder = write_model(tmp_path / "m", model_type=model_type, **sizes)
    beside = {head: np.zeros(8, np.float32), "embeddings.position_ids": np.zeros((1, 512), np.float64)}
    save(folder / "model.safetensors", {**zeros_of(folder), **beside})
    assert problems(folder) == []


def test_a_tensor_under_its_old_and_its_new_name_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    tensors = {**zeros_of(folder), "embeddings.LayerNorm.gamma": np.ones(8, np.float32)}
    save(folder / "model.safetensors", tensors)
    assert "has no place (embeddings.LayerNorm.gamma)" in problems(folder)[0]


def test_a_distilbert_has_no_pooler(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", model_type="distilbert", n_layers=2, dim=8, n_heads=2, hidden_dim=16)
    save(folder / "model.safetensors", {**zeros_of(folder), "pooler.dense.bias": np.zeros(8, np.float32)})
    assert "a distilbert with n_layers = 2 has no place (pooler.dense.bias)" in problems(folder)[0]


@pytest.mark.parametrize("name", ["encoder.layer.0.output.dense.weight", "embeddings.word_embeddings.weight"])
def test_integer_weights_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "m")
    tensors = zeros_of(folder)
    tensors[name] = tensors[name].astype(np.int8)
    save(folder / "model.safetensors", tensors)
    (problem,) = problems(folder)
    assert f"holds 1 encoder tensor of no floating-point type ({name} is I8). Expected one of F64, F32" in problem


def test_a_tokenizer_with_more_words_than_embeddings_is_told(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    with_words(folder, *SPECIAL_TOKENS, "film")
    (problem,) = problems(folder)
    assert problem == (
        f"model 'tiny': the tokenizer in {folder} has 6 tokens and config.json a vocab_size of 5. Expected those of "
        "one model: copy them again."
    )


NUMBERED = {token: number for number, token in enumerate(SPECIAL_TOKENS)}


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        ({"model": {"vocab": NUMBERED}}, None),
        ({"model": {"vocab": {**NUMBERED, "a": 9}}}, "has 10 tokens"),
        ({"model": {"vocab": NUMBERED}, "added_tokens": [{"content": "x", "id": 5}]}, "has 6 tokens"),
        ({"model": {"vocab": {}}, "added_tokens": [{"content": t, "id": i} for t, i in NUMBERED.items()]}, None),
        ({"model": {"vocab": [[token, 0.0] for token in [*SPECIAL_TOKENS, "a", "b"]]}}, "has 7 tokens"),
        ({}, "tokenizer.json cannot be read as a tokenizer. Expected the model's own"),
        ([], "tokenizer.json cannot be read as a tokenizer. Expected the model's own"),
        ({"model": {"vocab": {"a": "b"}}}, "tokenizer.json cannot be read as a tokenizer. Expected the model's own"),
        ({"model": {"vocab": {**NUMBERED, "a": 4}}}, "gives the tokens [MASK], a one number (4). Expected a number"),
        ({"model": {"vocab": {**NUMBERED, "a": -1}}}, "tokenizer.json cannot be read as a tokenizer"),
    ],
)
def test_tokenizer_json_goes_before_vocab_txt(tmp_path: Path, tokenizer: Any, words: str | None) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    found = problems(folder)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


@pytest.mark.parametrize(("unused", "refused"), [(0, False), (127, False), (128, True), (200, True)])
def test_a_tokenizer_far_smaller_than_the_embeddings_is_of_another_model(
    tmp_path: Path, unused: int, refused: bool
) -> None:
    """A vocabulary padded to a multiple of 128 has at most 127 embeddings that belong to no token."""
    folder = write_model(tmp_path / "m", vocab_size=250)
    words = [f"word{i}" for i in range(245 - unused)]
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": {token: i for i, token in enumerate([*SPECIAL_TOKENS, *words])}}})
    )
    expected = (
        f"model 'tiny': the tokenizer in {folder} has {250 - unused} tokens and config.json a vocab_size of 250, so "
        f"that {unused} embeddings belong to no token. Expected at most 127, as where a vocabulary is padded, else "
        "both are not of one model: copy them again, or have the library cut the embeddings "
        "(resize_token_embeddings) and save the model."
    )
    assert problems(folder) == ([expected] if refused else [])


def test_numbers_without_a_token_count_as_embeddings_without_one(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", vocab_size=250)
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {**NUMBERED, "a": 249}}}))
    assert "has 6 tokens and config.json a vocab_size of 250, so that 244 embeddings" in problems(folder)[0]


def test_a_token_that_stands_twice_in_a_vocabulary_is_told(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", vocab_size=8)
    with_words(folder, *SPECIAL_TOKENS, "film", "book", "film")
    assert problems(folder) == [
        f"model 'tiny': {folder / 'vocab.txt'} has the token 'film' in lines 6 and 8. Expected every token once: copy "
        "it again."
    ]


@pytest.mark.parametrize("missing", SPECIAL_TOKENS)
def test_a_tokenizer_without_a_special_token_is_refused(tmp_path: Path, missing: str) -> None:
    """The library would give such a token the next free number, whose embedding nobody trained."""
    folder = write_model(tmp_path / "m", vocab_size=6)
    with_words(folder, *(token for token in SPECIAL_TOKENS if token != missing), "film", "book")
    role = missing.strip("[]").lower() + "_token"
    assert problems(folder) == [
        f"model 'tiny': the tokenizer in {folder} lacks {missing} ({role}). Expected the tokens that a text is put "
        "into, [PAD], [UNK], [CLS], [SEP], [MASK]: copy the model's own tokenizer again, with its "
        "tokenizer_config.json where they have other names."
    ]


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("form", [str, lambda token: {"content": token, "lstrip": False}])
def test_special_tokens_of_other_names_are_found(tmp_path: Path, file: str, form: Any) -> None:
    folder = write_model(tmp_path / "m")
    with_words(folder, "<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    assert "lacks [PAD] (pad_token), [UNK] (unk_token)." in problems(folder)[0]
    named = {"pad_token": form("<pad>"), "unk_token": form("<unk>"), "cls_token": None, "do_lower_case": True}
    (folder / file).write_text(json.dumps(named))
    assert problems(folder) == []
    (folder / file).write_text("[")
    assert problems(folder) == [
        f"model 'tiny': {folder / file} is no JSON object. Expected the tokenizer's own: copy it again."
    ]


def test_the_size_of_a_vocabulary_is_the_librarys(tiny: Any) -> None:
    from harness.inputs.vocabulary import read_vocabulary
    from harness.stages.loading import load_tokenizer

    vocabulary = read_vocabulary(tiny.model)
    assert vocabulary == load_tokenizer(tiny.model).get_vocab()


def test_every_problem_of_a_folder_stands_beside_those_of_the_grid(run_harness: Run, world: World) -> None:
    model = world.folder / "model"
    configured(model, num_hidden_layers=1)
    with_words(model, *SPECIAL_TOKENS, "film")
    words = ["--tasks", "sst2,squat", "--set", "transfer.ce_weight=0", "--set", "transfer.kd_weight=0"]
    done = run_harness(world.grid("--dry-run", *words))
    assert done.code == 2
    for said in ("has no place", "the tokenizer in", "task 'squat'"):
        assert done.err.count(said) == 1
    assert done.err.startswith("3 problems")  # the settings follow once the axes can be read
    done = run_harness(world.grid("--dry-run", "--tasks", "sst2", *words[2:]))
    for said in ("has no place", "the tokenizer in", "transfer.ce_weight=0.0, transfer.kd_weight=0.0: expected"):
        assert done.err.count(said) == 1


def test_a_sparse_checkpoint_is_compared_with_its_configuration_and_the_base_model(
    run_harness: Run, world: World
) -> None:
    folder = write_sparse(world.folder / "mine")
    configured(folder, num_hidden_layers=1)
    with_words(folder, "[UNK]", "[PAD]", *SPECIAL_TOKENS[2:])
    done = run_harness(world.grid("--dry-run", "--sparse-from", f"mine={folder}"))
    assert done.code == 2
    for said in (
        "--sparse-from mine: its num_hidden_layers is 1, the base model's is 2.",
        "--sparse-from mine: 2 tokens of its vocabulary are absent from the base model's or have another number there",
        f"--sparse-from mine: {folder / 'model.safetensors'} does not fit its config.json: it has 16 encoder tensors",
    ):
        assert said in done.err
    assert done.err.startswith("3 problems")


def test_a_tokenizer_that_a_sparse_checkpoint_brings_is_looked_at_once(run_harness: Run, world: World) -> None:
    folder = write_sparse(world.folder / "mine")
    (folder / "tokenizer.json").write_text("{}")
    done = run_harness(world.grid("--dry-run", "--sparse-from", f"mine={folder}"))
    assert done.err.startswith(f"error: --sparse-from mine: {folder / 'tokenizer.json'} cannot be read as a tokenizer.")


def test_a_key_that_a_checkpoint_leaves_out_has_the_librarys_value(run_harness: Run, world: World) -> None:
    """The base model says 512 positions, which is what the library takes; and relu, which it does not."""
    configured(world.folder / "model", hidden_act="relu")
    folder = write_sparse(world.folder / "mine", max_position_embeddings=None)
    done = run_harness(world.grid("--dry-run", "--sparse-from", f"mine={folder}"))
    assert "its hidden_act is 'gelu', the base model's is 'relu'." in done.err
    assert "positions" not in done.err


def test_a_pickle_that_is_cut_off_is_told_without_opening_it(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 1000)
    assert pickle_problem(file) is None
    file.write_bytes(file.read_bytes()[:-30])
    assert pickle_problem(file) == f"{file} is cut off. Copy it again."
    file.write_bytes(b"\x80\x02}q\x00.")  # of before torch 1.6: a bare pickle
    assert pickle_problem(file) is None
    file.write_bytes(b"")
    assert pickle_problem(file) is not None


def test_what_the_hubs_cache_holds_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model, a released checkpoint and a shard of data, each cut off."""
    model, released = write_model(tmp_path / "m"), write_model(tmp_path / "r")
    for file in (model / "model.safetensors", released / "model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    monkeypatch.setattr("harness.inputs.models.cached_snapshot", lambda source, files: model)
    monkeypatch.setattr("harness.inputs.sparse_checkpoints.cached_snapshot", lambda source, files: released)
    (problem,) = find_models([("bert-base", None)], ContentHashes()).problems
    assert problem.message.startswith(f"model 'bert-base': {model / 'model.safetensors'} is cut off")
    checkpoint = load_preset("paper-released").sparse_checkpoints[0]
    (problem,) = locate_released([checkpoint], {}).problems
    assert f"sparse checkpoint bert-base 0.85: {released / 'model.safetensors'} is cut off" in problem.message

    shard = tmp_path / "sst2" / "train-00000-of-00001.parquet"
    shard.parent.mkdir()
    shard.write_bytes(b"PAR1 and no more")
    monkeypatch.setattr("harness.inputs.data_sources.cached_files", lambda *words: (shard,))
    (told,) = HubData().problems([get_task("sst2")], corpus=False)
    assert told.startswith(f"{shard}: not readable as parquet")
    assert told.endswith("remove it there, and run harness fetch where there is internet.")


def test_headers_alone_are_read_of_a_large_file(tmp_path: Path) -> None:
    """A head of eight gigabytes of nothing: what does not fit is told at once and in little memory."""
    file = write_model(tmp_path / "m") / "model.safetensors"
    content = file.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    header, end = json.loads(content[8:data]), len(content) - data
    header["cls.weight"] = {"dtype": "F32", "shape": [2**31], "data_offsets": [end, end + 2**33]}
    text = json.dumps(header).encode()
    with file.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text + content[data:])
        handle.truncate(8 + len(text) + end + 2**33)
    configured(file.parent, num_hidden_layers=1)
    program = (
        "import re, sys, time; from pathlib import Path; from harness.inputs.models import model_problems;"
        "began = time.process_time(); (problem,) = model_problems([('m', Path(sys.argv[1]))]);"
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text());"
        "print(time.process_time() - began, peak[1], problem)"
    )
    seconds, kilobytes, problem = python("-c", program, str(file.parent)).stdout.split(maxsplit=2)
    assert "has no place" in problem
    assert float(seconds) < 0.5
    assert int(kilobytes) < 150_000


# -- what config.json says beside its sizes


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("is_decoder", True, "gives is_decoder = True. Expected an encoder"),
        ("add_cross_attention", True, "gives add_cross_attention = True"),
        ("quantization_config", {"bits": 4}, "gives quantization_config = {'bits': 4}"),
        ("hidden_dropout_prob", "0.1", "gives hidden_dropout_prob = '0.1'. Expected a share from 0 to below 1."),
        ("attention_probs_dropout_prob", 2, "gives attention_probs_dropout_prob = 2"),
        ("classifier_dropout", -0.1, "gives classifier_dropout = -0.1"),
        ("layer_norm_eps", 0, "gives layer_norm_eps = 0. Expected a number above 0."),
        ("initializer_range", True, "gives initializer_range = True"),
        ("hidden_act", 3, "gives hidden_act = 3. Expected the name of an activation"),
        ("pad_token_id", 10**6, "gives pad_token_id = 1000000. Expected the number of a token"),
        ("pad_token_id", -1, "gives pad_token_id = -1"),
    ],
)
def test_what_no_encoder_can_have_is_told_while_planning(tmp_path: Path, key: str, value: Any, words: str) -> None:
    folder = write_model(tmp_path / "model", **{key: value})
    (problem,) = problems(folder)
    assert problem.startswith(f"model 'tiny': {folder / 'config.json'} {words}")


def test_the_usual_values_are_taken(tmp_path: Path) -> None:
    usual = {"hidden_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0}
    assert not problems(write_model(tmp_path / "model", **usual, is_decoder=False, quantization_config={}))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_python_alone_takes_for_json_is_none(tmp_path: Path, constant: str) -> None:
    folder = write_model(tmp_path / "model", initializer_range=0.125)
    config = folder / "config.json"
    config.write_text(config.read_text().replace("0.125", constant))
    (problem,) = problems(folder)
    assert problem.startswith(f"model 'tiny': {config} is no JSON object ({constant} is no JSON).")


def test_weights_in_several_files_are_told_how_to_be_one(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    (problem,) = problems(folder)
    assert "has its weights in several files" in problem
    assert "max_shard_size" in problem


# -- files that change after the plan


@pytest.mark.parametrize(
    ("name", "told"), [("model.safetensors", "weights"), ("config.json", "weights"), ("vocab.txt", "tokenizer")]
)
def test_files_that_changed_since_the_plan_are_refused(tmp_path: Path, name: str, told: str) -> None:
    folder = write_model(tmp_path / "model", initializer_range=0.125)
    model = find_models([("tiny", folder)], ContentHashes()).models["tiny"]
    check_unchanged(model, ContentHashes())
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(before.replace(b"0.125", b"0.25") if name == "config.json" else before[:-1] + b"x")
    with pytest.raises(UsageError, match=f"model 'tiny': {told} in {folder} changed since the plan was made"):
        check_unchanged(model, ContentHashes())
    (folder / name).write_bytes(before)
    check_unchanged(model, ContentHashes())
    check_unchanged(replace(model, weights="of a commit", pinned=True), ContentHashes())


def test_a_folder_that_is_gone_since_the_plan_is_said_to_be(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    model = find_models([("tiny", folder)], ContentHashes()).models["tiny"]
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=f"model 'tiny': {folder} is no folder"):
        check_unchanged(model, ContentHashes())
