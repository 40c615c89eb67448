"""cancel and retry: a running stage is asked to stop, another is kept from starting, until it is retried."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from grid_world import HERE, Ran, World, environment, files_below, of_kind, plan

import harness
from harness.errors import Cancelled, HarnessError, Interrupted
from harness.execution.executors import Outcome, run_in_process
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources, StageContext
from harness.store import cancellation
from harness.store.cancellation import CancelWatch, cancel_stage, cancellable
from harness.store.processes import this_process
from harness.store.store import Store
from harness.studies.state import read_states
from harness.studies.study import read_study
from harness.worker.run import run_stage

Run = Callable[[list[str]], Ran]
FAKE = [sys.executable, "-P", str(HERE / "fake_stages.py")]


def fail(context: StageContext) -> None:
    raise RuntimeError("weights exploded")


def one(planned: Plan, kind: str) -> str:
    (stage_id,) = of_kind(planned, kind)
    return stage_id


@pytest.fixture
def planned(fakes: ModuleType) -> Plan:
    return plan(tasks=["sst2"], methods=["dense"])  # dense and its evaluation


def execute(planned: Plan, store: Store) -> Outcome:
    return run_in_process(planned, store, Sources(models={}, data=store.root), Resources(), lambda line: None)  # type: ignore[arg-type]


def states(planned: Plan, store: Store) -> dict[str, str]:
    return read_states(planned, store)


# -- a stage that runs in another process


@pytest.fixture
def start(world: World) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """start(action): a grid of 14 stages in a process of its own, in the first of its two transfers."""
    started: list[subprocess.Popen[str]] = []

    def go(action: str) -> subprocess.Popen[str]:
        command = [*FAKE, f"transfer={action}", "--", *world.grid("--tasks", "sst2")]
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        started.append(process)
        deadline = time.monotonic() + 30
        while not list(world.store.glob("checkpoints/*/begun")):
            assert process.poll() is None, "ended before it came to the transfer"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    yield go
    for process in started:
        process.kill()
        process.communicate()


def test_a_running_stage_is_cancelled_from_another_process_and_the_rest_goes_on(
    run_harness: Run, world: World, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    driver = start("poll")
    (begun,) = (path.parent.name for path in world.store.glob("checkpoints/*/begun"))
    done = run_harness(world.reading("cancel", "transfer", "--json"))
    assert done.code == 0
    found = json.loads(done.out)
    assert found["asked_to_stop"] == [begun]
    (other,) = found["cancelled"]
    # Two transfers, the quantization of one of them, and an evaluation of each of the three.
    assert sorted(stage["kind"] for stage in found["downstream"]) == ["evaluation"] * 3 + ["quantization"]

    out, _ = driver.communicate(timeout=30)
    assert driver.returncode == 1
    # 14 stages less the two transfers and the four that depend on them.
    assert "8 stages done, 0 failed, 4 blocked." in out
    retry = f"harness retry cancelled --store {world.store} --study slice"
    assert f"2 stages are cancelled and not started ({retry} clears it)." in out
    assert out.splitlines()[-1] == f"next: {retry}"
    store = Store(world.store)
    assert (store.stage(begun).checkpoints_path / "saved").exists()
    (attempt,) = store.stage(begun).attempts()
    assert (attempt.outcome, attempt.message) == ("cancelled", "cancelled; stopped after step 7.")
    log = store.stage(begun).log_path(1).read_text()
    assert log.endswith("INFO harness: cancelled; stopped after step 7.\n"), "and no traceback"
    planned = read_study(store, "slice").plan
    assert {i for i, state in states(planned, store).items() if state == "cancelled"} == {begun, other}

    again = run_harness(world.grid("--tasks", "sst2"))
    assert again.code == 1
    assert "14 stages, 0 to run" in again.out
    assert "2 stages are cancelled" in again.out
    assert [len(store.stage(i).attempts()) for i in (begun, other)] == [1, 1]
    assert "0 to run" in run_harness(world.grid("--tasks", "sst2", "--dry-run")).out

    assert run_harness(world.reading("retry", "cancelled")).code == 0
    assert run_harness(world.grid("--tasks", "sst2")).code == 0
    assert [attempt.outcome for attempt in store.stage(begun).attempts()] == [None, "done"]


def test_a_worker_that_dies_before_it_notices_leaves_its_stage_cancelled(
    run_harness: Run, world: World, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    driver = start("sleep")  # takes no notice
    (begun,) = (path.parent.name for path in world.store.glob("checkpoints/*/begun"))
    assert "asked to stop" in run_harness(world.reading("cancel", begun[:8])).out
    refused = run_harness(world.reading("retry", begun))
    assert refused.code == 0
    assert "nothing to retry: 1 running (they are running; harness cancel stops them" in refused.out
    driver.send_signal(signal.SIGKILL)
    driver.wait(timeout=10)
    store = Store(world.store)
    assert states(read_study(store, "slice").plan, store)[begun] == "cancelled"
    grid = run_harness(world.grid("--tasks", "sst2"))
    assert "1 stage is cancelled" in grid.out
    assert len(store.stage(begun).attempts()) == 1
    assert run_harness(world.reading("retry", begun)).code == 0
    assert run_harness(world.grid("--tasks", "sst2")).code == 0


# -- the worker's side


def test_the_disk_is_looked_at_every_two_seconds_at_most(tmp_path: Path) -> None:
    now = [100.0]
    watch = CancelWatch(tmp_path / "1.cancel", 2.0, clock=lambda: now[0])
    assert not watch.is_requested()
    (tmp_path / "1.cancel").touch()
    now[0] += 1.9
    assert not watch.is_requested()
    now[0] += 0.1
    assert watch.is_requested()
    (tmp_path / "1.cancel").unlink()
    assert watch.is_requested()


@pytest.mark.parametrize(
    ("requested", "signalled", "error"),
    [(True, False, Cancelled), (False, True, Interrupted), (True, True, Interrupted)],
)
def test_a_signal_ends_the_run_and_a_request_ends_its_stage(
    tmp_path: Path, requested: bool, signalled: bool, error: type[HarnessError]
) -> None:
    if requested:
        (tmp_path / "1.cancel").touch()
    with pytest.raises(error), cancellable(tmp_path / "1.cancel", lambda: signalled, 2.0) as should_stop:  # noqa: PT012
        assert should_stop()
        raise Interrupted("stopped after step 7.")


def test_a_driver_that_planned_a_stage_before_it_was_cancelled_does_not_start_it(
    planned: Plan, store: Store, fakes: ModuleType
) -> None:
    evaluation = one(planned, "evaluation")
    fakes.ACTIONS["dense"] = lambda context: cancel_stage(store.stage(evaluation))
    assert execute(planned, store) == Outcome(done=[one(planned, "dense")], cancelled=[evaluation])
    (attempt,) = store.stage(evaluation).attempts()
    assert attempt.outcome == "cancelled"
    with pytest.raises(Cancelled, match=f"harness retry {evaluation} --store {store.root} clears it"):
        run_stage(planned.stages[evaluation], store, Sources(models={}, data=store.root), Resources(), lambda: False)  # type: ignore[arg-type]


def test_a_cancelled_stage_stays_so_whatever_its_attempt_came_to_but_done(planned: Plan, store: Store) -> None:
    dense = one(planned, "dense")
    for outcome, expected in [("code", "cancelled"), ("interrupted", "cancelled"), (None, "cancelled")]:
        number = store.stage(dense).begin_attempt({"time": 1.0})
        store.stage(dense).cancel_path(number).touch()
        if outcome:
            store.stage(dense).end_attempt(number, {"time": 2.0, "outcome": outcome, "message": "m"})
        assert store.stage(dense).last_attempt().outcome == expected
        store.stage(dense).clear_outcome(number, {"time": 3.0})
        assert store.stage(dense).last_attempt().outcome is None
    number = store.stage(dense).begin_attempt({"time": 1.0})
    store.stage(dense).cancel_path(number).touch()
    store.stage(dense).end_attempt(number, {"time": 2.0, "outcome": "done"})
    assert store.stage(dense).last_attempt().outcome == "done"


def test_a_line_appended_after_a_torn_one_is_whole(planned: Plan, store: Store) -> None:
    dense = one(planned, "dense")
    number = store.stage(dense).begin_attempt({"time": 1.0, "host": "h"})
    with (store.stage(dense).attempts_path / f"{number}.jsonl").open("a") as handle:
        handle.write('{"event":"ended","outco')
    store.stage(dense).cancel_path(number).touch()
    assert store.stage(dense).last_attempt().outcome == "cancelled"
    store.stage(dense).clear_outcome(number, {"time": 2.0})
    assert (store.stage(dense).last_attempt().outcome, store.stage(dense).last_attempt().host) == (None, "h")


# -- the asker's side


def test_what_is_done_or_cancelled_before_is_left(planned: Plan, store: Store) -> None:
    dense, evaluation = one(planned, "dense"), one(planned, "evaluation")
    assert cancel_stage(store.stage(evaluation)) == "cancelled"
    assert cancel_stage(store.stage(evaluation)) == "already cancelled"
    execute(planned, store)
    before = files_below(store.root)
    assert cancel_stage(store.stage(dense)) == "done"
    assert files_below(store.root) == before


def test_a_request_reaches_the_holders_own_attempt_and_not_its_dead_predecessors(
    planned: Plan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = one(planned, "dense")
    monkeypatch.setattr(cancellation, "PATIENCE_SECONDS", 0.1)
    store.stage(dense).begin_attempt({"time": 1.0, "host": "another", "process": 1, "process_started": "x"})  # cut off
    store.stage(dense).acquire_lease()
    with pytest.raises(HarnessError, match=f"stage {dense} is held by process .* begun no attempt. Cancel it again"):
        cancel_stage(store.stage(dense))
    number = store.stage(dense).begin_attempt({"time": 2.0, **this_process()})
    assert cancel_stage(store.stage(dense)) == "asked to stop"
    assert cancel_stage(store.stage(dense)) == "asked to stop"
    assert store.stage(dense).cancel_path(number).exists()
    assert not store.stage(dense).cancel_path(1).exists()


# -- the command line


def test_cancel_before_anything_ran_keeps_a_grid_from_it(run_harness: Run, world: World, fakes: ModuleType) -> None:
    fakes.ACTIONS["dense"] = fail
    grid = world.grid("--tasks", "sst2", "--methods", "dense", "--seeds", "0,1")
    assert run_harness(grid).code == 1
    fakes.ACTIONS.clear()
    done = run_harness(world.reading("cancel", "seed=1"))
    assert done.code == 0
    assert "2 stages cancelled; not started until harness retry" in done.out
    done = run_harness([*grid, "--json"])
    assert done.code == 1
    found = json.loads(done.out)
    # Seed 0, which failed for another reason, is tried again as ever.
    assert (len(found["done"]), len(found["cancelled"]), found["failed"], found["blocked"]) == (2, 2, {}, [])
    status = run_harness(world.reading("status"))
    assert status.code == 4
    assert "cancelled before it started" in status.out
    assert "  cancelled" in status.out.splitlines()[1]
    data = json.loads(run_harness(world.reading("status", "--json")).out)
    assert {stage["state"] for stage in data["stages"]} == {"done", "cancelled"}
    assert (data["failed"], {stage["id"] for stage in data["cancelled"]}) == ([], set(found["cancelled"]))
    assert set(harness.records(world.store)["state"]) == {"done", "cancelled"}
    plan_of_it = json.loads(run_harness([*grid, "--dry-run", "--json"]).out)
    assert [stage["state"] for stage in plan_of_it["stages"]].count("cancelled") == 2
    log = next(line.split("log: ")[1] for line in status.out.splitlines() if "log: " in line)
    assert Path(log).read_text() == "cancelled before it started\n"


def test_retry_makes_failed_stages_wait_again_and_starts_nothing(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    fakes.ACTIONS["pairs"] = fail
    run_harness(world.grid("--tasks", "sst2"))
    store = Store(world.store)
    planned = read_study(store, "slice").plan
    pairs = one(planned, "pairs")
    before = (store.stage(pairs).attempts_path / "1.jsonl").read_bytes()
    fakes.CALLS.clear()
    done = run_harness(world.reading("retry", "failed"))
    assert done.code == 0
    assert fakes.CALLS == []
    assert f"1 stage will run again with the next harness grid:\n    {planned.label(pairs)} ({pairs})" in done.out
    assert "and the stages that depend on them (8 stages):" in done.out
    assert (store.stage(pairs).attempts_path / "1.jsonl").read_bytes().startswith(before)
    assert set(states(planned, store).values()) == {"done", "pending"}
    assert run_harness(world.reading("status")).code == 4


def test_retry_says_what_it_left_alone_and_why(run_harness: Run, world: World, fakes: ModuleType) -> None:
    fakes.ACTIONS["pairs"] = fail
    run_harness(world.grid("--tasks", "sst2"))
    for what, words in [
        ("dense", "1 done (they are done; harness invalidate removes a result)"),
        ("student_pruning", "1 blocked (they depend on a stage that failed or is cancelled; retry that one)"),
        ("cancelled", "no stage matches 'cancelled'"),
        ("dense,failed", "no stage matches 'dense,failed'"),
    ]:
        nothing = run_harness(world.reading("retry", what))
        assert (nothing.code, nothing.out, nothing.err) == (0, f"nothing to retry: {words}.\n", "")
    told = run_harness(world.reading("retry", "cancelled", "--json"))
    assert (told.code, json.loads(told.out)["retried"], json.loads(told.out)["matched"]) == (0, [], [])
    run_harness(world.reading("cancel", "student_pruning"))
    mixed = run_harness(world.reading("retry", "model=tiny", "--json"))
    assert mixed.code == 0
    found = json.loads(mixed.out)
    assert len(found["retried"]) == 1
    assert len(found["matched"]) == 12  # all but corpus and pairs, which are no model's


@pytest.mark.parametrize("verb", ["cancel", "retry", "invalidate", "logs"])
def test_a_bad_what_ends_with_2_and_changes_nothing(
    run_harness: Run, world: World, fakes: ModuleType, verb: str
) -> None:
    assert run_harness(world.reading(verb, "failed")).code == 2
    assert not world.store.exists()
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    before = files_below(world.store)
    none_failed = [] if verb == "retry" else ["failed"]  # a retry of nothing is done already
    for what in ("dens", *none_failed, "modle=tiny", "abcdef"):
        done = run_harness(world.reading(verb, what))
        assert (done.code, done.out) == (2, ""), what
        assert done.err.startswith("error: ")
    assert files_below(world.store) == before
