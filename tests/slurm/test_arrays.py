"""Bundles of a whole graph, and the job arrays that they make; counted by hand and checked against the graph."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from grid_world import papers_plan, plan

from harness.execution.bundles import Bundle
from harness.planning.graph import Plan
from slurm.arrays import Array, Task, packed_to, plan_arrays, plan_bundles, tasks_waited_for
from slurm.profiles import Profile

ONE, TWO = (Profile(name=name, file="p.toml", time_minutes=60) for name in ("default", "kind.transfer"))


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(seeds=[0, 1])


def arrays(planned: Plan, finished: set[str] | None = None, most: int = 1000, pack: int = 1) -> list[Array]:
    done = finished or set()
    bundles = plan_bundles(planned, planned.stages.keys() - done, done)
    return plan_arrays(planned, bundles, done, lambda bundle: ONE, lambda profile: pack, most)


def check_runnable(planned: Plan, found: list[Array], finished: set[str]) -> None:
    """Every stage once; each starts from finished ones, earlier ones of its task, or those that its array waits for."""
    runs: set[str] = set()
    for array in found:
        assert set(array.after) <= runs | finished
        for task in array.tasks:
            inside: set[str] = set()
            for stage_id in task.stage_ids:
                assert stage_id not in runs
                assert set(planned.stages[stage_id].parents.values()) <= finished | inside | set(array.after)
                inside.add(stage_id)
        runs.update(array.stage_ids)
    assert runs | finished == planned.stages.keys()


def test_every_stage_is_in_one_task_after_all_that_it_starts_from(planned: Plan) -> None:
    for most in (1000, 1):
        found = arrays(planned, most=most)
        check_runnable(planned, found, set())
        in_tasks = [stage_id for array in found for stage_id in array.stage_ids]
        assert sorted(in_tasks) == sorted(planned.stages)


@pytest.mark.parametrize("pack", [2, 3, 100])
def test_packing_deals_what_nothing_waits_for_to_fewer_tasks(planned: Plan, pack: int) -> None:
    apart, packed = arrays(planned), arrays(planned, pack=pack)
    check_runnable(planned, packed, set())
    assert [array.stage_ids == other.stage_ids for array, other in zip(apart, packed, strict=True) if array.needed]
    for array, other in zip(apart, packed, strict=True):
        expected = len(array.tasks) if array.needed else math.ceil(len(array.tasks) / pack)
        assert len(other.tasks) == expected


def test_a_limit_on_tasks_packs_as_far_as_it_must(planned: Plan) -> None:
    apart = arrays(planned)
    spread = sum(len(array.tasks) for array in apart)
    assert packed_to(apart, spread) == apart
    fewer = packed_to(apart, spread - 1)
    check_runnable(planned, fewer, set())
    assert sum(len(array.tasks) for array in fewer) <= spread - 1
    least = sum(len(array.tasks) if array.needed else 1 for array in apart)
    assert sum(len(array.tasks) for array in packed_to(apart, 1)) >= least, "what others wait for stays apart"


def test_what_is_finished_or_held_is_in_no_array_and_what_starts_from_it_does_not_wait_for_the_finished(
    planned: Plan,
) -> None:
    first = arrays(planned)
    finished = set(first[0].stage_ids)
    check_runnable(planned, arrays(planned, finished), finished)
    held = set(first[1].stage_ids)
    bundles = plan_bundles(planned, planned.stages.keys() - finished - held, finished | held)
    later = plan_arrays(planned, bundles, finished, lambda bundle: ONE, lambda profile: 1, 1000)
    assert not {i for array in later for i in array.stage_ids} & (finished | held)
    needs_held = {i for i, s in planned.stages.items() if i not in held and held & set(s.parents.values())}
    waiting_for_held = {i for array in later if held & set(array.after) for i in array.stage_ids}
    assert needs_held <= waiting_for_held


def test_what_depends_on_a_stage_that_cannot_run_is_in_no_bundle(planned: Plan) -> None:
    (corpus,) = (i for i, spec in planned.stages.items() if spec.kind == "corpus")
    bundled = {i for b in plan_bundles(planned, planned.stages.keys() - {corpus}, set()) for i in b.ids}
    depends = {i for i in planned.stages if corpus in planned.ancestors(i)}
    assert bundled == planned.stages.keys() - depends


def test_an_array_holds_one_profile_and_no_more_tasks_than_allowed(planned: Plan) -> None:
    def of(bundle: Bundle) -> Profile:
        return TWO if bundle.stages[0].kind == "transfer" else ONE

    bundles = plan_bundles(planned, planned.stages, ())
    found = plan_arrays(planned, bundles, (), of, lambda profile: 1, 2)
    check_runnable(planned, found, set())
    for array in found:
        first = {planned.stages[task.stage_ids[0]].kind == "transfer" for task in array.tasks}
        assert first == {array.profile is TWO}
        assert len(array.tasks) <= 2


def test_needed_stages_are_those_that_stages_of_other_tasks_start_from(planned: Plan) -> None:
    found = arrays(planned)
    home = {
        i: (number, index) for number, a in enumerate(found) for index, t in enumerate(a.tasks) for i in t.stage_ids
    }
    needed = {p for i in home for p in planned.stages[i].parents.values() if home[p] != home[i]}
    assert {i for array in found for i in array.needed} == needed


def test_the_tasks_that_an_array_waits_for_are_named_once() -> None:
    array = Array(ONE, (Task(("c",)),), after=("a", "b"), needed=())
    assert tasks_waited_for(array, {"a": "u_0", "b": "u_0"}) == ("u_0",)
    assert tasks_waited_for(array, {"a": "u_0", "b": "v_3"}) == ("u_0", "v_3")


def test_the_papers_grid_is_131_bundles_and_a_large_one_39_arrays() -> None:
    """160 cells, 347 stages: 131 chains. 10,020 cells over 167 seeds: 5,038 chains that wait in 39 ways."""
    small = papers_plan()
    bundles = plan_bundles(small, small.stages, ())
    assert (len(small.paths), len(small.stages), len(bundles)) == (160, 347, 131)
    large = papers_plan(
        methods=["prune-ofa"], sparsities=[0.85, 0.9], quantization=["none", "int8"], seeds=list(range(167))
    )
    many = plan_bundles(large, large.stages, ())
    found = plan_arrays(large, many, (), lambda bundle: bundle.stages[0].kind, lambda profile: 1, 1000)
    assert (len(large.paths), len(large.stages), len(many), len(found)) == (10_020, 20_083, 5_038, 39)
    check_runnable(large, found, set())
    assert Counter(len(array.tasks) for array in found)[167] == 30, "six students, five tasks: 167 seeds each"
