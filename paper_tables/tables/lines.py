"""Which lines a table file chooses: of the study, of the paper whether or not the study has them, and of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.specs import as_sparsity
from paper_tables.numbers.published import PAPER_MODELS, PublishedNumber, printed_value, verified_numbers
from paper_tables.numbers.rows import Row, method_title
from paper_tables.tables.table_file import PUBLISHED, ROW_KEYS, Choice, TableFile, published_keys

Named = tuple[str, str]  # task and metric
_ALIASES = {model.name: alias for alias, model in PAPER_MODELS.items()}


class LineKey(NamedTuple):
    """source: where it was published; empty for a line of ours. model: our alias, where we have one."""

    source: str
    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: int | None


@dataclass(frozen=True)
class Found:
    """rows: ours by column. numbers: published ones by column. is_asked_for: the study need not have it."""

    key: LineKey
    rows: Mapping[Named, Row] = field(default_factory=dict)
    numbers: Mapping[Named, PublishedNumber] = field(default_factory=dict)
    is_asked_for: bool = False
    shows_source: bool = False

    @property
    def label(self) -> str:
        return method_title(self.key.method)

    def is_chosen(self, choice: Choice) -> bool:
        return choice.holds(**_keys(self.key))


def chosen_lines(table: TableFile, rows: Sequence[Row]) -> list[Found]:
    """Each line once, in the order of the table file; those of one choice as `rows` or the published file has them."""
    columns = None if table.columns is None else {(column.task, column.metric) for column in table.columns}
    ours: dict[LineKey, dict[Named, Row]] = {}
    for row in rows:
        key = LineKey("", row.model, row.method, as_sparsity(row.sparsity), row.transfer_kd, row.bits)
        ours.setdefault(key if key.sparsity == row.sparsity else key._replace(sparsity=row.sparsity), {})[
            row.task, row.metric
        ] = row
    found: dict[LineKey, Found] = {}
    for choice in table.rows:
        for line in _of_choice(choice, ours, columns):
            found.setdefault(line.key, line)
    return list(found.values())


def unmatched(table: TableFile, lines: Sequence[Found]) -> list[str]:
    """A sentence for each choice of study rows that the study has none of."""
    return [
        f"rows {number} of the table file ({_said(choice)}): the study has no such cell."
        for number, choice in enumerate(table.rows, 1)
        if choice.source != PUBLISHED
        and choice.values
        and not choice.is_line
        and not any(line.is_chosen(choice) for line in lines if not line.key.source)
    ]


def _of_choice(
    choice: Choice, ours: Mapping[LineKey, Mapping[Named, Row]], columns: set[Named] | None
) -> Iterator[Found]:
    if choice.source == PUBLISHED:
        yield from _published(choice, columns)
    elif choice.is_line:
        model, method, sparsity, kd, bits = (choice.values[key][0] for key in ROW_KEYS)
        key = LineKey("", model, method, as_sparsity(sparsity), kd, bits)
        # Earlier versions have sparsities as they were computed, 17 * 0.05: they are asked for as printed.
        own = ours.get(key) or next((rows for each, rows in ours.items() if choice.holds(**_keys(each))), {})
        yield Found(key, own, _printed(key), is_asked_for=True)
    else:
        for key, rows in ours.items():
            if choice.holds(**_keys(key)):
                yield Found(key, rows)


def _printed(key: LineKey) -> dict[Named, PublishedNumber]:
    """What the paper prints for a line of ours, whatever it is printed under."""
    return {
        (number.task, number.metric): number
        for number in verified_numbers()
        if key.bits is not None
        and number is printed_value(key.model, key.method, key.sparsity, key.bits, number.task, number.metric)
        and number.transfer_kd == key.transfer_kd
    }


def _published(choice: Choice, columns: set[Named] | None) -> Iterator[Found]:
    lines: dict[LineKey, dict[Named, PublishedNumber]] = {}
    for number in verified_numbers():
        found = published_keys(number)
        column = number.task, number.metric
        if choice.holds(**found) and (columns is None or column in columns):
            model = _ALIASES.get(number.model, number.model)
            key = LineKey(number.paper_table, model, number.method, number.sparsity, number.transfer_kd, found["bits"])
            lines.setdefault(key, {})[column] = number
    for key, numbers in lines.items():
        yield Found(key, numbers=numbers, shows_source=len(choice.values.get("source", ())) != 1)


def _keys(key: LineKey) -> dict[str, Any]:
    return {
        "source": key.source,
        "model": key.model,
        "method": key.method,
        "sparsity": as_sparsity(key.sparsity),
        "kd": key.transfer_kd,
        "bits": key.bits,
    }


def _said(choice: Choice) -> str:
    return ", ".join(f"{key}={'|'.join(map(str, values))}" for key, values in choice.values.items()) or "any"
