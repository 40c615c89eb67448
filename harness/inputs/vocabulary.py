"""The vocabulary of a tokenizer, from its files alone: the library that would read them takes seconds to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.identity import parse_json

FILES = ("tokenizer.json", "vocab.txt")  # in order of preference, which is the library's


def read_vocabulary(folder: Path) -> dict[str, int] | None:
    """Token -> id; None where the folder has no tokenizer. Raises UsageError when its file cannot be read."""
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        return None
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return _tokens(parse_json(text))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UsageError(
            f"{file} cannot be read as a tokenizer. Expected the model's own tokenizer.json or vocab.txt: copy it "
            "again."
        ) from None
    return {token: number for number, token in enumerate(text.removesuffix("\n").split("\n"))}


def _tokens(tree: Any) -> dict[str, int]:
    """Of a tokenizer.json: a mapping, or a list of [token, score] in the order of ids; and the tokens added to it."""
    vocabulary = tree["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
    added = {entry["content"]: entry["id"] for entry in tree.get("added_tokens") or ()}
    return {str(token): int(number) for token, number in {**vocabulary, **added}.items()}


def check_vocabulary(what: str, folder: Path, vocab_size: int) -> None:
    """Raises UsageError when a tokenizer gives a token a number for which the model has no embedding."""
    try:
        vocabulary = read_vocabulary(folder)
    except UsageError as error:
        raise UsageError([f"{what}: {problem.message}" for problem in error.problems]) from None
    if vocabulary is None:
        return
    count = max(len(vocabulary), max(vocabulary.values(), default=-1) + 1)
    if count > vocab_size:
        raise UsageError(
            f"{what}: the tokenizer in {folder} has {count} tokens and config.json a vocab_size of {vocab_size}. "
            "Expected those of one model: copy them again."
        )
