"""PublishedNumber: what the paper and its peers print, and which of it stands beside one of our numbers.

`reported.csv` holds the numbers as data, each with its source. This module also owns the paper's names and order of
models, methods and columns. It knows nothing of our results.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import NamedTuple

REPORTED_CSV = Path(__file__).with_name("reported.csv")


class PaperModel(NamedTuple):
    """A model as the paper names it, and the table it stands in."""

    name: str
    table: str


# Our alias -> the paper's model; in the order of the paper's tables.
PAPER_MODELS = {
    "bert-base": PaperModel("BERT-Base", "Table 1"),
    "bert-large": PaperModel("BERT-Large", "Table 2"),
    "distilbert": PaperModel("DistilBERT", "Table 3"),
}

# (our method, bits) -> (the paper's method, its transfer_kd). A pair that is not here has no row in the paper.
_PAPER_METHODS = {
    ("dense", 32): ("Reference (dense)", "na"),
    ("finetune-pruning", 32): ("Fine-tune pruning", "yes"),
    ("prune-ofa-no-kd", 32): ("Prune OFA", "no"),
    ("prune-ofa", 32): ("Prune OFA", "yes"),
    ("prune-ofa", 8): ("Prune OFA + QAT", "yes"),
}
PAPER_METHOD_ORDER = tuple(dict.fromkeys(method for method, _ in _PAPER_METHODS))

# (task, metric), left to right as printed. The authors' README and model cards put QQP before SST-2.
PAPER_COLUMNS = (
    ("squad", "exact_match"),
    ("squad", "f1"),
    ("mnli", "accuracy"),
    ("mnli-mm", "accuracy"),
    ("sst2", "accuracy"),
    ("qnli", "accuracy"),
    ("qqp", "accuracy"),
    ("qqp", "f1"),
)

PAPER_TABLES = {f"Prune OFA paper (arXiv 2111.05754) {model.table}" for model in PAPER_MODELS.values()}


@dataclass(frozen=True)
class PublishedNumber:
    """One printed number. `value` and `std` are in percent, `sparsity` a fraction in [0, 1).

    paper_table: the table or document it stands in. transfer_kd: "yes", "no", or "na" (dense or unknown).
    n_seeds, std: None unless the source states them. confidence: "verified" (read in the source) or "recalled".
    """

    paper_table: str
    model: str
    method: str
    sparsity: float
    transfer_kd: str
    weight_bits: int
    activation_bits: int
    task: str
    metric: str
    value: float
    n_seeds: int | None
    std: float | None
    source_url: str
    confidence: str


def load_published(path: Path | None = None) -> list[PublishedNumber]:
    """Every number of `path` (default: the package's reported.csv), in file order.

    Raises ValueError naming the missing columns, or the line that cannot be read.
    """
    path = path or REPORTED_CSV
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [field.name for field in fields(PublishedNumber) if field.name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: missing columns {', '.join(missing)}. Copy the header of {REPORTED_CSV.name}.")
        numbers = []
        for record in reader:
            try:
                numbers.append(_parse(record))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}. Correct the row or remove it.") from error
        return numbers


def published_value(
    model: str, method: str, sparsity: float, bits: int, task: str, metric: str
) -> PublishedNumber | None:
    """The number the paper's Tables 1-3 print for our cell, or None where they print none that can be used.

    model, method: our names, e.g. "bert-base" and "prune-ofa-no-kd". sparsity: target fraction. bits: 32 or 8.
    Only rows read in the source count. The paper quantizes Prune OFA alone, so every other method has None at 8 bits.
    """
    key = _key(model, method, sparsity, bits, task, metric)
    return None if key is None or key in _UNUSABLE else _paper_index().get(key)


def printed_value(
    model: str, method: str, sparsity: float, bits: int, task: str, metric: str
) -> PublishedNumber | None:
    """The same, and also a number that is in doubt: for a page that shows what the paper prints."""
    key = _key(model, method, sparsity, bits, task, metric)
    return None if key is None else _paper_index().get(key)


@cache
def verified_numbers() -> tuple[PublishedNumber, ...]:
    """All numbers that were read in their source, in file order."""
    return tuple(number for number in load_published() if number.confidence == "verified")


def _key(model: str, method: str, sparsity: float, bits: int, task: str, metric: str) -> "_Key | None":
    if model not in PAPER_MODELS or (method, bits) not in _PAPER_METHODS:
        return None
    name, transfer_kd = _PAPER_METHODS[method, bits]
    return _Key(PAPER_MODELS[model].name, name, _rounded(sparsity), transfer_kd, bits, task, metric)


class _Key(NamedTuple):
    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: int
    task: str
    metric: str


# The DistilBERT reference row prints one QQP value, 88.50, under F1. It is higher than the F1 of BERT-Base (88.13), so
# which metric it is stays in doubt: no F1 of ours is compared with it.
_UNUSABLE = {_Key("DistilBERT", "Reference (dense)", 0.0, "na", 32, "qqp", "f1")}


@cache
def _paper_index() -> Mapping[_Key, PublishedNumber]:
    index: dict[_Key, PublishedNumber] = {}
    for number in verified_numbers():
        if number.paper_table not in PAPER_TABLES:
            continue
        if number.weight_bits != number.activation_bits:  # our `bits` states both
            continue
        key = _Key(
            number.model,
            number.method,
            _rounded(number.sparsity),
            number.transfer_kd,
            number.weight_bits,
            number.task,
            number.metric,
        )
        if key in index:
            raise ValueError(f"{REPORTED_CSV.name} has two verified values for {key}. Remove one.")
        index[key] = number
    return index


def _rounded(sparsity: float) -> float:
    """A key for sparsities that were computed (17 * 0.05) as well as typed (0.85)."""
    return round(sparsity, 6)


def _parse(record: Mapping[str, str]) -> PublishedNumber:
    return PublishedNumber(
        paper_table=record["paper_table"],
        model=record["model"],
        method=record["method"],
        sparsity=float(record["sparsity"]),
        transfer_kd=record["transfer_kd"],
        weight_bits=int(record["weight_bits"]),
        activation_bits=int(record["activation_bits"]),
        task=record["task"],
        metric=record["metric"],
        value=float(record["value"]),
        n_seeds=int(record["n_seeds"]) if record["n_seeds"] else None,
        std=float(record["std"]) if record["std"] else None,
        source_url=record["source_url"],
        confidence=record["confidence"],
    )
