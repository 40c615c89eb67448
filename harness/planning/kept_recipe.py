"""The recipe as a study keeps it (`Preset.as_json`): its form, its hash, and the recipe that it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.identity import sha256_of
from harness.inputs.hub import HubSource
from harness.inputs.sparse_checkpoints import ReleasedCheckpoint
from harness.planning.recipe import EVIDENCE, Recipe, Setting

TEXTS = ("preset", "description", "hash")


def hash_of(values: Mapping[str, Any], released: Iterable[ReleasedCheckpoint]) -> str:
    """128 bits over every dotted key and value, and the released checkpoints."""
    checkpoints = {f"sparse_checkpoints.{checkpoint}": checkpoint.content_id for checkpoint in released}
    return sha256_of({**values, **checkpoints})[:32]


def check_kept(kept: Any) -> None:
    """Raises ValueError where it has not the form of a recipe, or its hash does not fit its values."""
    if not isinstance(kept, Mapping):
        raise ValueError("recipe: expected an object")
    for name in TEXTS:
        if not isinstance(kept.get(name), str):
            raise ValueError(f"recipe.{name} is {kept.get(name)!r}: expected a text")
    for name in ("notes", *(["defaults"] if "defaults" in kept else [])):
        if not isinstance(kept.get(name), list) or not all(isinstance(each, str) for each in kept[name]):
            raise ValueError(f"recipe.{name} is {kept.get(name)!r}: expected a list of texts")
    if not isinstance(kept.get("settings"), Mapping):
        raise ValueError(f"recipe.settings is {kept.get('settings')!r}: expected an object")
    for key, setting in kept["settings"].items():
        if not _is_setting(setting):
            raise ValueError(
                f"recipe.settings: {key} is {setting!r}: expected [value, evidence, source], the evidence one of "
                f"{', '.join(EVIDENCE)}"
            )
    released = _released(kept)
    values = _given_values(kept)
    if values is not None and hash_of(values, released) != kept["hash"]:
        raise ValueError("recipe.settings: a value was changed (the recipe's hash does not fit them)")


def recipe_of(kept: Mapping[str, Any]) -> Recipe:
    """The recipe of a study, the declared defaults that its stages use among its settings."""
    return Recipe(settings={key: Setting(*setting) for key, setting in kept["settings"].items()})


def _is_setting(setting: Any) -> bool:
    return (
        isinstance(setting, list)
        and len(setting) == 3
        and setting[1] in EVIDENCE
        and isinstance(setting[2], str)
        and setting[0] is not None
    )


def _given_values(kept: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values that the preset and the user gave, which the hash is over.

    None where a study of an earlier version does not say which settings of a method's own kind are declared defaults.
    """
    settings = kept["settings"]
    if "defaults" not in kept and any(":" in key and setting[1] != "set" for key, setting in settings.items()):
        return None
    defaults = set(kept.get("defaults", ()))
    return {key: setting[0] for key, setting in settings.items() if key not in defaults}


def _released(kept: Mapping[str, Any]) -> list[ReleasedCheckpoint]:
    """Raises ValueError for a checkpoint that is not named as it should be."""
    entries = kept.get("sparse_checkpoints", [])
    try:
        return [
            ReleasedCheckpoint(
                model=entry["model"],
                sparsity=float(entry["sparsity"]),
                source=HubSource(repository=entry["repository"], revision=entry["revision"]),
                evidence="",
            )
            for entry in entries
        ]
    except (KeyError, TypeError, AttributeError):
        raise ValueError(
            f"recipe.sparse_checkpoints is {entries!r}: expected model, sparsity, repository and revision of each"
        ) from None
