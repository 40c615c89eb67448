"""The vocabulary of a tokenizer, from its files alone: the library that would read them takes seconds to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.identity import parse_json
from harness.inputs.family import BERT_TOKENS

FILES = ("tokenizer.json", "vocab.txt")  # in order of preference, which is the library's
SPECIAL_TOKENS = BERT_TOKENS  # what a text is put into, by the library's names
SPECIAL_TOKEN_FILES = ("tokenizer_config.json", "special_tokens_map.json")  # the first that names a token counts
# Embeddings that belong to no token: vocabularies are padded to a multiple of 8, 64 or 128, and have gaps.
MOST_UNUSED = 127
COPY = "copy it again."


def read_vocabulary(folder: Path) -> dict[str, int] | None:
    """Token -> number; None where the folder has no tokenizer. Raises UsageError when its file cannot be read, or has
    a token in two lines."""
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        return None
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return _tokens(parse_json(text))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UsageError(
            f"{file} cannot be read as a tokenizer. Expected the model's own tokenizer.json or vocab.txt: {COPY}"
        ) from None
    found: dict[str, int] = {}
    for number, token in enumerate(text.removesuffix("\n").split("\n")):
        if (first := found.setdefault(token, number)) != number:
            lines = f"in lines {first + 1} and {number + 1}"
            raise UsageError(f"{file} has the token {token!r} {lines}. Expected every token once: {COPY}")
    return found


def _tokens(tree: Any) -> dict[str, int]:
    """Of a tokenizer.json: a mapping, or a list of [token, score] in the order of ids; and the tokens added to it."""
    vocabulary = tree["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
    added = {entry["content"]: entry["id"] for entry in tree.get("added_tokens") or ()}
    found = {str(token): int(number) for token, number in {**vocabulary, **added}.items()}
    if any(number < 0 for number in found.values()):
        raise ValueError("a token has a number below 0")
    return found


def read_special_tokens(folder: Path, defaults: Mapping[str, str] = SPECIAL_TOKENS) -> dict[str, str]:
    """`SPECIAL_TOKENS` as the folder's files name them. Raises UsageError for a file that cannot be read.

    defaults: what the family calls them where the files do not say.
    """
    found: dict[str, str] = {}
    for file in (folder / name for name in SPECIAL_TOKEN_FILES):
        if file.is_file():
            try:
                given = parse_json(file.read_bytes())
                named = {role: _text_of(given.get(role)) for role in SPECIAL_TOKENS}
            except (ValueError, AttributeError):
                raise UsageError(f"{file} is no JSON object. Expected the tokenizer's own: {COPY}") from None
            found |= {role: token for role, token in named.items() if token is not None and role not in found}
    return {**defaults, **found}


def _text_of(token: Any) -> str | None:
    """A token of the library's files: a text, or a mapping with its content; None where there is none."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) else None


def check_vocabulary(
    what: str, folder: Path, vocab_size: int, special_tokens: Mapping[str, str] = SPECIAL_TOKENS
) -> None:
    """Raises UsageError with every reason why a folder's tokenizer is not that of a model with so many embeddings.

    what: sentences begin with it. special_tokens: what the family calls them where the tokenizer does not say.
    """
    try:
        vocabulary, special = read_vocabulary(folder), read_special_tokens(folder, special_tokens)
    except UsageError as error:
        raise UsageError([f"{what}: {problem.message}" for problem in error.problems]) from None
    problems = (
        [] if vocabulary is None else vocabulary_problems(folder, vocabulary, special, vocab_size, special_tokens)
    )
    if found := [f"{what}: {problem}" for problem in problems]:
        raise UsageError(found)


def vocabulary_problems(
    folder: Path,
    vocabulary: Mapping[str, int],
    special: Mapping[str, str | None],
    vocab_size: int,
    defaults: Mapping[str, str] = SPECIAL_TOKENS,
) -> Iterator[str]:
    """Why a tokenizer is not that of a model with so many embeddings, a sentence each.

    vocabulary: token -> number. special: the tokens of `SPECIAL_TOKENS`, None where the tokenizer has none. defaults:
    what the family calls them.
    """
    tokenizer = f"the tokenizer in {folder}"
    count = max(vocabulary.values(), default=-1) + 1
    unused = vocab_size - len({*vocabulary.values()})
    sizes = f"has {{}} tokens and config.json a vocab_size of {vocab_size}"
    if count > vocab_size:
        yield f"{tokenizer} {sizes.format(count)}. Expected those of one model: copy them again."
    elif unused > MOST_UNUSED:
        yield (
            f"{tokenizer} {sizes.format(len(vocabulary))}, so that {unused} embeddings belong to no token. Expected at "
            f"most {MOST_UNUSED}, as where a vocabulary is padded, else both are not of one model: copy them again, or "
            "have the library cut the embeddings (resize_token_embeddings) and save the model."
        )
    if shared := _one_number(vocabulary):
        number = vocabulary[shared[0]]
        yield f"{tokenizer} gives the tokens {', '.join(shared)} one number ({number}). Expected a number each: {COPY}"
    lacking = [
        f"{token} ({role})" if token else f"a {role}" for role, token in special.items() if token not in vocabulary
    ]
    if lacking:
        yield (
            f"{tokenizer} lacks {', '.join(lacking)}. Expected the tokens that a text is put into, "
            f"{', '.join(defaults.values())}: copy the model's own tokenizer again, with its "
            "tokenizer_config.json where they have other names."
        )


def _one_number(vocabulary: Mapping[str, int]) -> list[str]:
    """The first tokens that share a number; none where each has its own."""
    if len({*vocabulary.values()}) == len(vocabulary):
        return []
    by_number: dict[int, list[str]] = {}
    for token, number in vocabulary.items():
        by_number.setdefault(number, []).append(token)
    return next(tokens for tokens in by_number.values() if len(tokens) > 1)
