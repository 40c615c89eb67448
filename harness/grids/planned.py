"""PlannedGrid: a valid grid with its plan, what there is to do of it now, its run, its forms as text and JSON."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import Problem, Problems, StoreError, UsageError, system_problem
from harness.execution.available import RunOptions
from harness.execution.hardware import this_machine
from harness.execution.outcome import Outcome
from harness.grids.arguments import told_of_arguments
from harness.grids.estimate import Estimate, check_limit, estimate
from harness.grids.executors import (
    EXECUTORS,
    Work,
    check_can_start,
    machine_of,
    profiles_of,
    ranks_of,
    run_problems,
    tracked_by,
)
from harness.grids.memory import memory_problems
from harness.grids.method_changes import check_methods
from harness.grids.options import GridOptions, read_names
from harness.grids.request import Request, read_request
from harness.grids.workload import read_timings
from harness.inputs.content_hashes import ContentHashes
from harness.planning.graph import Plan
from harness.planning.planner import plan_cells, without_garbage_collection
from harness.planning.reach import Reach, reach_of
from harness.specs import Cell
from harness.store.store import Store
from harness.studies.reasons import Reason, counts, read_reasons
from harness.studies.row_check import mixed_rows
from harness.studies.state import Remaining, read_states, remaining
from harness.studies.state_table import state_table
from harness.studies.study import add_to_study, cell_row, check_recipe, joined_study
from harness.studies.verification import check_records, gone_artifacts, verified_records
from harness.wording import MOST_STAGES_LISTED, command, counted, cut, for_command_line, for_python, option


@dataclass(frozen=True)
class GridStatus:
    """What there is to do of a grid at one moment.

    states: of every stage of the plan. work: which of them wait, and which cannot. missing: a sentence for each thing
    that keeps it from running. cost: of the stages that wait. reasons: why each unfinished stage runs, or does not.
    """

    states: Mapping[str, str]
    work: Remaining
    missing: tuple[str, ...]
    cost: Estimate
    reasons: Mapping[str, Reason]


@dataclass(frozen=True, kw_only=True, repr=False)
class PlannedGrid:
    """A valid grid with its plan; nothing has run.

    Printing it shows what `harness grid --dry-run` shows, for the store as it is now.
    """

    options: GridOptions
    store: Store
    study: str
    request: Request
    plan: Plan
    hashes: ContentHashes

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.request.grid.cells

    @property
    def dropped(self) -> tuple[str, ...]:
        """Combinations that were left out, each with its reason."""
        return tuple(map(for_python, self.request.grid.dropped))

    def command(self, *words: str) -> str:
        """The command `harness WORDS` on this study, to be copied into a shell."""
        return command(*words, store=self.store.root, study=self.study)

    @without_garbage_collection()
    def status(self, run: RunOptions | None = None) -> GridStatus:
        """What there is to do in the store as it is now. run: how it is to be run, for what it will cost.

        Raises as a run would: StoreError for records that cannot be trusted and a study that is damaged, UsageError for
        a study that the grid cannot join.
        """
        plan, store, request = self.plan, self.store, self.request
        profiles = profiles_of(plan, run or RunOptions())
        machine = machine_of(plan, profiles)
        check_records([plan], store)  # a run must not build on records that cannot be trusted
        older = joined_study(store, self.study, request.preset, plan)  # nor begin where the study would refuse it
        states = read_states(plan, store)
        found = remaining(plan, states)
        missing = [*request.missing, *gone_artifacts(plan, found.waiting, store)]
        missing += memory_problems(plan, found.waiting, request.sizes.shapes, machine.memory_bytes)
        timings = read_timings(plan, store, found.waiting, request.sizes.shapes)
        cost = estimate(
            plan, found.waiting, request.sizes, timings, machine, ranks_of(plan, profiles, request.resources)
        )
        reasons = read_reasons(plan, found, states, store, older.plan if older is not None else Plan())
        return GridStatus(states, found, tuple(missing), cost, reasons)

    @told_of_arguments
    def run(
        self,
        *,
        executor: str = "local",
        workers: int | None = None,
        profile: str | Path | None = None,
        max_jobs: int | None = None,
        track: str | Iterable[str] = (),
    ) -> Outcome:
        """Run what is not done; standard error shows how far it is. On a cluster: queue it, and return.

        executor: "local" (worker processes), "debug" (in this process) or "slurm". workers: stages side by side; None:
        as many as GPUs or cores allow. profile: of slurm, a file or a shipped one's name. max_jobs: the most tasks of
        the store in the queue. track: trackers that finished stages are written to, as "tensorboard,wandb"; one that
        fails costs a warning. Returns the stages by how they ended; a stage that fails raises nothing.
        Raises UsageError when something is missing or the estimate is above `max_gpu_hours`, Interrupted when a signal
        stopped it: the same call goes on from the last checkpoint. CannotCheck where squeue does not answer.
        """
        named = os.fspath(profile) if isinstance(profile, Path) else profile
        problems = Problems()
        trackers = read_names("track", track, problems)
        run = RunOptions(executor=executor, workers=workers, profile=named, max_jobs=max_jobs, track=trackers)
        problems.extend(run_problems(run, self.store))
        problems.check()
        return start(self, self.status(run), run)

    def reaches(self) -> list[Reach]:
        """What each setting of `set` does in this grid."""
        return [reach_of(key, self.request.preset.recipe, self.plan) for key in self.options.set]

    def notes(self, *, every_setting: bool = True) -> list[str]:
        """A sentence for each setting of `set`, which says what it reaches; and one for more threads than cores.

        every_setting: False: of those alone that do not change all the stages that they speak of.
        """
        reaches = [reach for reach in self.reaches() if every_setting or not reach.is_whole]
        return [*(reach.sentence() for reach in reaches), *self._more_threads_than_cores()]

    def _more_threads_than_cores(self) -> list[str]:
        """A sentence for each number of threads above this machine's cores; the run may be elsewhere."""
        cores = this_machine().cores
        threads = Counter(spec.parameters.get("threads", 0) for spec in self.plan.stages.values())
        return [
            f"{counted(count, 'stage')} with {number} threads, and this machine has {counted(cores, 'core')}: on it "
            f"fewer are faster ({option('set')} common.threads={cores}, which makes other stages of them)."
            for number, count in sorted(threads.items())
            if number > cores
        ]

    def __str__(self) -> str:
        status = self.status()
        lines = [plan_as_text(self, status, for_python)]
        lines += [f"note: {for_python(sentence)}" for sentence in self.notes()]
        lines += [f"warning: {for_python(sentence)}" for sentence in status.missing]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<PlannedGrid {self.study}: {_size(self)}>"


