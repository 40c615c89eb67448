"""What the stages of a study took so far, by kind and by method, beside what was estimated: from attempts.

No accounting of a cluster is asked: an attempt knows when it began and ended. One whose worker was killed ended, as far
as anybody knows, when its files were last written.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from tabulate import tabulate

from harness.identity import parse_json
from harness.planning.graph import Plan
from harness.store.stage import StoredStage
from harness.store.store import Store
from harness.store.submissions import Submission, uuid_of

SHARED = "shared"  # in the place of a method: of stages that cells of several methods need


class Try(NamedTuple):
    """One attempt. threads: of the stage. gpus: its share of them. is_lost: it ended, and not as done."""

    stage_id: str
    hours: float
    threads: int
    gpus: float
    is_lost: bool


@dataclass
class Spent:
    """stages: those that are done. wall: hours of all attempts; lost: of those that ended otherwise than done, from
    which the next one may have gone on. cpu: hours times threads. estimated: hours of wall time of the done stages, as
    estimated when they were submitted; None where that is not known of each."""

    stages: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    gpu: float = 0.0
    lost: float = 0.0
    estimated: float | None = 0.0

    def add(self, each: Try) -> None:
        self.wall += each.hours
        self.cpu += each.hours * each.threads
        self.gpu += each.hours * each.gpus
        self.lost += each.hours * each.is_lost

    def finish(self, estimated: float | None) -> None:
        self.stages += 1
        self.estimated = None if estimated is None or self.estimated is None else self.estimated + estimated

    def as_json(self) -> dict[str, Any]:
        return {
            "stages": self.stages,
            "wall_hours": self.wall,
            "cpu_hours": self.cpu,
            "gpu_hours": self.gpu,
            "lost_hours": self.lost,
            "estimated_hours": self.estimated if self.stages else None,
        }


@dataclass(frozen=True)
class Hours:
    """kinds and methods: in order of first appearance."""

    kinds: Mapping[str, Spent] = field(default_factory=dict)
    methods: Mapping[str, Spent] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "kinds": {name: spent.as_json() for name, spent in self.kinds.items()},
            "methods": {name: spent.as_json() for name, spent in self.methods.items()},
        }


def sum_up(plan: Plan, finished: Collection[str], tries: Iterable[Try], estimated: Mapping[str, float]) -> Hours:
    """The hours of a plan's stages. Pure. finished: those with a record. estimated: hours by stage, where known."""
    methods = methods_of(plan)
    by_kind = {spec.kind: Spent() for spec in plan.stages.values()}
    by_method = {method: Spent() for method in methods.values()}
    for each in tries:
        by_kind[plan.stages[each.stage_id].kind].add(each)
        by_method[methods[each.stage_id]].add(each)
    for stage_id in plan.stages:
        if stage_id in finished:
            by_kind[plan.stages[stage_id].kind].finish(estimated.get(stage_id))
            by_method[methods[stage_id]].finish(estimated.get(stage_id))
    return Hours(by_kind, by_method)


def methods_of(plan: Plan) -> dict[str, str]:
    """The one method of all cells that need a stage, or `SHARED`."""
    found: dict[str, str] = {}
    for cell in plan.paths:
        for stage_id in plan.stages_of(cell):
            found[stage_id] = cell.method if found.get(stage_id, cell.method) == cell.method else SHARED
    return {stage_id: found.get(stage_id, SHARED) for stage_id in plan.stages}


def read_hours(plan: Plan, store: Store, running: Collection[str]) -> Hours:
    """The hours of a plan's stages until now. running: stages whose last attempt goes on."""
    finished, ledger = store.finished(plan.stages), _ledger(store)
    return sum_up(plan, finished, _read_tries(plan, store, ledger, running), _estimated(plan, ledger.values()))


def read_tries(plan: Plan, store: Store) -> list[Try]:
    """The attempts at a plan's stages, in its order, each until it ended or its files were last written."""
    return _read_tries(plan, store, _ledger(store), running=())


def _ledger(store: Store) -> dict[str, Submission]:
    return {submission.uuid: submission for submission in store.ledger.read_sound(store.ledger.uuids())}


