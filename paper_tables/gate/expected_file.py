"""Reading an expected file: all that is wrong with it at once, each with its line and the next move."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import Problem, UsageError, system_problem
from harness.identity import sha256_of
from harness.planning.graph import Plan
from harness.specs import QUANTIZATIONS, StageSpec
from harness.studies.study import parents_first
from harness.tasks import SIGNED_METRICS
from harness.wording import option, shown
from paper_tables.gate import entry as kinds
from paper_tables.gate.entry import Entry
from paper_tables.gate.expected import (
    BETWEEN_RUNS,
    DIRECTIONS,
    FALSE_ALARMS,
    HIGHER,
    SCHEMA,
    Expected,
    ExpectedLoss,
    ExpectedMean,
    ExpectedNumber,
    ExpectedZeros,
    NumberKey,
    RowKey,
    StageKey,
)

T = TypeVar("T")


def read_expected(path: Path) -> Expected:
    """Raises UsageError with every problem of the file; for one that is not there, with the command that writes it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        move = f"Write it from a study whose numbers you trust: harness check --write {option('expected')} {path}"
        raise UsageError(Problem(f"no expected file {path}", option="expected", next_move=f"{move}.")) from None
    except UnicodeDecodeError as error:
        found = f"{path} is no text in UTF-8 (byte {error.start})"
        raise UsageError(Problem(found, option="expected", next_move="Name the expected file.")) from None
    except OSError as error:
        raise UsageError(Problem(system_problem(error), option="expected")) from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Expected:
    """The values of a text. name: of its file, for what is said of it. Raises UsageError as `read_expected` does."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML, or of a number of thousands of digits
        found = f"{name} is no TOML: {str(error) or 'nested too deep'}"
        raise UsageError(Problem(found, option="expected", next_move=_RESTORE)) from None
    if (schema := values.get("schema")) != SCHEMA or type(schema) is not int:
        found = f"{name}: schema {shown(schema) if 'schema' in values else 'is missing'}"
        move = "Read it with the version of the harness that wrote it, or write it again: harness check --write."
        raise UsageError(Problem(found, option="expected", expected=str(SCHEMA), next_move=move))
    reading = _Reading(values, text, name)
    read = reading.expected()
    if reading.problems or read is None:
        raise UsageError(dict.fromkeys(reading.problems))
    return read


_RESTORE = "Restore it from version control, or write it again: harness check --write."
_KEY = {"model": kinds.TEXT, "method": kinds.TEXT, "sparsity": kinds.SHARE, "quantization": kinds.TEXT}


class _Reading:
    """One file being read. problems: those noted so far."""

    def __init__(self, values: Mapping[str, Any], text: str, name: str) -> None:
        self.values, self.name, self.problems = values, name, list[Problem]()
        self.lines = text.splitlines()

    def expected(self) -> Expected | None:
        head = Entry(self.values, self.name, self.problems)
        head.take("schema", kinds.WHOLE)
        words = {name: head.take(name, kinds.ANY_TEXT) for name in ("study", "preset", "recipe")}
        rate = head.take_optional("false_alarms", kinds.RATE, FALSE_ALARMS)
        measured_on = head.take_optional("measured_on", kinds.TABLE, {})
        between = head.take_optional("between_runs", kinds.NOT_NEGATIVE, BETWEEN_RUNS)
        stages = self._stages(head.take_optional("stages", kinds.TABLE, {}))
        zeros = self._entries(head, "zeros", self._zeros, lambda entry: entry.key)
        losses = self._entries(head, "losses", self._loss, lambda entry: entry.key)
        means = self._entries(head, "means", self._mean, lambda entry: entry.key)
        numbers = self._entries(head, "numbers", self._number, lambda entry: entry.key)
        named = [(each.stage, where) for each, where in losses.values()]
        named += [(each.stage, where) for each, where in numbers.values()]
        for stage, where in named:
            if stages is not None and stage not in stages.stages:
                told = Entry({}, where, self.problems)
                told.note(f"stage {shown(stage)} is none of the file's", next_move=_RESTORE)
        head.end()
        if self.problems or stages is None:
            return None
        return Expected(
            **words,
            false_alarms=rate,
            between_runs=between,
            measured_on=measured_on,
            zeros=tuple(entry for entry, _ in zeros.values()),
            losses=tuple(entry for entry, _ in losses.values()),
            means=tuple(entry for entry, _ in means.values()),
            numbers=tuple(entry for entry, _ in numbers.values()),
            stages=stages,
        )

    def _entries(
        self, head: Entry, name: str, read: Callable[[Entry], T | None], key: Callable[[T], Hashable]
    ) -> dict[Hashable, tuple[T, str]]:
        """The entries of an array of tables by their key, with where they stand; each key once."""
        listed = head.take_optional(name, kinds.Kind(f"[[{name}]] tables", _is_tables), [])
        found: dict[Hashable, tuple[T, str]] = {}
        places = [number for number, line in enumerate(self.lines, 1) if re.match(rf"\s*\[\[\s*{name}\s*\]\]", line)]
        for number, values in enumerate(listed or []):
            line = f", line {places[number]}" if len(places) == len(listed) else ""
            entry = Entry(values, f"{self.name}{line}, {name} entry {number + 1}", self.problems)
            made = read(entry)
            if made is None:
                continue
            if (same := key(made)) in found:
                entry.note(f"{_made_name(made)} stands twice", next_move="Remove one of them.")
            found.setdefault(same, (made, entry.where))
        return found

    def _zeros(self, entry: Entry) -> ExpectedZeros | None:
        key = {name: entry.take(name, kind) for name, kind in _KEY.items()}
        zeros, of = entry.take("zeros", kinds.COUNT), entry.take("of", kinds.COUNT)
        if entry.is_sound and zeros > of:
            entry.note(f"zeros = {zeros}", f"at most of = {of}")
        _check_quantization(entry, key["quantization"])
        return ExpectedZeros(key=RowKey(**key), zeros=zeros, of=of) if entry.end() else None

    def _loss(self, entry: Entry) -> ExpectedLoss | None:
        kind, model = entry.take("kind", kinds.TEXT), entry.take("model", kinds.TEXT)
        sparsity = entry.take_optional("sparsity", kinds.SHARE)
        loss, tolerance = entry.take("loss", kinds.POSITIVE), entry.take("tolerance", kinds.NOT_NEGATIVE)
        stage = entry.take("stage", kinds.TEXT)
        if not entry.end():
            return None
        return ExpectedLoss(key=StageKey(kind, model, sparsity), loss=loss, tolerance=tolerance, stage=stage)

    def _number(self, entry: Entry) -> ExpectedNumber | None:
        names = {**_KEY, "task": kinds.TEXT, "metric": kinds.TEXT}
        key = {name: entry.take(name, kind) for name, kind in names.items()}
        direction, stage = entry.take("direction", kinds.TEXT), entry.take("stage", kinds.TEXT)
        if direction not in (None, *DIRECTIONS):
            entry.note(f"direction = {shown(direction)}", " or ".join(map(repr, DIRECTIONS)))
        percents = kinds.CORRELATIONS if key["metric"] in SIGNED_METRICS else kinds.PERCENTS
        seeds = entry.take("seeds", percents if direction == HIGHER else kinds.LOSSES)
        noise = {name: entry.take_optional(name, kinds.POSITIVE) for name in ("noise", "freedom")}
        if ("noise" in entry.values) != ("freedom" in entry.values):
            entry.note("noise and freedom do not stand together", "both, or neither")
        tolerance = entry.take_optional("tolerance", kinds.NOT_NEGATIVE)
        _check_quantization(entry, key["quantization"])
        if not entry.end():
            return None
        return ExpectedNumber(
            key=NumberKey(**key), direction=direction, stage=stage, seeds=seeds, tolerance=tolerance, **noise
        )

    def _mean(self, entry: Entry) -> ExpectedMean | None:
        method, quantization = entry.take("method", kinds.TEXT), entry.take("quantization", kinds.TEXT)
        row = {name: entry.take_optional(name, _KEY[name]) for name in ("model", "sparsity")}
        if sum(name in entry.values for name in row) == 1:
            entry.note("it names a part of a row", "model and sparsity, or neither")
        metrics, weights = entry.take("metrics", kinds.TEXTS), entry.take("weights", kinds.WEIGHTS)
        if metrics is not None and weights is not None and metrics.keys() != weights.keys():
            entry.note("metrics and weights name different tasks", "the same tasks in both")
        tolerance = entry.take_optional("tolerance", kinds.NOT_NEGATIVE)
        _check_quantization(entry, quantization)
        if not entry.end():
            return None
        return ExpectedMean(
            method=method, **row, quantization=quantization, metrics=metrics, weights=weights, tolerance=tolerance
        )

    def _stages(self, tables: Mapping[str, Any] | None) -> Plan | None:
        """None where one of them has a problem: what depends on it cannot be told."""
        specs: dict[str, StageSpec] = {}
        before = len(self.problems)
        for stage_id, values in (tables or {}).items():
            place = next((n for n, line in enumerate(self.lines, 1) if line.startswith(f"[stages.{stage_id}]")), None)
            where = f"{self.name}{f', line {place}' if place else ''}, stage {shown(stage_id)}"
            entry = Entry(values if isinstance(values, dict) else {}, where, self.problems)
            spec = _stage(entry)
            if spec is None:
                continue
            if spec.stage_id != stage_id:
                entry.note(f"its settings were changed (they give {spec.stage_id})", next_move=_RESTORE)
            specs[stage_id] = spec
        if len(self.problems) > before:
            return None
        try:
            return _as_plan(specs)
        except (ValueError, RecursionError) as error:
            self.problems.append(Problem(f"{self.name}, stages: {error}", option="expected", next_move=_RESTORE))
            return None


def _stage(entry: Entry) -> StageSpec | None:
    kind, parents = entry.take("kind", kinds.TEXT), entry.take("parents", kinds.TEXTS)
    inputs, versions = entry.take("inputs", kinds.TEXTS), entry.take("versions", kinds.COUNTS)
    parameters, none = entry.take_optional("parameters", kinds.TABLE, {}), entry.take_optional("none", kinds.NAMES, [])
    if not entry.end():
        return None
    try:
        settings = {**parameters, **dict.fromkeys(none)}
        spec = StageSpec(kind=kind, parameters=settings, parents=parents, inputs=inputs, versions=versions)
        sha256_of(spec.fingerprint_fields())  # of a date, and of what is not finite, there is none
    except (TypeError, ValueError) as error:
        entry.note(f"its settings have no identity ({error})", next_move=_RESTORE)
        return None
    return spec


def _as_plan(specs: Mapping[str, StageSpec]) -> Plan:
    absent = sorted({parent for spec in specs.values() for parent in spec.parents.values()} - specs.keys())
    if absent:
        raise ValueError(f"{', '.join(absent[:3])} is missing, which others depend on")
    return Plan(stages={stage_id: specs[stage_id] for stage_id in parents_first(specs)})


def _check_quantization(entry: Entry, value: Any) -> None:
    if value is not None and value not in QUANTIZATIONS:
        entry.note(f"quantization = {shown(value)}", " or ".join(map(repr, QUANTIZATIONS)))


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _made_name(made: Any) -> str:
    """What an entry is of, in words."""
    return str(made) if isinstance(made, ExpectedMean) else str(made.key)