def plan_grid(options: GridOptions, store: Store, problems: Problems) -> PlannedGrid:
    """Checks and plans; writes nothing.

    Raises UsageError with the problems given and every one found, StoreError where the recipe of a study of that name
    is damaged; the study as a whole is read by `PlannedGrid.status`.
    """
    store.check_is_folder()
    hashes = ContentHashes(store.content_hashes_path)
    request = read_request(options, hashes, problems)
    name = options.study or request.preset.name
    check_recipe(store, name, request.preset)
    plan = plan_cells(request.grid.cells, request.preset.recipe, request.inputs, request.grid.methods, options.measures)
    check_methods(store, name, request, plan)
    return PlannedGrid(options=options, store=store, study=name, request=request, plan=plan, hashes=hashes)


def start(grid: PlannedGrid, status: GridStatus, run: RunOptions) -> Outcome:
    """Write the study and run or queue what is not done; standard error shows how far it is.

    Raises UsageError when something is missing or it costs more than allowed, StoreError where the store or a record
    is gone or cannot be trusted at the end, Interrupted on a signal.
    """
    plan, store, request = grid.plan, grid.store, grid.request
    check_can_start(run)
    _check_not_queued(grid, status, run)
    _check_measured_here(grid, status, run)
    if status.missing:
        raise UsageError(status.missing)
    check_limit(status.cost, grid.options.max_gpu_hours)
    try:
        if status.work.waiting:
            store.check_writable()
        study = add_to_study(store, grid.study, request.preset, plan)
    except OSError as error:
        raise UsageError(f"nothing was started: {system_problem(error)}") from None
    for sentence in mixed_rows(study.plan):
        print(f"note: {sentence}", file=sys.stderr)
    grid.hashes.remember()
    try:
        with tracked_by(run, store, grid.study):
            outcome = EXECUTORS[run.executor](_work(grid, status), run)
    except OSError:
        _check_study_kept(grid)  # where the store was removed, that is the reason
        raise
    _check_study_kept(grid)
    if outcome.done:
        _check_records_kept(grid, outcome)
    return outcome


def _check_not_queued(grid: PlannedGrid, status: GridStatus, run: RunOptions) -> None:
    """Raises UsageError where a run on this machine would begin what waits in the queue of a cluster."""
    queued = [stage_id for stage_id in status.work.waiting if status.states[stage_id] == "queued"]
    if run.executor != "slurm" and queued:
        found = f"{counted(len(queued), 'stage')} of study {grid.study!r} wait in the queue of the cluster"
        move = f"Use {option('executor')} slurm, or take them out first: {grid.command('cancel', 'queued')}."
        raise UsageError(Problem(found, "executor", next_move=move))


def _check_measured_here(grid: PlannedGrid, status: GridStatus, run: RunOptions) -> None:
    """Raises UsageError where the cluster would be given measurements that belong to this machine."""
    bound = [i for i in status.work.waiting if "machine" in grid.plan.stages[i].parameters]
    if run.executor == "slurm" and bound:
        found = f"{counted(len(bound), 'measurement')} of time would run on other machines than the one that plans them"
        move = f"Leave latency out of {option('measures')} here, and give the grid's command in a job on the node."
        raise UsageError(Problem(found, "measures", next_move=move))


