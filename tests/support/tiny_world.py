"""A world small enough to train in seconds: a 2-layer BERT of width 32, its tokenizer, sst2, squad and a corpus."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerBase,
    set_seed,
)

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GOOD = ["good", "fine", "great", "lovely", "warm", "bright"]
BAD = ["bad", "poor", "dull", "awful", "cold", "grim"]
THINGS = ["film", "book", "song", "play", "show", "tale", "dish", "walk"]
NAMES = ["anna", "ben", "carl", "dora", "emil", "fay"]
PLACES = ["paris", "rome", "oslo", "cairo", "lima"]
GLUE = ["the", "a", "was", "is", "in", "of", "and", "very", "it", "lives", "where", "does", "?", ".", "who"]
WORDS = [*GOOD, *BAD, *THINGS, *NAMES, *PLACES, *GLUE]

NUM_LAYERS = 2
MATRICES = 6 * NUM_LAYERS
ENCODER_WEIGHTS = NUM_LAYERS * (4 * 32 * 32 + 2 * 32 * 64)
SQUAD_VALIDATION = 10
SST2_VALIDATION = 37


def wordpiece_tokenizer(folder: Path, tokens: Iterable[str]) -> PreTrainedTokenizerBase:
    """A lower-casing BERT tokenizer with the special tokens (ids 0 to 4) and then these tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *tokens]) + "\n", encoding="utf-8")
    return BertTokenizerFast.from_pretrained(str(folder))


def make_model(folder: Path) -> Path:
    """A hub-layout folder with random weights and no head, as minilm-l6 has none."""
    tokenizer = wordpiece_tokenizer(folder, WORDS)
    tokenizer.save_pretrained(folder)
    set_seed(7)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def make_distilbert(folder: Path) -> Path:
    """The same shape in the DistilBERT family: no pooler, no token types."""
    tokenizer = wordpiece_tokenizer(folder, WORDS)
    tokenizer.save_pretrained(folder)
    set_seed(7)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, n_layers=NUM_LAYERS, n_heads=2, hidden_dim=64, max_position_embeddings=128
    )
    DistilBertModel(config).save_pretrained(folder)
    return folder


def make_sparse(folder: Path, base: Path, sparsity: float, *, pickled: bool = False) -> Path:
    """The base model with this share of every encoder matrix set to zero, named as in a model with a head.

    The zeros stand where a seeded draw put them. pickled: the weights as pytorch_model.bin, as on the hub.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in base.iterdir():
        if path.name != "model.safetensors":
            shutil.copyfile(path, folder / path.name)
    backbone = "bert" if "type_vocab_size" in (base / "config.json").read_text() else "distilbert"
    draw = torch.Generator().manual_seed(11)
    tensors = {"cls.seq_relationship.weight": torch.rand(2, 32, generator=draw)}  # a head; it stays behind
    for name, tensor in load_file(base / "model.safetensors").items():
        if ".layer." in name and tensor.ndim == 2:
            places = torch.randperm(tensor.numel(), generator=draw)[: int(sparsity * tensor.numel() + 1e-9)]
            tensor.view(-1)[places] = 0.0
        tensors[f"{backbone}.{name}"] = tensor
    if pickled:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def make_data(folder: Path) -> Path:
    """sst2, squad and corpus in the hub's schema; labels follow from the words."""
    draw = random.Random(3)
    for split, rows in (("train", 96), ("validation", SST2_VALIDATION)):
        labels = [draw.randrange(2) for _ in range(rows)]
        texts = [f"the {draw.choice(THINGS)} was very {draw.choice(GOOD if label else BAD)} ." for label in labels]
        _write(folder / "sst2" / f"{split}.parquet", {"sentence": texts, "label": labels, "idx": list(range(rows))})
    for split, rows in (("train", 24), ("validation", SQUAD_VALIDATION)):
        _write(folder / "squad" / f"{split}.parquet", _questions(draw, split, rows))
    for split, rows in (("train", 40), ("validation", 10)):
        texts = ["\n".join(_sentence(draw) for _ in range(draw.randint(4, 9))) for _ in range(rows)]
        _write(folder / "corpus" / f"{split}.parquet", {"title": [f"t{i}" for i in range(rows)], "text": texts})
    return folder


def _sentence(draw: random.Random) -> str:
    if draw.random() < 0.5:
        return f"{draw.choice(NAMES).capitalize()} lives in {draw.choice(PLACES)}."
    return f"The {draw.choice(THINGS)} was very {draw.choice(GOOD + BAD)}."


def _questions(draw: random.Random, split: str, rows: int) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {name: [] for name in ("id", "title", "context", "question", "answers")}
    for i in range(rows):
        people = draw.sample(NAMES, 4)
        context = " ".join(f"{name} lives in {draw.choice(PLACES)}." for name in people)
        asked = draw.choice(people)
        start = context.index(f"{asked} lives in ") + len(f"{asked} lives in ")
        answer = context[start : context.index(".", start)]
        columns["id"].append(f"{split}-{i}")
        columns["title"].append("people")
        columns["context"].append(context)
        columns["question"].append(f"where does {asked} lives ?")
        columns["answers"].append({"text": [answer], "answer_start": [start]})
    return columns


def _write(path: Path, columns: dict[str, list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


PRESET = Path(__file__).parent / "presets" / "slice.toml"
STUDY = PRESET.stem
SETTINGS = {
    "common.threads": 1,
    "common.batch_size": 8,
    "common.frequency": 0.05,
    "common.evaluation_pairs": 16,
    "pairs.max_length": 32,
    "teacher_preparation.steps": 12,
    "teacher_preparation.batch_size": 8,
    "student_pruning.steps": 20,
    "student_pruning.batch_size": 8,
    "dense.epochs": 8.0,
    "dense.learning_rate": 0.01,
    "transfer.learning_rate": 0.003,
    "task_pruning.learning_rate": 0.003,
    "quantization.epochs": 2.0,
    "quantization.learning_rate": 0.0003,
    "task.sst2.max_length": 16,
    "task.sst2.train_examples": 96,
    "task.squad.max_length": 32,
    "task.squad.doc_stride": 8,
    "task.squad.max_query_length": 10,
    "task.squad.train_examples": 24,
    "dense.tasks.squad.batch_size": 8,
    "transfer.tasks.squad.batch_size": 8,
    "task_pruning.tasks.squad.batch_size": 8,
    "quantization.tasks.squad.batch_size": 8,
    "evaluation.batch_size": 16,
}


def grid_arguments(model: Path, data: Path, store: Path, **changed: object) -> list[str]:
    """Arguments of `harness grid` for the tiny world; `changed` replaces settings, "__" standing for the dot."""
    settings = {**SETTINGS, **{key.replace("__", "."): value for key, value in changed.items()}}
    assignments = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return [
        "grid",
        "--preset",
        str(PRESET),
        "--models",
        f"tiny={model}",
        "--data",
        str(data),
        "--store",
        str(store),
        "--executor",
        "debug",
        *assignments,
    ]
