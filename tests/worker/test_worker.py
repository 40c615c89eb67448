"""One process runs a plan on stages without torch: records, failures, blocking, interruption, swapped parents."""

import hashlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from grid_world import files_below, of_kind, plan

from harness.errors import Cancelled, Interrupted, StoreError, TimeLimit
from harness.execution.executors import Outcome, run_in_process
from harness.files import folder_digest
from harness.planning.graph import Plan
from harness.stages.context import Resources, Sources, StageContext
from harness.store.intervals import Intervals
from harness.store.leases import Lease, LeaseLost, acquire
from harness.store.store import Store
from harness.studies.state import read_states
from harness.training.checkpoints import Checkpoints
from harness.worker.run import first_line, outcome_of, run_stage

Run = Callable[..., Outcome]
FULL = "the disk is full ({}). Free some space and give the same command again."


@pytest.fixture
def planned(fakes: ModuleType) -> Plan:
    """sst2, seed 0: corpus, pairs, preparation, pruning, dense, task pruning, 2 transfers, int8, 5 evaluations."""
    found = plan(tasks=["sst2"])
    assert len(found.stages) == 14
    return found


@pytest.fixture
def run(planned: Plan, store: Store, tmp_path: Path) -> Run:
    def execute(report: list[str] | None = None) -> Outcome:
        said = [] if report is None else report
        return run_in_process(planned, store, Sources(models={}, data=tmp_path), Resources(), said.append)

    return execute


def one(planned: Plan, kind: str) -> str:
    (stage_id,) = of_kind(planned, kind)
    return stage_id


def distilled_transfer(planned: Plan) -> str:
    (stage_id,) = (i for i, spec in of_kind(planned, "transfer").items() if "teacher" in spec.parents)
    return stage_id


def states(planned: Plan, store: Store) -> dict[str, str]:
    return read_states(planned, store)


def raising(error: BaseException) -> Callable[[StageContext], None]:
    def act(context: StageContext) -> None:
        raise error

    return act


# -- what a finished stage leaves


def test_everything_runs_once_parents_first(run: Run, planned: Plan, store: Store, fakes: ModuleType) -> None:
    said: list[str] = []
    outcome = run(said)
    assert outcome == Outcome(done=list(planned.stages))
    assert list(fakes.CALLS) == list(planned.stages)
    assert set(states(planned, store).values()) == {"done"}
    assert [line.split()[0] for line in said] == [word for i in range(1, 15) for word in ("started:", f"[{i}/14]")]
    labels = [planned.label(stage_id) for stage_id in planned.stages]
    assert said[::2] == [f"started: {label}" for label in labels]
    for line, label in zip(said[1::2], labels, strict=True):
        assert re.fullmatch(rf"\[\d+/14\] {re.escape(label)}: done in \d s(; a few seconds left)?", line)
    assert "left" not in said[1]
    assert not any(stage_id in line for stage_id in planned.stages for line in said)


def test_a_record_names_its_stage_its_parents_its_result_and_its_artifact(
    run: Run, planned: Plan, store: Store
) -> None:
    run()
    transfer = distilled_transfer(planned)
    spec, record = planned.stages[transfer], store.stage(transfer).read_record()
    assert (record["stage_id"], record["kind"]) == (transfer, "transfer")
    assert {key: record[key] for key in spec.fingerprint_fields()} == spec.fingerprint_fields()
    assert record["parent_digests"] == {
        "model": store.stage(one(planned, "student_pruning")).read_record()["digest"],
        "teacher": store.stage(one(planned, "dense")).read_record()["digest"],
    }
    assert record["result"]["did"] == ["ran transfer"]
    assert record["result"]["metrics"]["mlm_correct"] == 1
    assert record["result"]["training"] == {"tokens_seen": 1000}
    text = f"transfer {transfer}".encode()
    empty = hashlib.sha256(b"").hexdigest()
    files = f'"config.json":"{empty}","model.safetensors":"{empty}"'
    files = f'{{{files},"weights/model.txt":"{hashlib.sha256(text).hexdigest()}"}}'
    assert record["artifact"] == {
        "digest": hashlib.sha256(files.encode()).hexdigest(),
        "bytes": len(text),
        "files": ["config.json", "model.safetensors", "weights/model.txt"],
    }
    assert record["times"]["attempt"] == 1
    assert 0 <= record["times"]["ended"] - record["times"]["started"] < 60
    made = record["provenance"]
    assert {"harness", "commit", "python", "versions", "machine", "processor", "vector_flags", "torch"} <= set(made)


