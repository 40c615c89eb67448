import pytest

from harness.planning.graph import Plan
from harness.specs import Cell, StageSpec
from harness.store.attempts import Attempt
from harness.store.store import Store
from harness.studies.activity import Activity, Place
from harness.studies.state import (
    STATES,
    Remaining,
    plan_states,
    read_states,
    remaining,
    state,
    to_run,
)


def attempt(outcome: str | None, number: int = 1) -> Attempt:
    ended = None if outcome is None else 2.0
    return Attempt(number, 1.0, "host", 1, "boot:1", ended, outcome, "")


FAILED, CUT_OFF, STOPPED, ENDED = attempt("code"), attempt(None), attempt("interrupted"), attempt("done")
RUNNING, QUEUED, NOTHING = Activity(running={"s": Place()}), Activity(queued={"s": Place()}), Activity()


@pytest.mark.parametrize(
    ("expected", "finished", "activity", "attempts", "parents"),
    [
        # A record settles it, whatever else holds.
        ("done", True, NOTHING, [], []),
        ("done", True, RUNNING, [FAILED], ["failed"]),
        ("done", True, QUEUED, [CUT_OFF], ["pending"]),
        # Then its activity.
        ("running", False, RUNNING, [CUT_OFF], ["done"]),
        ("running", False, RUNNING, [FAILED, CUT_OFF], ["failed"]),
        ("running", False, Activity(running={"s": Place()}, queued={"s": Place()}), [], []),
        ("queued", False, QUEUED, [], ["running"]),
        ("queued", False, QUEUED, [FAILED], ["done"]),
        # Then its own last attempt.
        ("failed", False, NOTHING, [FAILED], ["done"]),
        ("failed", False, NOTHING, [FAILED], ["failed"]),
        ("failed", False, NOTHING, [STOPPED, FAILED], []),
        ("failed", False, NOTHING, [attempt("out-of-memory")], []),
        ("failed", False, NOTHING, [attempt("infrastructure")], []),
        ("failed", False, NOTHING, [attempt("timeout")], []),
        ("cancelled", False, NOTHING, [attempt("cancelled")], ["done"]),
        ("cancelled", False, NOTHING, [FAILED, attempt("cancelled")], ["failed"]),
        ("failed", False, NOTHING, [attempt("cancelled"), FAILED], []),
        # Then its parents.
        ("blocked", False, NOTHING, [], ["failed"]),
        ("blocked", False, NOTHING, [], ["done", "blocked"]),
        ("blocked", False, NOTHING, [], ["cancelled"]),
        ("blocked", False, NOTHING, [STOPPED], ["failed"]),
        # Else it is pending: never tried, or cut off, or stopped, or its record was removed.
        ("pending", False, NOTHING, [], []),
        ("pending", False, NOTHING, [], ["done", "pending", "running", "queued"]),
        ("pending", False, NOTHING, [CUT_OFF], ["done"]),
        ("pending", False, NOTHING, [STOPPED], ["done"]),
        ("pending", False, NOTHING, [FAILED, STOPPED], ["done"]),
        ("pending", False, NOTHING, [FAILED, CUT_OFF], ["done"]),
        ("pending", False, NOTHING, [ENDED], ["done"]),
        # Another stage's news is no news.
        ("pending", False, Activity(running={"t": Place()}, queued={"u": Place()}), [], []),
    ],
)
def test_the_state_of_a_stage(
    expected: str, finished: bool, activity: Activity, attempts: list[Attempt], parents: list[str]
) -> None:
    assert state("s", parents, {"s"} if finished else {"t"}, attempts, activity) == expected
    assert expected in STATES


def stage(name: str, **parents: StageSpec) -> StageSpec:
    return StageSpec(kind=name, parameters={}, parents={role: spec.stage_id for role, spec in parents.items()})


class Diamond:
    """corpus -> left, right -> end (a cell), and right -> other (a second cell)."""

    def __init__(self) -> None:
        self.plan = Plan()
        self.corpus = self.plan.add(stage("corpus")).stage_id
        left = self.plan.add(stage("left", corpus=stage("corpus")))
        right = self.plan.add(stage("right", corpus=stage("corpus")))
        end = self.plan.add(stage("end", left=left, right=right))
        other = self.plan.add(stage("other", right=right))
        self.left, self.right, self.end, self.other = (s.stage_id for s in (left, right, end, other))
        for seed, last in enumerate((end, other)):
            cell = Cell(model="m", method="dense", sparsity=0.0, task="sst2", quantization="none", seed=seed)
            self.plan.paths[cell] = tuple(self.plan.ancestors(last.stage_id))
        self.names = {i: s.kind for i, s in self.plan.stages.items()}

    def states(self, *finished: str, attempts: dict[str, list[Attempt]] | None = None) -> dict[str, str]:
        return plan_states(self.plan, finished, attempts or {}, Activity())

    def waiting(self, *finished: str) -> list[str]:
        return [self.names[i] for i in to_run(self.plan, self.states(*finished))]


