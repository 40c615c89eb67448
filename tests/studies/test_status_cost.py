"""What a look at a large study costs: 10,000 cells with 18,000 records, tasks in the queue, a few that failed."""

from __future__ import annotations

import os
import resource

import pytest
from grid_world import python
from stub_slurm import StubSlurm, submitted
from yardstick import slowness

from harness.inputs.data_sources import HubData
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import merged, read_study, write_study
from harness.tasks import TASKS

MODELS = ("bert-base", "bert-large", "distilbert")
NUM_SEEDS = 125
NUM_RECORDS = 18_000
MOST_SECONDS = 1.5


def planned() -> Plan:
    """The paper's rows: 80 cells a seed."""
    preset = load_preset("paper")
    cells = expand(Axes(models=list(MODELS), seeds=list(range(NUM_SEEDS))), preset).cells
    models = {name: ModelIdentity(weights=f"{name} weights", tokenizer=name) for name in MODELS}
    return plan_cells(
        cells, preset.recipe, Inputs(models=models, data=HubData().content_ids(TASKS.values(), corpus=True))
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Records that nobody may open: they are no JSON. Each finished stage has its folders of leases and attempts."""
    store, plan = Store(tmp_path_factory.mktemp("large") / "runs"), planned()
    assert len(plan.paths) == 10_000
    write_study(store, merged(store, "paper", load_preset("paper"), plan))
    for stage_id in list(plan.stages)[:NUM_RECORDS]:
        path = store.stage(stage_id).record_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        for folder in ("leases", "attempts"):
            os.makedirs(store.root / folder / stage_id)
    return store


def seconds_of(*arguments: str) -> float:
    """Processor time of the command, with all that it starts."""

    def used() -> float:
        found = resource.getrusage(resource.RUSAGE_CHILDREN)
        return found.ru_utime + found.ru_stime

    before = used()
    done = python("-m", "harness", *arguments)
    assert done.returncode in (1, 4), done.stderr
    assert "8987 of 10000 cells done" in done.stdout or '"done": 8987' in done.stdout
    return used() - before


@pytest.mark.slow
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_10000_cells_are_looked_at_in_one_and_a_half_seconds(
    large: Store, stub_slurm: StubSlurm, form: tuple[str, ...]
) -> None:
    """squeue, which here is a script that prints 1,000 tasks, counts with it. A slower machine has longer."""
    rest = list(read_study(large, "paper", checked=False).plan.stages)[NUM_RECORDS:]
    if not large.ledger.uuids():
        for start in range(0, 2000, 1000):
            part = rest[start : start + 1000]
            submitted(large, *([stage_id] for stage_id in part), study="paper")
        for stage_id in rest[-50:]:
            number = large.stage(stage_id).begin_attempt({"time": 1.0})
            large.stage(stage_id).end_attempt(number, {"time": 2.0, "outcome": "code", "message": "no\nand more"})
    first, second = large.ledger.read_sound(large.ledger.uuids())
    tasks = [*first.stages(), *second.stages()]
    stub_slurm.has(
        *((task, "PD", "Dependency" if number % 2 else "Priority") for number, (_, task) in enumerate(tasks))
    )
    for left in ([], [first]):
        stub_slurm.forget_calls()
        for submission in left:  # has left the queue without a result
            large.ledger.note_job(submission.uuid, "100")
            stub_slurm.has(*((task, "PD", "Priority") for _, task in second.stages()))
        taken = min(seconds_of("status", "--store", str(large.root), *form) / slowness() for _ in range(3))
        print(f"{taken:.2f} s")
        assert len(stub_slurm.calls("squeue")) == 3
        assert taken <= MOST_SECONDS, f"{taken:.2f} s"
