"""Families that others declare: in `family.toml` beside a model's config.json, or by a package's entry point.

The declaration goes into config.json, under the key `encoder_family`: it is part of what the model is (its content id),
and every model that is trained from it carries it along. A declaration is a table, the fields of `Family` as TOML has
them; `like` names a family of ours whose fields stand where it gives none. Read without torch.
"""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harness.errors import UsageError, text_of, unknown_name
from harness.inputs.families import FAMILIES
from harness.inputs.family import BERT_TOKENS, KERNELS, SIZES, Family

FILE = "family.toml"
KEY = "encoder_family"
GROUP = "harness.families"
LIKE = "like"
PAGE = "docs/new-encoder.md"
_MEND = "Mend or uninstall the package."


def with_declaration(what: str, folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of a folder, with the declaration of its family where that is not one of ours.

    what: sentences begin with it. Raises UsageError for a model_type that nobody declares, and with every problem of a
    declaration.
    """
    name, file = config.get("model_type"), folder / FILE
    if not isinstance(name, str):
        raise UsageError(f"{what}: " + unknown_name("model_type", str(name), FAMILIES))
    if name in FAMILIES:
        if file.is_file() or KEY in config:
            where = file if file.is_file() else f"{KEY} in {folder / 'config.json'}"
            raise UsageError(f"{what}: {where} declares {name!r}, which is a family of the harness. Remove it.")
        return dict(config)
    if file.is_file():
        table, where = _read(what, file), str(file)
    elif KEY in config:
        table, where = config[KEY], f"{KEY} in {folder / 'config.json'}"
    elif (point := _entry_point(what, name)) is not None:
        table, where = table_of(_loaded(what, point)), f"the entry point {point.value}"
    else:
        raise UsageError(f"{what}: {unknown_name('model_type', name, FAMILIES)} {how_to_declare(name, file)}")
    problems = [f"{what}: {where}: {problem}" for problem in table_problems(table, name)]
    if problems:
        raise UsageError(problems)
    return {**config, KEY: table}


def how_to_declare(name: str, file: Path) -> str:
    """The next move for a model_type that nobody declares."""
    return (
        f"Another encoder is declared by its list of modules, in {file} or by a package's entry point in the group "
        f"{GROUP}. Where its modules are named as a known family's, two lines do: name = {json.dumps(name)} and "
        f'{LIKE} = "roberta" ({PAGE} has a whole one).'
    )


def family_in(config: Mapping[str, Any]) -> Family:
    """The family of a configuration that `with_declaration` gave, or of a loaded model. Raises KeyError for another."""
    name = config["model_type"]
    return FAMILIES[name] if name in FAMILIES else _from_text(json.dumps(config[KEY]))


@cache
def _from_text(table: str) -> Family:
    return family_of_table(json.loads(table))


def family_of_table(table: Mapping[str, Any]) -> Family:
    """The family that a table declares. Raises UsageError with every problem."""
    if problems := list(table_problems(table, table.get("name"))):
        raise UsageError(problems)
    return Family(**{name: _FORMS[name].frozen(value) for name, value in _whole(table).items()})


def table_of(family: Family) -> dict[str, Any]:
    """A family as a table; what has its default is left out."""
    return {
        name: _thawed(value) for name, value in vars(family).items() if name in REQUIRED or not _is_default(name, value)
    }


# -- where declarations are


def _read(what: str, file: Path) -> Any:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"{what}: {file} is no TOML ({error}). {PAGE} has a whole declaration.") from None


def _entry_point(what: str, name: str) -> EntryPoint | None:
    """The one of this name; a family that two packages declare is a problem."""
    found = [*{point.value: point for point in entry_points(group=GROUP, name=name)}.values()]
    if len(found) > 1:
        targets = ", ".join(sorted(point.value for point in found))
        raise UsageError(f"{what}: more than one entry point declares the family {name!r} ({targets}). {_MEND}")
    return found[0] if found else None


def _loaded(what: str, point: EntryPoint) -> Family:
    origin = f"{what}: the entry point {point.name} = {point.value} of {GROUP}"
    module, _, attribute = point.value.partition(":")
    try:
        value = vars(importlib.import_module(module)).get(attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever their code does on import, it is their package's problem
        told = f"{type(error).__name__}: {text_of(error)}".rstrip(": ")
        raise UsageError(f"{origin} cannot be loaded ({told}). {_MEND}") from error
    if not isinstance(value, Family):
        raise UsageError(
            f"{origin} is a value of type {type(value).__name__}, expected a harness.plugin.Family. {_MEND}"
        )
    return value


# -- what a table may hold


class _Form:
    """The form of a field: a test of the value as TOML or JSON has it, its words, and its value in a Family."""

    def __init__(
        self, fits: Callable[[Any], bool], words: str, frozen: Callable[[Any], Any] = lambda value: value
    ) -> None:
        self.fits, self.words, self.frozen = fits, words, frozen


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_table_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(_is_text(k) and fits(v) for k, v in value.items())


_TEXT = _Form(_is_text, "a text")
_TEXT_OR_NONE = _Form(lambda value: value is None or _is_text(value), "a text, or left out")
_FLAG = _Form(lambda value: isinstance(value, bool), "true or false")
_TEXTS = _Form(_are_texts, 'a list of texts, as ["a", "b"]', tuple)
_SHAPES = _Form(
    _is_table_of(_are_texts),
    'a table of shapes, as "output.dense" = ["width", "feed_forward"]',
    lambda value: {name: tuple(shape) for name, shape in value.items()},
)
_NAMES = _Form(_is_table_of(_is_text), 'a table of texts, as layers = "num_hidden_layers"', dict)
_VALUES = _Form(_is_table_of(lambda value: True), "a table, as num_hidden_layers = 12", dict)
_FORMS: Mapping[str, _Form] = {
    "name": _TEXT,
    "backbone": _TEXT,
    "layers": _TEXT,
    "linears": _SHAPES,
    "norms": _TEXTS,
    "embeddings": _SHAPES,
    "fp32_outputs": _TEXTS,
    "pretraining_heads": _TEXTS,
    "task_heads": _TEXTS,
    "masked_lm_transform": _TEXTS,
    "masked_lm_decoder": _TEXT,
    "architecture": _VALUES,
    "sizes": _NAMES,
    "pooler": _TEXT_OR_NONE,
    "next_sentence": _TEXT_OR_NONE,
    "biases": _FLAG,
    "absent": _TEXTS,
    "projections": _SHAPES,
    "aliases": _NAMES,
    "fixed": _VALUES,
    "token_types": _FLAG,
    "special_tokens": _NAMES,
    "positions_after": _TEXT_OR_NONE,
    "attention": _TEXTS,
}
_DEFAULTS = {
    **{each.name: each.default for each in fields(Family) if each.default is not MISSING},
    **{each.name: each.default_factory() for each in fields(Family) if each.default_factory is not MISSING},
}
REQUIRED = tuple(each.name for each in fields(Family) if each.name not in _DEFAULTS)


def _is_default(name: str, value: Any) -> bool:
    return name in _DEFAULTS and bool(_DEFAULTS[name] == value)


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _thawed(each) for name, each in value.items()}
    return [_thawed(each) for each in value] if isinstance(value, tuple | list) else value


def _whole(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the fields of the family it is like, without `like`."""
    own = {name: value for name, value in table.items() if name != LIKE}
    return {**table_of(FAMILIES[table[LIKE]]), **own} if LIKE in table else own


def table_problems(table: Any, name: Any) -> Iterator[str]:
    """Everything that keeps a table from declaring the family of a model_type, a sentence each."""
    if not isinstance(table, Mapping):
        yield f"it is a {type(table).__name__}. Expected a table with the fields of a family ({PAGE})."
        return
    if LIKE in table and (not isinstance(table[LIKE], str) or table[LIKE] not in FAMILIES):
        yield f"{LIKE}: {unknown_name('family', str(table[LIKE]), FAMILIES)}"
        return
    whole = _whole(table)
    for field in whole.keys() - _FORMS.keys():
        yield unknown_name("field", field, [*_FORMS, LIKE])
    if lacking := [field for field in REQUIRED if field not in whole]:
        yield f'it lacks {", ".join(lacking)}. Expected all of them, or {LIKE} = "a known family" to take them from.'
    misfits = {field for field, form in _FORMS.items() if field in whole and not form.fits(whole[field])}
    for field in (field for field in _FORMS if field in misfits):
        yield f"{field} = {whole[field]!r}. Expected {_FORMS[field].words}."
    if not misfits and not lacking:
        yield from _contradictions(whole, name)


def _contradictions(whole: Mapping[str, Any], name: Any) -> Iterator[str]:
    """Fields that are of the right form, and do not fit each other."""
    if whole["name"] != name:
        yield f"name = {whole['name']!r}, and config.json has the model_type {name!r}. Expected one name."
    if whole["name"] in FAMILIES:
        yield f"name = {whole['name']!r} is a family of the harness. Expected another one's."
    around = whole["layers"].split("{i}")
    if len(around) != 2 or {*"{}"} & {*"".join(around)}:
        yield f"layers = {whole['layers']!r}. Expected a module's path with {{i}} for the number of the layer."
    if not whole["linears"]:
        yield "linears is empty. Expected the matrices of a layer that may be pruned."
    if others := [linear for linear in whole["fp32_outputs"] if linear not in whole["linears"]]:
        yield f"fp32_outputs names {', '.join(others)}. Expected some of the linears: {', '.join(whole['linears'])}."
    norms = tuple(f".{norm}" for norm in whole["norms"])
    if others := [
        path for path in whole.get("absent", ()) if not (path.startswith(around[0]) and path.endswith(norms))
    ]:
        yield f"absent names {', '.join(others)}. Expected norms of one layer, by their whole path ({around[0]}0.NORM)."
    kernels = whole.get("attention", KERNELS)
    if not kernels or {*kernels} - {*KERNELS}:
        yield f"attention = {list(kernels)}. Expected some of {', '.join(KERNELS)}."
    tokens = whole.get("special_tokens", BERT_TOKENS)
    if {*tokens} != {*BERT_TOKENS}:
        yield f"special_tokens names {', '.join(tokens) or 'none'}. Expected {', '.join(BERT_TOKENS)}."
    yield from _unknown_keys(whole)
    yield from _unknown_sizes(whole)


def _unknown_keys(whole: Mapping[str, Any]) -> Iterator[str]:
    """Keys of config.json that the architecture gives no value."""
    architecture, expected = whole["architecture"], "Expected it there, with the library's value"
    for field in ("sizes", "aliases"):
        for word, key in whole.get(field, {}).items():
            if key not in architecture:
                yield f"{field}: {word} = {key!r} is no key of architecture. {expected}."
    for key in whole.get("fixed", {}):
        if key not in architecture:
            yield f"fixed: {key!r} is no key of architecture. {expected}."
    after = whole.get("positions_after")
    if after is not None and type(architecture.get(after)) is not int:
        yield f"positions_after = {after!r} is no key of architecture with a whole number. {expected}."


def _unknown_sizes(whole: Mapping[str, Any]) -> Iterator[str]:
    """Sizes that are lacking, and shapes that are not in terms of them."""
    sizes = whole["sizes"]
    if lacking := [size for size in SIZES if size not in sizes]:
        yield f"sizes lacks {', '.join(lacking)}. Expected a key of config.json for each of {', '.join(SIZES)}."
    for field, lengths in (("linears", (2,)), ("embeddings", (1, 2)), ("projections", (2,))):
        for module, shape in whole.get(field, {}).items():
            if len(shape) not in lengths:
                expected = " or ".join(map(str, lengths))
                yield f"{field}: {module!r} has the shape {list(shape)}. Expected {expected} sizes."
            if others := [word for word in shape if not _is_size(word, sizes)]:
                known = ", ".join(sizes)
                yield f"{field}: {module!r} names {', '.join(others)}. Expected {known}, or a multiple, as 3*width."


def _is_size(word: str, sizes: Mapping[str, str]) -> bool:
    times, star, size = word.rpartition("*")
    return size in sizes and (not star or (times.isascii() and times.isdigit() and int(times) > 0))