def _read_tries(plan: Plan, store: Store, ledger: Mapping[str, Submission], running: Collection[str]) -> list[Try]:
    tried, clock = store.attempted(), time.time()
    return [
        each
        for stage_id in plan.stages
        if stage_id in tried
        for each in _tries(plan, store.stage(stage_id), ledger, stage_id in running, clock)
    ]


def _tries(
    plan: Plan, stage: StoredStage, ledger: Mapping[str, Submission], is_running: bool, clock: float
) -> Iterator[Try]:
    attempts = stage.attempts()
    threads = plan.stages[stage.stage_id].parameters.get("threads", 1)
    on_gpu = cache(lambda: _record_has_gpu(stage))
    for attempt in attempts:
        goes_on = is_running and attempt is attempts[-1]
        ended = attempt.ended or (clock if goes_on else _last_written(stage, attempt.number))
        if attempt.started is None or ended is None:
            continue
        submission = ledger.get(uuid_of(attempt.allocation))
        gpus = float(on_gpu()) if submission is None else gpu_share(submission.profile)
        is_lost = not goes_on and attempt.outcome != "done"
        yield Try(stage.stage_id, max(ended - attempt.started, 0.0) / 3600, _whole(threads), gpus, is_lost)


def gpu_share(profile: Mapping[str, Any]) -> float:
    """How many GPUs of a task each of the stages has that run in it side by side. profile: of a submission."""
    count = _whole(str(profile.get("gpus") or 0).rpartition(":")[2], least=0)
    return count / _whole(profile.get("stages_at_once") or count)


def _whole(value: Any, least: int = 1) -> int:
    try:
        return max(int(value), least)
    except (TypeError, ValueError):
        return least


def _record_has_gpu(stage: StoredStage) -> bool:
    """Whether the worker that finished the stage saw a GPU: outside of a cluster it has one to itself then."""
    try:
        return bool(parse_json(stage.record_path.read_bytes())["provenance"]["torch"]["gpus"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _last_written(stage: StoredStage, number: int) -> float | None:
    times = []
    for path in (stage.attempt_path(number), stage.log_path(number), stage.progress_path(number)):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times, default=None)


def _estimated(plan: Plan, submissions: Iterable[Submission]) -> dict[str, float]:
    """Hours by stage, from the newest submission of each that says so."""
    found: dict[str, float] = {}
    for submission in sorted(submissions, key=lambda each: each.created):
        for stage_id, _ in submission.stages():
            if stage_id in plan.stages and plan.stages[stage_id].kind in submission.estimated:
                found[stage_id] = submission.estimated[plan.stages[stage_id].kind]
    return found


def hours_text(found: Hours) -> str:
    """The tables of both, for people."""
    return "\n\n".join(_table(title, rows) for title, rows in (("stage", found.kinds), ("method", found.methods)))


def _table(title: str, rows: Mapping[str, Spent]) -> str:
    every = list(rows.values())
    estimates = [spent.estimated for spent in every if spent.stages]
    total = Spent(
        stages=sum(spent.stages for spent in every),
        wall=sum(spent.wall for spent in every),
        cpu=sum(spent.cpu for spent in every),
        gpu=sum(spent.gpu for spent in every),
        lost=sum(spent.lost for spent in every),
        estimated=None if None in estimates else sum(each or 0.0 for each in estimates),
    )
    headers = [title, "done", "wall hours", "estimated", "CPU-hours", "GPU-hours", "not ended as done"]
    lines = [
        [
            name,
            spent.stages,
            _shown(spent.wall),
            _shown(spent.estimated) if spent.stages and spent.estimated is not None else "",
            *map(_shown, (spent.cpu, spent.gpu, spent.lost)),
        ]
        for name, spent in (*rows.items(), ("total", total))
    ]
    return tabulate(lines, headers, disable_numparse=True, colalign=("left", *["right"] * 6))


def _shown(hours: float | None) -> str:
    if not hours:
        return "0"
    return "<0.001" if hours < 0.001 else f"{hours:.3f}" if hours < 1 else f"{hours:.1f}"