@pytest.fixture
def diamond() -> Diamond:
    return Diamond()


def test_a_failure_blocks_all_that_depends_on_it_and_nothing_else(diamond: Diamond) -> None:
    found = diamond.states(diamond.corpus, attempts={diamond.left: [FAILED]})
    assert {diamond.names[i]: s for i, s in found.items()} == {
        "corpus": "done",
        "left": "failed",
        "right": "pending",
        "end": "blocked",
        "other": "pending",
    }


def test_a_failure_far_up_blocks_to_the_end(diamond: Diamond) -> None:
    found = diamond.states(attempts={diamond.corpus: [FAILED]})
    assert [found[i] for i in (diamond.corpus, diamond.right, diamond.other)] == ["failed", "blocked", "blocked"]


def test_everything_runs_parents_first_when_nothing_is_done(diamond: Diamond) -> None:
    assert diamond.waiting() == ["corpus", "left", "right", "end", "other"]


def test_nothing_runs_when_the_ends_are_done_even_if_an_ancestors_record_is_gone(diamond: Diamond) -> None:
    assert diamond.waiting(diamond.end, diamond.other) == []
    assert diamond.waiting(diamond.end, diamond.other, diamond.left) == []


def test_only_the_ancestors_that_an_unfinished_end_needs_run(diamond: Diamond) -> None:
    # "end" is done: "left" is needed by no one. "other" needs "right", and "right" needs the corpus.
    assert diamond.waiting(diamond.end) == ["corpus", "right", "other"]
    # With "right" done its corpus is not needed again.
    assert diamond.waiting(diamond.end, diamond.right) == ["other"]
    assert diamond.waiting(diamond.right, diamond.other) == ["corpus", "left", "end"]


def test_what_failed_runs_again_with_what_it_blocked(diamond: Diamond) -> None:
    found = diamond.states(diamond.corpus, attempts={diamond.right: [FAILED]})
    assert [diamond.names[i] for i in to_run(diamond.plan, found)] == ["left", "right", "end", "other"]


def test_states_read_from_files_are_those_of_the_pure_function(diamond: Diamond, store: Store) -> None:
    store.stage(diamond.corpus).publish_record({})
    number = store.stage(diamond.left).begin_attempt({"time": 1.0})
    store.stage(diamond.left).end_attempt(number, {"time": 2.0, "outcome": "code", "message": "no"})
    store.stage(diamond.right).begin_attempt({"time": 1.0})
    found = read_states(diamond.plan, store, Activity(queued={diamond.other: Place()}))
    assert {diamond.names[i]: s for i, s in found.items()} == {
        "corpus": "done",
        "left": "failed",
        "right": "pending",
        "end": "blocked",
        "other": "queued",
    }


def test_reading_the_states_writes_nothing(diamond: Diamond, store: Store) -> None:
    read_states(diamond.plan, store, Activity())
    assert not store.root.exists()


def test_what_is_cancelled_and_what_depends_on_it_is_left_out() -> None:
    diamond = Diamond()
    done = {diamond.corpus}
    found = diamond.states(*done)
    assert remaining(diamond.plan, found).waiting == tuple(to_run(diamond.plan, found))

    def without(stage_id: str, *finished: str) -> Remaining:
        return remaining(diamond.plan, diamond.states(*finished, attempts={stage_id: [attempt("cancelled")]}))

    # The second cell depends on right alone; on left only the end of the first cell.
    assert without(diamond.left, *done) == Remaining((diamond.right, diamond.other), (diamond.left,), (diamond.end,))
    assert without(diamond.right, *done) == Remaining((diamond.left,), (diamond.right,), (diamond.end, diamond.other))
    # What no cell needs any more is not left to do, cancelled or not.
    assert without(diamond.left, *done, diamond.end) == Remaining((diamond.right, diamond.other))
