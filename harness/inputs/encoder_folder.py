"""An encoder's folder in the hub's layout: config.json, weights and tokenizer, and whether they fit each other.

What is wrong with such a folder is decided here, for a plan and for the stage that loads it alike. Nothing is read but
config.json, the header of the weights and the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import Problem, Problems, UsageError
from harness.identity import parse_json
from harness.inputs.declared_families import family_in, with_declaration
from harness.inputs.family import Family
from harness.inputs.vocabulary import FILES as VOCABULARY_FILES
from harness.inputs.vocabulary import check_vocabulary
from harness.inputs.weight_files import PICKLED, SAFETENSORS, check_weights, pickle_problem

INDEX = f"{SAFETENSORS}.index.json"
_UNREAD = ("vocab.json", "merges.txt", "spm.model", "sentencepiece.bpe.model")  # tokenizers in other files


class EncoderFolder(NamedTuple):
    """What config.json says. sizes: by the names of `Family.sizes`."""

    config: dict[str, Any]
    family: Family
    sizes: dict[str, int]


def check_encoder_folder(
    what: str,
    folder: Path,
    *,
    takes_pickles: bool = False,
    needs_tokenizer: bool = True,
    beside: Callable[[dict[str, Any], Family], Iterable[Problem | str]] = lambda config, family: (),
) -> EncoderFolder:
    """What config.json says, once weights and tokenizer are found to fit it.

    takes_pickles: weights may be pickled; then it is only told that they are not cut off. needs_tokenizer: False: it
    may lack one. beside: what else is wrong, by configuration and family. Raises UsageError with every problem, each
    beginning with `what`.
    """
    config, family = read_config(what, folder)
    problems = Problems()
    problems.extend(
        f"{what}: {folder / 'config.json'} {problem}"
        for problem in (*_config_problems(config), *_other_layouts(config, family))
    )
    problems.extend(beside(config, family))
    sizes = problems.attempt(lambda: read_sizes(config, family, f"{what}: {folder / 'config.json'}"), None)
    if (folder / SAFETENSORS).is_file():
        if sizes is not None:
            problems.attempt(partial(check_weights, what, folder / SAFETENSORS, family, sizes), None)
    elif not takes_pickles:
        problems.add(f"{what}: {_no_weights(folder)}")
    elif problem := pickle_problem(folder / PICKLED):
        problems.add(f"{what}: {problem}")
    if any((folder / name).is_file() for name in VOCABULARY_FILES):
        if sizes is not None:
            vocabulary = sizes["vocabulary"]
            problems.attempt(partial(check_vocabulary, what, folder, vocabulary, family.special_tokens), None)
    elif needs_tokenizer:
        problems.add(f"{what}: neither {' nor '.join(VOCABULARY_FILES)} in {folder}.{_other_tokenizer(folder)}")
    problems.check()
    assert sizes is not None
    return EncoderFolder(config, family, sizes)


def read_config(what: str, folder: Path) -> tuple[dict[str, Any], Family]:
    """config.json of a folder in the hub's layout and its family. Raises UsageError that begins with `what`.

    Of a family that is none of ours, config.json with its declaration (`declared_families`).
    """
    config_file = folder / "config.json"
    if not folder.is_dir():
        raise UsageError(f"{what}: {folder} is no folder. Expected one in the hub's layout; correct the path.")
    if not config_file.is_file():
        raise UsageError(f"{what}: no config.json in {folder}. Expected a folder in the hub's layout.")
    try:
        config = parse_json(config_file.read_bytes(), finite=True)
        config.get("model_type")
    except (ValueError, AttributeError) as error:
        reason = f" ({error})" if isinstance(error, ValueError) else ""
        raise UsageError(f"{what}: {config_file} is no JSON object{reason}. Expected the hub's config.json.") from None
    declared = with_declaration(what, folder, config)
    return declared, family_in(declared)


def read_sizes(config: Mapping[str, Any], family: Family, where: str) -> dict[str, int]:
    """The encoder's sizes by config.json, by the names of `Family.sizes`. where: what a sentence begins with.

    Raises UsageError naming each that is no whole number above 0, and a width that the heads do not divide.
    """
    sizes: dict[str, int] = {}
    problems = []
    for size, key in family.sizes.items():
        value = family.setting(config, key)
        if type(value) is int and value > 0:
            sizes[size] = value
        else:
            problems.append(f"{where} gives {key} = {value!r}. Expected a whole number above 0.")
    if {"width", "heads"} <= sizes.keys() and sizes["width"] % sizes["heads"]:
        width, heads = family.sizes["width"], family.sizes["heads"]
        problems.append(
            f"{where} gives {width} = {sizes['width']} and {heads} = {sizes['heads']}. Expected heads of equal width: "
            "the second must divide the first."
        )
    if problems:
        raise UsageError(problems)
    return sizes


# Keys of config.json by what they must hold where they stand there; a rate may be null.
_RATES = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    *("dropout", "attention_dropout", "seq_classif_dropout", "qa_dropout"),
    *("embedding_dropout", "mlp_dropout", "pooler_dropout", "cls_dropout"),
)
_ABOVE_ZERO = ("layer_norm_eps", "norm_eps", "initializer_range")
_TEXTS = ("hidden_act", "hidden_activation", "activation")
_NEVER = ("is_decoder", "add_cross_attention", "quantization_config")


def _config_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """What no encoder of ours can have, of what config.json says beside its sizes."""
    for key in _RATES:
        if (value := config.get(key)) is not None and not (_is_number(value) and 0 <= value < 1):
            yield f"gives {key} = {value!r}. Expected a share from 0 to below 1."
    for key in _ABOVE_ZERO:
        if key in config and not (_is_number(config[key]) and config[key] > 0):
            yield f"gives {key} = {config[key]!r}. Expected a number above 0."
    for key in _TEXTS:
        if key in config and not isinstance(config[key], str):
            yield f"gives {key} = {config[key]!r}. Expected the name of an activation, as gelu."
    for key in _NEVER:
        if config.get(key):
            yield f"gives {key} = {config[key]!r}. Expected an encoder in floating point: leave the key out."
    vocabulary, padding = config.get("vocab_size"), config.get("pad_token_id")
    if padding is not None and not (type(padding) is int and 0 <= padding < (vocabulary or padding + 1)):
        yield f"gives pad_token_id = {padding!r}. Expected the number of a token, from 0 to below vocab_size."


def _other_layouts(config: Mapping[str, Any], family: Family) -> Iterator[str]:
    """What a family's list of modules does not hold for, of what config.json says."""
    for key, value in family.fixed.items():
        if (said := family.setting(config, key)) != value:
            yield (
                f"gives {key} = {said!r}. Expected {value!r}: with another value a {family.name} has other modules "
                "than those that are listed for it."
            )
    if family.positions_after is not None:
        values = [family.setting(config, key) for key in (family.sizes["positions"], family.positions_after)]
        if all(type(value) is int for value in values) and values[0] - values[1] - 1 <= 0:
            yield (
                f"gives {family.sizes['positions']} = {values[0]} and {family.positions_after} = {values[1]}. Expected "
                "more: positions are counted from above the second."
            )


def _other_tokenizer(folder: Path) -> str:
    """The next move for a tokenizer in files that are not read while planning."""
    if found := [name for name in _UNREAD if (folder / name).is_file()]:
        return (
            f" It has {', '.join(found)}: load the tokenizer once with the library and save it again, "
            "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)."
        )
    return ""


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _no_weights(folder: Path) -> str:
    if (folder / INDEX).is_file():
        return (
            f"{folder} has its weights in several files ({INDEX}). Load it once with the library and save it again in "
            'one: save_pretrained(DIR, max_shard_size="100GB").'
        )
    if (folder / PICKLED).is_file():
        return (
            f"{folder} has its weights as {PICKLED}, and a pickle is not opened while planning. Load it once with "
            f"the library and save it again: save_pretrained writes {SAFETENSORS}."
        )
    return f"no {SAFETENSORS} in {folder}. Expected a folder in the hub's layout."