def test_a_finished_run_leaves_no_checkpoint_and_nothing_half_written(run: Run, planned: Plan, store: Store) -> None:
    run()
    assert not list((store.root / "checkpoints").iterdir())
    assert {path.name for path in (store.root / "artifacts").iterdir()} == set(planned.stages)
    assert not [path for path in store.root.rglob("*") if path.name.startswith(".") or "half" in path.name]


def test_the_second_run_starts_nothing_and_writes_nothing(run: Run, store: Store, fakes: ModuleType) -> None:
    run()
    fakes.CALLS.clear()
    before = files_below(store.root)
    assert run() == Outcome()
    assert fakes.CALLS == []
    assert files_below(store.root) == before


def test_an_attempt_says_who_ran_and_that_it_is_done(run: Run, planned: Plan, store: Store) -> None:
    run()
    (attempt,) = store.stage(one(planned, "dense")).attempts()
    assert (attempt.number, attempt.outcome, attempt.message, attempt.process) == (1, "done", "", os.getpid())
    assert attempt.started is not None
    assert attempt.ended is not None
    assert attempt.started <= attempt.ended


# -- failure


def test_a_failure_blocks_what_rests_on_it_and_the_rest_is_done(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    fakes.ACTIONS["dense"] = raising(RuntimeError("weights exploded\nand more"))
    said: list[str] = []
    outcome = run(said)
    dense = one(planned, "dense")
    assert outcome.failed == {dense: "RuntimeError: weights exploded"}
    # The dense model is the teacher: task pruning, the transfer with KD and its quantization fall with it, and four
    # evaluations. The transfer without KD and its evaluation do not.
    kinds = [planned.stages[i].kind for i in outcome.blocked]
    assert sorted(kinds) == ["evaluation"] * 4 + ["quantization", "task_pruning", "transfer"]
    kinds = [planned.stages[i].kind for i in outcome.done]
    assert kinds == ["corpus", "pairs", "teacher_preparation", "student_pruning", "transfer", "evaluation"]
    found = states(planned, store)
    assert [i for i, state in found.items() if state == "failed"] == [dense]
    assert {i for i, state in found.items() if state == "blocked"} == set(outcome.blocked)
    assert not any(store.stage(i).attempts() for i in outcome.blocked)
    (line,) = [line for line in said if "failed" in line]
    assert "weights exploded" in line
    assert str(store.stage(dense).log_path(1)) in line


def test_a_failed_attempt_keeps_its_class_its_message_and_its_trace(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    fakes.ACTIONS["dense"] = raising(RuntimeError("weights exploded\nand more"))
    run()
    dense = one(planned, "dense")
    (attempt,) = store.stage(dense).attempts()
    assert (attempt.outcome, attempt.message) == ("code", "RuntimeError: weights exploded")
    log = store.stage(dense).log_path(1).read_text()
    assert "Traceback" in log
    assert "and more" in log
    assert not store.stage(dense).has_record()
    assert not store.stage(dense).artifact_path.exists()


def test_the_next_run_tries_what_failed_again_and_only_what_is_left(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    fakes.ACTIONS["dense"] = raising(RuntimeError("no"))
    finished = run().done
    fakes.ACTIONS.clear()
    fakes.CALLS.clear()
    outcome = run()
    assert set(outcome.done) == set(fakes.CALLS) == set(planned.stages) - set(finished)
    assert [attempt.outcome for attempt in store.stage(one(planned, "dense")).attempts()] == ["code", "done"]
    assert store.stage(one(planned, "dense")).read_record()["times"]["attempt"] == 2


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (ValueError("bad"), "code", "ValueError: bad"),
        (AssertionError(), "code", "AssertionError: AssertionError"),
        (StoreError("the parent is gone"), "code", "the parent is gone"),
        (MemoryError(), "out-of-memory", "MemoryError: MemoryError"),
        (RuntimeError("CUDA out of memory. Tried to"), "out-of-memory", "RuntimeError: CUDA out of memory. Tried to"),
        (type("OutOfMemoryError", (RuntimeError,), {})("x"), "out-of-memory", "OutOfMemoryError: x"),
        (
            OSError(28, "No space left on device"),
            "infrastructure",
            FULL.format("OSError: [Errno 28] No space left on device"),
        ),
        (
            RuntimeError("I/O error: No space left on device (os error 28)"),
            "infrastructure",
            FULL.format("RuntimeError: I/O error: No space left on device (os error 28)"),
        ),
        (OSError(5, "Input/output error"), "infrastructure", "OSError: [Errno 5] Input/output error"),
        (Interrupted("a signal"), "interrupted", "a signal"),
        (TimeLimit("a signal"), "time-limit", "a signal"),
        (Cancelled("a request"), "cancelled", "a request"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt: KeyboardInterrupt"),
        (type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})(), "code", "Mute: Mute"),
    ],
)
def test_the_class_and_message_of_an_end(error: BaseException, outcome: str, message: str) -> None:
    assert (outcome_of(error), first_line(error)) == (outcome, message)


