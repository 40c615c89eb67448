"""Content: the numbers of a page and what stands behind each, as the JSON that the page's script reads.

Columns, not objects: `rows.value[i]` and `rows.method[i]` are of one row, and names are told by their place in a list.
A stage is told by its place in `stages`, ids and digests stand in one text, 32 and 64 letters each. So 10,000 cells
take some megabytes. `data.js` reads it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from harness.identity import STAGE_ID_HEX_DIGITS, canonical_json
from harness.planning.graph import Plan
from harness.specs import StageSpec
from harness.studies.verification import Records
from paper_tables.figures.baselines import Baseline, Baselines
from paper_tables.numbers.metrics import METRIC_LABELS
from paper_tables.numbers.pairs import independent_values
from paper_tables.numbers.published import published_value
from paper_tables.numbers.remarks import remark_on
from paper_tables.numbers.rows import Row, SeedValue, column_order, method_title
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.report.environment import facts_of
from paper_tables.report.legible import LINE, legible
from paper_tables.report.relative import Averages
from paper_tables.statistics.intervals import Interval, mean_interval
from paper_tables.tables.words import sparsity_texts

DIGEST_HEX_DIGITS = 64
NONE = "-"  # in the place of each letter of a digest that there is not
# The numbers of a method's colour (page.css) and mark (figure.js): the shipped ones look as in all figures.
_KNOWN_LOOKS = {
    "dense": (0, 3),
    "prune-ofa": (1, 0),
    "finetune-pruning": (2, 1),
    "prune-ofa-no-kd": (3, 2),
    "finetune-pruning-no-kd": (4, 4),
}
NUM_COLORS = 8
BASELINES = {"chance": "chance", "shallow": "shallow features, at most"}


class Shared:
    """A list in which each value stands once, told by its place."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Hashable, int] = {}

    def place(self, value: Any, key: Hashable | None = None) -> int:
        """key: where the value itself cannot be one."""
        found = self._places.setdefault(value if key is None else key, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found


def content(numbers: StudyNumbers, averages: Averages, baselines: Baselines) -> dict[str, Any]:
    """As the module says; the same numbers give the same content, in the same order."""
    rows, plan = numbers.rows, numbers.study.plan
    models = Shared()
    methods = Shared()
    for row in rows:
        models.place(row.model)
    for method in sorted({row.method for row in rows}):
        methods.place(method)
    places = {stage_id: place for place, stage_id in enumerate(plan.stages)}
    return {
        "models": [legible(model) for model in models.values],
        "methods": [legible(method_title(method)) for method in methods.values],
        "looks": _looks(methods.values),
        "columns": [[legible(task), METRIC_LABELS.get(metric, metric)] for task, metric in _columns(rows)],
        "baselines": [_baselines(baselines.get(column, ())) for column in _columns(rows)],
        "rows": _rows(rows, models, methods, places),
        "averages": _averages(averages, models, methods),
        "stages": _stages(plan, numbers.records, places),
    }


def _columns(rows: Iterable[Row]) -> list[tuple[str, str]]:
    return sorted({(row.task, row.metric) for row in rows}, key=column_order)


def _looks(methods: Sequence[str]) -> list[tuple[int, int]]:
    """Of others the colours begin again after the last, with other marks: 21 pairs, as there are seven marks."""
    own = len(_KNOWN_LOOKS)
    others = [method for method in methods if method not in _KNOWN_LOOKS]
    looks = {method: (own + number % (NUM_COLORS - own), own + number) for number, method in enumerate(others)}
    return [_KNOWN_LOOKS.get(method) or looks[method] for method in methods]


def _baselines(found: Iterable[Baseline]) -> list[list[Any]]:
    """Name and value in percent of each."""
    return [[BASELINES.get(each.kind, each.kind), _rounded(each.value)] for each in found]


def _rows(rows: Sequence[Row], models: Shared, methods: Shared, places: Mapping[str, int]) -> dict[str, Any]:
    columns = {column: number for number, column in enumerate(_columns(rows))}
    sparsities = sparsity_texts(row.sparsity for row in rows)
    return {
        **_lines(rows, models, methods, sparsities),
        "compression": [row.compression for row in rows],
        "column": [columns[row.task, row.metric] for row in rows],
        "value": [_rounded(row.value) for row in rows],
        "spread": [_rounded(row.spread) for row in rows],
        "interval": [_interval(row.seeds) for row in rows],
        "published": [_rounded(row.published) for row in rows],
        "remark": [_remark(row) for row in rows],
        "zeros": [
            None if row.measured_sparsity is None else list(map(_fraction, row.measured_sparsity)) for row in rows
        ],
        "seeds": _seeds([row.seeds for row in rows], places),
    }


def _remark(row: Row) -> str | None:
    """What is to be known of the paper's number that stands beside the row's."""
    number = published_value(row.model, row.method, row.sparsity, row.bits, row.task, row.metric)
    return None if row.published is None or number is None else remark_on(number)


def _lines(lines: Sequence[Any], models: Shared, methods: Shared, sparsities: Mapping[float, str]) -> dict[str, Any]:
    """What a row and an average have in common."""
    return {
        "model": [models.place(line.model) for line in lines],
        "method": [methods.place(line.method) for line in lines],
        "sparsity": [sparsities[line.sparsity] for line in lines],
        "kd": [line.transfer_kd for line in lines],
        "bits": [line.bits for line in lines],
    }


def _averages(found: Averages, models: Shared, methods: Shared) -> dict[str, Any]:
    every = found.averages
    lines = [average.line for average in every]
    return {
        **_lines(lines, models, methods, sparsity_texts(line.sparsity for line in lines)),
        "compression": [average.compression for average in every],
        "value": [_rounded(average.value) for average in every],
        "interval": [_ends(average.interval) for average in every],
        "published": [_rounded(average.published) for average in every],
        "seeds": _seeds([average.seeds for average in every], {}),
        "baselines": {legible(model): _baselines(each) for model, each in found.baselines.items()},
        "tasks": {legible(model): [legible(task) for task in tasks] for model, tasks in found.tasks.items()},
        "left_out": [
            f"{legible(line.model)} {legible(method_title(line.method))} {line.sparsity:g} {line.bits} bits"
            for line in found.left_out
        ],
    }


def _seeds(of_rows: Iterable[Sequence[SeedValue]], places: Mapping[str, int]) -> dict[str, Any]:
    """Of all rows in one; `first` has for each row, and for the end, where its seeds begin."""
    first: list[int] = [0]
    every: list[SeedValue] = []
    for seeds in of_rows:
        every += seeds
        first.append(len(every))
    return {
        "first": first,
        "seed": [seed.seed for seed in every],
        "pruning_seed": [seed.pruning_seed for seed in every],
        "value": [_rounded(seed.value) for seed in every],
        "stage": [places.get(seed.stage_id or "") for seed in every],
    }


def _interval(seeds: Sequence[SeedValue]) -> list[float | None] | None:
    values = independent_values(seeds)
    return _ends(mean_interval(values)) if values else None


def _ends(found: Interval | None) -> list[float | None] | None:
    return None if found is None else [_rounded(found.low), _rounded(found.high)]


def _rounded(value: float | None) -> float | None:
    """To the millionth of a point: what is left of it is noise of the arithmetic.

    Not where that would turn the second decimal, which is the last that tables show.
    """
    if value is None:
        return None
    short = round(value, 6)
    return short if f"{short:.2f}" == f"{value:.2f}" else value


def _fraction(share: float) -> float:
    return round(share, 8)


# -- stages


def _stages(plan: Plan, records: Records, places: Mapping[str, int]) -> dict[str, Any]:
    kinds, labels, roles, parameters, inputs, machines = (Shared() for _ in range(6))
    found: dict[str, list[Any]] = {
        name: []
        for name in ("kind", "label", "parents", "seed", "parameters", "inputs", "made", "began", "took", "bytes")
    }
    digests: list[str] = []
    artifacts: list[str] = []
    since = _first_start(records)
    for stage_id, spec in plan.stages.items():
        record = records.get(stage_id) or {}
        artifact, times = record.get("artifact") or {}, record.get("times") or {}
        found["kind"].append(kinds.place(legible(spec.kind)))
        found["label"].append(_label(plan, stage_id, spec, labels))
        found["parents"].append([x for role, i in spec.parents.items() for x in (roles.place(role), places[i])])
        seedless = {name: value for name, value in spec.parameters.items() if name != "seed"}  # shared by many stages
        found["seed"].append(spec.parameters.get("seed"))
        found["parameters"].append(_place_of(parameters, seedless))
        found["inputs"].append(_place_of(inputs, spec.inputs))
        found["made"].append(_place_of(machines, facts_of(record["provenance"])) if "provenance" in record else None)
        found["began"].append(round(times["started"]) - since if "started" in times else None)
        found["took"].append(
            round(times["ended"] - times["started"], 1) if {"started", "ended"} <= times.keys() else None
        )
        found["bytes"].append(int(artifact.get("bytes", 0)))
        digests.append(str(record.get("digest") or NONE * DIGEST_HEX_DIGITS))
        artifacts += [str(artifact["digest"])] if artifact.get("bytes") else []
    return {
        **found,
        "since": since,
        "kinds": kinds.values,
        "labels": labels.values,
        "roles": [legible(role) for role in roles.values],
        "parameter_sets": _legible_values(parameters),
        "input_sets": _legible_values(inputs),
        "machines": _legible_values(machines),
        "ids": _joined(plan.stages, STAGE_ID_HEX_DIGITS),
        "digests": _joined(digests, DIGEST_HEX_DIGITS),
        "artifacts": _joined(artifacts, DIGEST_HEX_DIGITS),
    }


def _first_start(records: Records) -> int:
    """Seconds since the epoch, from which the others are counted."""
    starts = [record["times"]["started"] for record in records.values() if "started" in record.get("times", {})]
    return round(min(starts, default=0))


def _label(plan: Plan, stage_id: str, spec: StageSpec, labels: Shared) -> int | None:
    """The place of the stage's name; None where it is "KIND of" the name of the model it goes on with."""
    name, model = plan.label(stage_id), spec.parents.get("model", "")
    if model in plan.stages and name == f"{spec.kind} of {plan.label(model)}":
        return None
    return labels.place(legible(name, LINE))


def _place_of(shared: Shared, values: Mapping[str, Any]) -> int:
    return shared.place(values, canonical_json(values))


def _legible_values(shared: Shared) -> list[dict[str, str]]:
    """The names and values of mappings, as text."""
    return [{legible(name): legible(value, LINE) for name, value in values.items()} for values in shared.values]


def _joined(texts: Iterable[str], length: int) -> str:
    """One text, of which each has `length` letters."""
    return "".join(text[:length].ljust(length, NONE) for text in texts)