def _work(grid: PlannedGrid, status: GridStatus) -> Work:
    return Work(
        plan=grid.plan,
        store=grid.store,
        study=grid.study,
        sources=grid.request.sources,
        resources=grid.request.resources,
        estimated=status.cost.seconds,
    )


def _check_study_kept(grid: PlannedGrid) -> None:
    """Raises StoreError where the store lost the grid's study while it ran, and so most likely all it had."""
    store, path = grid.store, grid.store.study_path(grid.study)
    if not path.is_file():
        late = f" What {store.root} holds now is of later: move it away first." if store.root.exists() else ""
        raise StoreError(
            f"study {grid.study!r} is gone ({path}): somebody removed or renamed the store while the grid ran. Bring "
            f"it back, or give the same command again; it runs what is missing.{late}"
        )


def _check_records_kept(grid: PlannedGrid, outcome: Outcome) -> None:
    """Raises StoreError where the store has not all that the run made, or what it has cannot be trusted."""
    store = grid.store
    kept = verified_records(grid.plan, store)
    if gone := [stage_id for stage_id in outcome.done if stage_id not in kept]:
        verb = "has no record" if len(gone) == 1 else "have no records"
        raise StoreError(
            f"{counted(len(gone), 'stage')} that this run finished {verb} in {store.root} any more: invalidated or "
            "removed meanwhile. Give the same command again; it runs what is missing."
        )


def plan_as_text(
    grid: PlannedGrid,
    status: GridStatus,
    spell: Callable[[str], str] = for_command_line,
    most_listed: int = MOST_STAGES_LISTED,
) -> str:
    """The plan for people: stages by kind and state, those cancelled, the cells left out, the cost, why stages run.

    spell: how the surface that shows it writes the names of options. most_listed: stages, each with its reason.
    """
    cancelled = status.work.cancelled
    lines = [f"study {grid.study}: {_size(grid)}, {len(status.work.waiting)} to run"]
    lines.append(state_table(grid.plan, status.states))
    lines += [cancelled_note(grid, len(cancelled))] if cancelled else []
    lines += [f"dropped: {spell(reason)}" for reason in grid.request.grid.dropped]
    lines += ["", status.cost.as_text(), *_reason_lines(grid.plan, status, most_listed)]
    return "\n".join(lines)


def _reason_lines(plan: Plan, status: GridStatus, most_listed: int) -> list[str]:
    """How many stages run for which reason, and the first of them, those that something happened to before new ones."""
    reasons = {stage_id: status.reasons[stage_id] for stage_id in status.work.waiting}
    if not reasons:
        return []
    found = counts(reasons)
    lines = ["", f"why they run: {', '.join(f'{count} {why}' for why, count in found.items())}"]
    listed = [i for why in found for i, reason in reasons.items() if reason.why == why][:most_listed]
    for stage_id in listed:
        reason, label = reasons[stage_id], plan.label(stage_id)
        detail = f" ({reason.detail})" if reason.detail not in label else ""
        lines.append(cut(f"  {reason.why}: {label}{detail}"))
    more = len(reasons) - len(listed)
    return (
        lines if not (most_listed and more) else [*lines, f"  and {more} more (harness grid --dry-run --json has all)"]
    )


def plan_as_json(grid: PlannedGrid, status: GridStatus) -> dict[str, Any]:
    """The public form of a plan: cells with their stages, stages with parents, state and reason, counts, cost.

    reason: why an unfinished stage runs, or does not; null for one that is done or that nothing needs. detail: beside
    it, what failed or changed. settings: which stages each that was given reaches.
    """
    plan, states = grid.plan, status.states
    return {
        "study": grid.study,
        "cells": [cell_row(plan, cell) for cell in plan.paths],
        "stages": [
            {
                "id": stage_id,
                "kind": spec.kind,
                "parents": list(spec.parents.values()),
                "state": states[stage_id],
                "reason": reason.why if (reason := status.reasons.get(stage_id)) is not None else None,
                "detail": reason.detail if reason is not None else None,
            }
            for stage_id, spec in plan.stages.items()
        ],
        "counts": {
            "cells": len(plan.paths),
            "stages": plan.counts(),
            "to_run": len(status.work.waiting),
            "reasons": counts(status.reasons),
        },
        "estimate": status.cost.as_json(),
        "settings": [reach.as_json() for reach in grid.reaches()],
    }


def cancelled_note(grid: PlannedGrid, count: int) -> str:
    verb = "is" if count == 1 else "are"
    retry = grid.command("retry", "cancelled")
    return f"{counted(count, 'stage')} {verb} cancelled and not started ({retry} clears it)."


def _size(grid: PlannedGrid) -> str:
    return f"{counted(len(grid.plan.paths), 'cell')}, {counted(len(grid.plan.stages), 'stage')}"
