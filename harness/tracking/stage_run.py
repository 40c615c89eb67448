"""StageRun: what a tracker is told of one finished stage, from its record and from the cells that it belongs to.

Names are those of the record, joined as trackers group them: `sparsity/encoder` is result.sparsity.encoder.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from harness.specs import Cell
from harness.studies.study import Study
from paper_tables.figures.curve import learning_curve

Scalar = str | int | float | bool
Points = tuple[tuple[int, float], ...]
LOSS, RATE, SPARSITY = "train/loss", "train/learning_rate", "train/sparsity"


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One run of a tracker.

    name: the stage in words, which no other stage of the study has. digest: of its record.
    group: what stages share that only a seed sets apart, in words. tags: kind, and of the cells that the stage belongs
    to what they have in common: model, method, task, sparsity, quantization, seeds.
    parameters: of the stage; where cells end with it also those of the stages before it, as KIND.NAME.
    curves: (optimizer step, value) each; between the points of the learning rate it is straight, and the sparsity
    holds from one point to the next. metrics: every final number. facts: where the record comes from.
    started, ended: seconds since the epoch.
    """

    study: str
    stage_id: str
    digest: str
    name: str
    kind: str
    group: str
    tags: Mapping[str, str]
    parameters: Mapping[str, Scalar]
    curves: Mapping[str, Points]
    metrics: Mapping[str, float]
    facts: Mapping[str, Scalar]
    started: float
    ended: float

    @property
    def key(self) -> str:
        """Of this stage's record, and of no other: a stage that was redone has another one."""
        return f"{self.stage_id}-{self.digest[:8]}"

    @property
    def steps(self) -> int:
        """The last step of a curve; 0 where there is none."""
        return max((points[-1][0] for points in self.curves.values() if points), default=0)

    def time_of(self, step: int) -> float:
        """When a step was made, as if all had taken the same time."""
        return self.started + (self.ended - self.started) * (step / self.steps if self.steps else 1.0)

    def by_step(self) -> Iterator[tuple[int, dict[str, float]]]:
        """(step, the curves that have a point there), in order."""
        rows: dict[int, dict[str, float]] = defaultdict(dict)
        for name, points in self.curves.items():
            for step, value in points:
                rows[step][name] = value
        yield from sorted(rows.items())


@dataclass(frozen=True)
class StageRuns:
    """Makes the runs of a study's stages."""

    study: Study
    _cells: Mapping[str, tuple[Cell, ...]]

    @classmethod
    def of(cls, study: Study) -> StageRuns:
        cells: dict[str, list[Cell]] = defaultdict(list)
        for cell in study.plan.paths:
            for stage_id in study.plan.stages_of(cell):
                cells[stage_id].append(cell)
        return cls(study, {stage_id: tuple(found) for stage_id, found in cells.items()})

    def run(self, stage_id: str, record: Mapping[str, Any]) -> StageRun:
        """record: of that stage, sound."""
        plan, spec = self.study.plan, self.study.plan.stages[stage_id]
        tags = self._tags(stage_id)
        times = record.get("times", {})
        started = float(times.get("started", 0.0))
        name = plan.label(stage_id)
        return StageRun(
            study=self.study.name,
            stage_id=stage_id,
            digest=record["digest"],
            name=name,
            kind=spec.kind,
            group=" ".join(value for key, value in tags.items() if not key.endswith("seed")),
            tags=tags,
            parameters={**_scalars(spec.parameters), **self._path_parameters(stage_id)},
            curves=_curves(stage_id, name, record),
            metrics=_metrics(record),
            facts=_facts(self.study.name, stage_id, record),
            started=started,
            ended=float(times.get("ended", started)),
        )

    def _tags(self, stage_id: str) -> dict[str, str]:
        """What the stage is of, in its own words, else in those that all its cells have."""
        plan, spec = self.study.plan, self.study.plan.stages[stage_id]
        own = {**spec.parameters, "model": plan.base_model(spec)}
        found = {"kind": spec.kind}
        for name in (each.name for each in fields(Cell)):
            shared = {getattr(cell, name) for cell in self._cells.get(stage_id, ())}
            value = own.get(name)
            if value is None and len(shared) == 1:
                (value,) = shared
            if value is not None:
                found[name] = f"{value:g}" if isinstance(value, float) else str(value)
        return found

    def _path_parameters(self, stage_id: str) -> dict[str, Scalar]:
        """Of a stage that cells end with, the settings of all behind it on which the stages of a kind agree."""
        plan = self.study.plan
        if stage_id not in plan.ends():
            return {}
        by_name: dict[str, list[Scalar]] = defaultdict(list)
        for spec in (plan.stages[each] for each in plan.ancestors(stage_id)[:-1]):
            for name, value in _scalars(spec.parameters).items():
                by_name[f"{spec.kind}.{name}"].append(value)
        return {name: values[0] for name, values in by_name.items() if len(set(values)) == 1}


def _scalars(values: Mapping[str, Any]) -> dict[str, Scalar]:
    """Values as they are; lists as JSON, and without those that are null."""
    return {
        name: value if isinstance(value, str | int | float) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def _curves(stage_id: str, name: str, record: Mapping[str, Any]) -> dict[str, Points]:
    found = learning_curve(stage_id, name, record)
    if found is None:
        return {}
    named = {LOSS: found.loss, RATE: found.learning_rate, SPARSITY: found.sparsity}
    return {key: tuple((int(step), float(value)) for step, value in points) for key, points in named.items() if points}


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Every final number: the result's, to the depth that has no lists by matrix; all metrics; seconds and bytes."""
    result = record["result"]
    found = dict(_numbers(result, "", 2))
    found |= dict(_numbers(result.get("metrics", {}), "metrics/", 9))
    found |= dict(_latency(result.get("latency")))
    if {"started", "ended"} <= (times := record.get("times", {})).keys():
        found["cost/seconds"] = float(times["ended"] - times["started"])
    if "bytes" in (artifact := record.get("artifact", {})):
        found["cost/artifact_bytes"] = float(artifact["bytes"])
    return found


def _numbers(values: Mapping[str, Any], before: str, depth: int) -> Iterator[tuple[str, float]]:
    """Numbers of an object and of those within it, by their path; not below `depth`."""
    for key, value in values.items():
        if isinstance(value, Mapping) and depth > 1:
            yield from _numbers(value, f"{before}{key}/", depth - 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{before}{key}", float(value)


def _latency(told: Any) -> Iterator[tuple[str, float]]:
    """Of each measurement its times, below the runtime and the shape of its batch."""
    for each in told.get("measured", ()) if isinstance(told, Mapping) else ():
        shape = f"latency/{each.get('runtime')}/{each.get('examples')}x{each.get('tokens')}"
        yield from _numbers({key: each[key] for key in each.keys() - {"examples", "tokens"}}, f"{shape}/", 1)


def _facts(study: str, stage_id: str, record: Mapping[str, Any]) -> dict[str, Scalar]:
    """Provenance as dotted names, and what the stage was made from."""
    found: dict[str, Scalar] = {"study": study, "stage_id": stage_id, "record_digest": record["digest"]}
    parts = {"parent": record["parents"], "input": record["inputs"], "provenance": record.get("provenance", {})}
    return found | dict(_dotted(parts, ""))


def _dotted(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{before}{key}.")
        else:
            yield from ((f"{before}{name}", found) for name, found in _scalars({key: value}).items())