def test_a_result_that_is_not_a_number_fails_its_stage(
    run: Run, planned: Plan, store: Store, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes, "SHARE", float("nan"))
    outcome = run()
    assert set(outcome.failed) == set(of_kind(planned, "evaluation"))
    for stage_id in outcome.failed:
        assert not store.stage(stage_id).has_record()
        assert store.stage(stage_id).last_attempt().outcome == "code"


# -- parents


def fail_then_mend(run: Run, fakes: ModuleType) -> None:
    """Everything is done but what depends on student pruning."""
    fakes.ACTIONS["transfer"] = raising(RuntimeError("no"))
    run()
    fakes.ACTIONS.clear()
    fakes.CALLS.clear()


@pytest.mark.parametrize("swap", ["bytes", "one more file", "another name", "gone"])
def test_a_swapped_parent_artifact_is_refused(
    run: Run, planned: Plan, store: Store, fakes: ModuleType, swap: str
) -> None:
    fail_then_mend(run, fakes)
    parent = one(planned, "student_pruning")
    model = store.stage(parent).artifact_path / "weights" / "model.txt"
    if swap == "bytes":
        model.write_text(model.read_text().replace("student", "teacher"))
    elif swap == "one more file":
        model.with_name("extra").touch()
    elif swap == "another name":
        model.rename(model.with_name("other.txt"))
    else:
        shutil.rmtree(model.parents[1])
    outcome = run()
    assert set(outcome.failed) == set(of_kind(planned, "transfer"))
    said = "is gone" if swap == "gone" else "is not the one its record describes"
    for message in outcome.failed.values():
        assert f"the artifact of the model stage {parent}" in message
        assert said in message
    assert fakes.CALLS == []


def test_an_edited_parent_record_is_refused(run: Run, planned: Plan, store: Store, fakes: ModuleType) -> None:
    fail_then_mend(run, fakes)
    path = store.stage(one(planned, "student_pruning")).record_path
    path.write_text(path.read_text().replace('"mlm_correct": 1', '"mlm_correct": 3'))
    outcome = run()
    assert set(outcome.failed) == set(of_kind(planned, "transfer"))
    assert all("was changed after it was written" in message for message in outcome.failed.values())


def test_a_stage_sees_its_parents_records_and_artifacts(run: Run, planned: Plan, fakes: ModuleType) -> None:
    seen: dict[str, str] = {}

    def look(context: StageContext) -> None:
        for role, folder in context.parent_artifacts.items():
            seen[role] = (folder / "weights" / "model.txt").read_text()
            assert context.parent_records[role]["stage_id"] == context.spec.parents[role]

    fakes.ACTIONS["quantization"] = look
    run()
    transfer = distilled_transfer(planned)
    assert seen == {"model": f"transfer {transfer}", "teacher": f"dense {one(planned, 'dense')}"}


# -- interruption


def test_an_interrupted_stage_says_so_and_the_next_run_goes_on(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    def stop(context: StageContext) -> None:
        (context.checkpoints / "step-7").write_text("saved")
        os.kill(os.getpid(), signal.SIGTERM)
        assert context.should_stop()
        raise Interrupted("stopped at step 7")

    before = signal.getsignal(signal.SIGTERM)
    fakes.ACTIONS["student_pruning"] = stop
    with pytest.raises(Interrupted, match="stopped in student_pruning tiny .* the same command goes on"):
        run()
    assert signal.getsignal(signal.SIGTERM) is before
    pruning = one(planned, "student_pruning")
    (attempt,) = store.stage(pruning).attempts()
    assert (attempt.outcome, attempt.message) == ("interrupted", "stopped at step 7")
    assert states(planned, store)[pruning] == "pending"
    assert "blocked" not in states(planned, store).values()
    finished = list(fakes.CALLS[:-1])

    kept: list[str] = []
    fakes.ACTIONS["student_pruning"] = lambda context: kept.extend(p.name for p in context.checkpoints.iterdir())
    fakes.CALLS.clear()
    outcome = run()
    assert kept == ["step-7"]  # the checkpoint of the attempt before
    assert set(outcome.done) == set(planned.stages) - set(finished)
    assert [attempt.outcome for attempt in store.stage(pruning).attempts()] == ["interrupted", "done"]


def test_a_stop_is_noticed_while_a_stage_verifies_its_parents(
    run: Run, planned: Plan, store: Store, tmp_path: Path, fakes: ModuleType
) -> None:
    fakes.ACTIONS["pairs"] = raising(ValueError("not yet"))
    run()
    pairs, sources = one(planned, "pairs"), Sources(models={}, data=tmp_path)  # type: ignore[arg-type]
    fakes.CALLS.clear()
    with pytest.raises(Interrupted, match="^stopped after reading 0 bytes of "):
        run_stage(planned.stages[pairs], store, sources, Resources(), lambda: True)
    assert store.stage(pairs).last_attempt().outcome == "interrupted"
    assert not fakes.CALLS


def test_a_signal_between_stages_stops_before_the_next(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    first = next(iter(planned.stages))
    fakes.ACTIONS[planned.stages[first].kind] = lambda context: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted, match="the same command goes on"):
        run()
    # The running stage took no notice and finished; nothing was begun after it.
    assert list(fakes.CALLS) == [first]
    assert store.stage(first).has_record()
    assert sum(bool(store.stage(stage_id).attempts()) for stage_id in planned.stages) == 1


def test_a_second_ctrl_c_does_not_wait(run: Run, planned: Plan, store: Store, fakes: ModuleType) -> None:
    def twice(context: StageContext) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    fakes.ACTIONS["corpus"] = twice
    with pytest.raises(Interrupted):
        run()
    assert store.stage(one(planned, "corpus")).attempts()[0].outcome == "interrupted"
    assert not store.stage(one(planned, "corpus")).has_record()


def test_a_stage_that_runs_elsewhere_is_not_started_twice(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    first = next(iter(planned.stages))
    store.stage(first).acquire_lease()
    assert states(planned, store)[first] == "running"
    outcome = run()
    assert outcome.elsewhere == [first]
    assert store.stage(first).attempts() == []
    # Only what depends on it waits; the rest of the grid goes on.
    resting = {i for i in planned.stages if first in planned.ancestors(i)} - {first}
    assert set(outcome.blocked) == resting
    assert set(outcome.done) == set(planned.stages) - resting - {first}


def test_a_stage_finished_elsewhere_meanwhile_is_not_run_again(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    pairs = one(planned, "pairs")

    def other_process_finishes_the_pairs(context: StageContext) -> None:
        with store.stage(pairs).new_artifact() as folder:
            (folder / "x").touch()
        digest = folder_digest(store.stage(pairs).artifact_path)
        store.stage(pairs).publish_record(
            {**planned.stages[pairs].fingerprint_fields(), "artifact": {"digest": digest}, "result": {}}
        )

    fakes.ACTIONS["corpus"] = other_process_finishes_the_pairs
    assert run().failed == {}
    assert pairs not in fakes.CALLS


def test_a_worker_that_lost_its_lease_publishes_nothing(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    pairs = one(planned, "pairs")

    def taken_over_meanwhile(context: StageContext) -> None:
        folder = store.stage(pairs).lease_path
        assert acquire(folder, {"host": "another-host"}, lambda holder: True) is not None

    fakes.ACTIONS["pairs"] = taken_over_meanwhile
    outcome = run()
    assert "was taken over" in outcome.failed[pairs]
    assert not store.stage(pairs).has_record()
    assert not store.stage(pairs).artifact_path.exists()
    assert [attempt.outcome for attempt in store.stage(pairs).attempts()] == ["lease-lost"]


def test_a_worker_whose_files_went_to_its_successor_lost_its_lease_and_has_not_failed(
    run: Run, planned: Plan, store: Store, fakes: ModuleType
) -> None:
    pairs = one(planned, "pairs")

    def taken_over_and_tidied_up(context: StageContext) -> None:
        assert acquire(store.stage(pairs).lease_path, {"host": "another-host"}, lambda holder: True) is not None
        shutil.rmtree(context.artifact)
        (context.artifact / "next.txt").write_text("")

    fakes.ACTIONS["pairs"] = taken_over_and_tidied_up
    outcome = run()
    assert "was taken over" in outcome.failed[pairs]
    (attempt,) = store.stage(pairs).attempts()
    assert attempt.outcome == "lease-lost"
    assert "was taken over" in attempt.message


def test_a_stage_whose_lease_was_lost_ends_at_the_next_heartbeat_and_was_not_interrupted(
    planned: Plan, store: Store, tmp_path: Path, fakes: ModuleType
) -> None:
    dense = one(planned, "dense")

    def polling_while_another_takes_over(context: StageContext) -> None:
        assert acquire(store.stage(dense).lease_path, {"host": "another-host"}, lambda holder: True) is not None
        fakes.poll(context)

    fakes.ACTIONS["dense"] = polling_while_another_takes_over
    often, sources = Intervals(heartbeat=0.02), Sources(models={}, data=tmp_path)
    began = time.monotonic()
    with pytest.raises(LeaseLost, match="was taken over"):
        run_stage(planned.stages[dense], store, sources, Resources(), lambda: False, intervals=often)
    assert time.monotonic() - began < 30, "it polls for 60 s"
    (attempt,) = store.stage(dense).attempts()
    assert attempt.outcome == "lease-lost"


def test_a_stage_is_given_a_guard_for_its_checkpoints(run: Run, planned: Plan, store: Store, fakes: ModuleType) -> None:
    dense = one(planned, "dense")

    def saving_after_a_takeover(context: StageContext) -> None:
        checkpoints = Checkpoints(context.checkpoints, context.guard)
        for step in (1, 2):
            with checkpoints.writing() as staging:
                (staging / f"checkpoint-{step}").mkdir()
            acquire(store.stage(dense).lease_path, {"host": "another-host"}, lambda holder: True)

    fakes.ACTIONS["dense"] = saving_after_a_takeover
    assert "was taken over" in run().failed[dense]
    assert store.stage(dense).newest_checkpoint() == "checkpoint-1"
    assert [attempt.outcome for attempt in store.stage(dense).attempts()] == ["lease-lost"]


def test_leases_are_released_when_stages_end(run: Run, planned: Plan, store: Store, fakes: ModuleType) -> None:
    run()
    for stage_id in planned.stages:
        holder = store.stage(stage_id).holder()
        assert holder is not None
        assert holder.released
        assert Lease(store.stage(stage_id).lease_path, 1).is_held()
