"""Faults on a real SLURM: what a grid comes to when processes, nodes, daemons and disks fail under it.

Each test causes one fault and then gives at most the same `harness grid` again. At its end every test asks the same of
the store and of slurmctld: `ClusterGrid.check_end`.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cluster_grid import STUDY, ClusterGrid, run_in_peace
from dying_submitter import MOMENTS
from grid_world import HERE, ROOT, World

from harness.planning.graph import Plan
from harness.store.store import Store
from harness.studies.study import read_study
from slurm.devcluster.cluster import Cluster, temporary
from slurm.devcluster.conf import Settings

DENSE = "dense tiny sst2 seed 0"
EVALUATION = f"evaluation of {DENSE}"
TRANSFER = "transfer tiny sst2 0.85 seed 0"
ONE = ("--methods", "dense", "--tasks", "sst2")  # one task: dense and its evaluation
CHAIN = ("--methods", "dense,prune-ofa", "--tasks", "sst2")  # two arrays: what the second starts from is in the first
THREE = (*ONE, "--seeds", "0,1,2")  # three bundles alike


class Peace(NamedTuple):
    """A run of a grid in peace: its plan, and its records without what no two runs share."""

    plan: Plan
    records: dict[str, dict[str, Any]]

    def id_of(self, label: str) -> str:
        (found,) = (stage_id for stage_id in self.plan.stages if self.plan.label(stage_id) == label)
        return found


@pytest.fixture
def make(cluster: Cluster, world: World) -> Callable[..., ClusterGrid]:
    """make(*words, **keys of the profile) -> a grid on the cluster that runs fake stages."""
    return lambda *words, **settings: grid_on(cluster, world, *words, **settings)


def grid_on(cluster: Cluster, world: World, *words: str, store: Path | None = None, **settings: object) -> ClusterGrid:
    inputs = ("--models", f"tiny={world.folder / 'model'}", "--data", str(world.folder / "data"))
    return ClusterGrid(cluster, world.folder, (*inputs, *words), settings, store)


@pytest.fixture
def make_real(cluster: Cluster, tiny: Any, tmp_path: Path) -> Callable[..., ClusterGrid]:
    """make_real(**keys of the profile) -> a grid whose one model is trained on the CPU in a hundred steps."""
    import tiny_world

    inputs = ("--models", f"tiny={tiny.model}", "--data", str(tiny.data))
    settings = [word for key, value in tiny_world.SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return lambda **keys: ClusterGrid(cluster, tmp_path, (*inputs, *ONE, *settings), keys)


@pytest.fixture(scope="session")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Peace]:
    """peace(grid, *actions) -> the same grid run without a cluster, once for all tests. It gives the grid its plan."""
    known: dict[tuple[str, ...], Peace] = {}

    def run(grid: ClusterGrid, *actions: str) -> Peace:
        key = (*actions, *grid.words[4:])  # but for the places of model and data
        if key not in known:
            store = tmp_path_factory.mktemp("peace") / "runs"
            records = run_in_peace(grid, store, *actions)
            known[key] = Peace(read_study(Store(store), STUDY).plan, records)
        return known[key]

    return run


# A worker, a driver


def test_a_killed_worker_is_followed_by_another_in_the_same_task(make: Any, peace: Any) -> None:
    grid = make(*ONE)
    expected = peace(grid, "dense=work:12")
    dense = expected.id_of(DENSE)
    grid.act("dense=work:12:0.25")
    grid.grid()
    grid.kill(grid.worker(grid.wait_for_step(dense, 3)))
    grid.wait_until_empty()
    assert grid.outcomes(dense) == ["killed", "done"]
    assert grid.store.stage(dense).attempts()[0].checkpoint != ""
    told = grid.cluster.job(grid.job_of(dense))
    assert (told["JobState"], told["ExitCode"], told["Restarts"]) == ("COMPLETED", "0:0", "0")
    grid.check_end(expected.records)
    assert grid.num_submissions == 1


def test_a_worker_killed_just_after_it_published_has_done_its_stage(make: Any, peace: Any) -> None:
    grid = make(*ONE)
    expected = peace(grid)
    grid.act("dense=die_recorded")
    grid.grid()
    grid.wait_until_empty()
    grid.check_end(expected.records)
    assert grid.num_submissions == 1


def test_a_killed_driver_takes_its_task_back_to_the_queue(make: Any, peace: Any) -> None:
    grid = make(*ONE)
    expected = peace(grid, "dense=work:12")
    dense = expected.id_of(DENSE)
    grid.act("dense=work:12:0.25")
    grid.grid()
    grid.kill(grid.driver(grid.wait_for_step(dense, 3)))
    grid.wait_until_empty()
    first, last = grid.store.stage(dense).attempts()
    assert first.outcome in ("interrupted", "killed")
    assert (first.restart, last.restart, last.outcome) == (0, 1, "done")
    told = grid.cluster.job(grid.job_of(dense))
    assert (told["JobState"], told["Restarts"]) == ("COMPLETED", "1")
    grid.check_end(expected.records)
    assert grid.num_submissions == 1


def test_in_a_task_of_several_bundles_the_others_go_on_when_workers_die(make: Any, peace: Any) -> None:
    """One worker is killed once, and another stage kills its own each time until it has no try left."""
    grid = make(*THREE, bundles_per_task=3, stages_at_once=2)
    expected = peace(grid, "dense=work:8")
    once, always, never = (expected.id_of(f"dense tiny sst2 seed {seed}") for seed in (0, 1, 2))
    grid.act("dense=work:8:0.3", f"{always}=die")
    grid.grid()
    grid.kill(grid.worker(grid.wait_for_step(once, 2)))
    grid.wait_until_empty()
    assert grid.num_submissions == 1
    assert (grid.outcomes(once), grid.outcomes(never)) == (["killed", "done"], ["done"])
    assert grid.outcomes(always) == ["killed"] * 3
    assert "SIGKILL" in grid.last(always).message
    assert grid.states()["evaluation of dense tiny sst2 seed 1"] == "blocked"
    assert grid.cluster.job(grid.job_of(once))["ExitCode"] == "1:0"
    grid.check_end(expected.records, unfinished=2)
    grid.act("dense=work:8")
    grid.grid()
    grid.wait_until_empty()
    grid.check_end(expected.records)
    assert grid.num_submissions == 2


# A submitter


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_submitter_is_killed_the_next_one_submits_only_the_rest(
    make: Any, peace: Any, tmp_path: Path, moment: str
) -> None:
    grid = make(*CHAIN)
    expected = peace(grid, "dense=work:3")
    grid.act(f"dense=work:3:0:{tmp_path}/go")
    dying = grid.submission(program=(str(HERE / "dying_submitter.py"), moment))
    assert subprocess.run(dying, env=grid.environment, capture_output=True).returncode == -signal.SIGKILL
    queued_before = {"before-the-entry": 0, "before-sbatch": 0, "before-the-id": 1, "between-arrays": 1}[moment]
    assert grid.num_submissions == queued_before
    assert len({job.job.partition("_")[0] for job in grid.queue()}) == queued_before
    grid.grid()
    assert grid.num_submissions == 2
    grid.grid()
    assert grid.num_submissions == 2, "what is queued was submitted again"
    (tmp_path / "go").touch()
    grid.wait_until_empty()
    assert all(grid.outcomes(stage_id) == ["done"] for stage_id in expected.plan.stages)
    grid.check_end(expected.records)


def test_of_two_submitters_at_once_each_task_is_submitted_once(make: Any, peace: Any, tmp_path: Path) -> None:
    grid = make(*CHAIN)
    expected = peace(grid, "dense=work:3")
    grid.act(f"dense=work:3:0:{tmp_path}/go")
    both = [grid.start_grid(), grid.start_grid()]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted("nothing new to submit" in errors for _, errors in said) == [False, True]
    assert grid.num_submissions == 2
    assert len(grid.queue()) == 3
    (tmp_path / "go").touch()
    grid.wait_until_empty()
    assert all(grid.outcomes(stage_id) == ["done"] for stage_id in expected.plan.stages)
    grid.check_end(expected.records)


# People and the scheduler


def test_a_cancelled_job_is_not_queued_again_until_the_command_is_given_again(make: Any, peace: Any) -> None:
    grid = make(*CHAIN)
    expected = peace(grid, "dense=work:12")
    dense = expected.id_of(DENSE)
    grid.act("dense=work:12:0.5")
    grid.grid()
    grid.wait_for_step(dense, 2)
    job = grid.job_of(dense)
    grid.cluster.run("scancel", job)
    grid.wait_until_empty()
    assert grid.cluster.job(job)["JobState"] == "CANCELLED"
    assert grid.num_submissions == 2
    assert grid.outcomes(dense) == ["interrupted"]
    states = grid.states()
    assert (states[DENSE], states[TRANSFER], states["corpus"]) == ("pending", "pending", "done")
    kept = grid.last(dense).checkpoint
    assert kept != ""
    grid.act("dense=work:12")
    grid.grid()
    grid.wait_until_empty()
    assert grid.outcomes(dense) == ["interrupted", "done"]
    grid.check_end(expected.records)


def test_a_task_that_an_administrator_requeues_goes_on_from_its_checkpoint(make: Any, peace: Any) -> None:
    grid = make(*CHAIN)
    expected = peace(grid, "dense=work:12")
    dense = expected.id_of(DENSE)
    grid.act("dense=work:12:0.4")
    grid.grid()
    grid.wait_for_step(dense, 2)
    job = grid.job_of(dense)
    grid.cluster.run("scontrol", "requeue", job)
    grid.wait_until_empty()
    assert grid.outcomes(dense) == ["interrupted", "done"]
    assert grid.store.stage(dense).attempts()[0].checkpoint != ""
    told = grid.cluster.job(job)
    assert (told["JobState"], told["Restarts"]) == ("COMPLETED", "1")
    grid.check_end(expected.records)
    assert grid.num_submissions == 2


# Limits


def test_two_limits_without_a_newer_checkpoint_are_a_timeout_that_names_the_profiles_line(
    make: Any, peace: Any
) -> None:
    """The signal before the limit, sent at once: SLURM's own way to it takes 20 s each time."""
    grid = make(*ONE)
    expected = peace(grid)
    dense = expected.id_of(DENSE)
    grid.act("dense=poll")
    grid.grid()
    job = grid.job_of(dense)
    for number in (1, 2):
        grid.wait_for_start(dense, number)
        grid.cluster.run("scancel", "--signal=USR2", job)
        grid.wait(lambda number=number: grid.store.stage(dense).attempts()[number - 1].outcome is not None)
    grid.wait_until_empty()
    assert grid.outcomes(dense) == ["time-limit", "timeout"]
    assert grid.last(dense).message.endswith(f"raise time in [default] of {grid.profile}")
    told = grid.cluster.job(job)
    assert (told["JobState"], told["ExitCode"], told["Restarts"]) == ("FAILED", "1:0", "1")
    assert grid.states()[EVALUATION] == "blocked"
    grid.check_end(expected.records, unfinished=2)
    grid.act()
    grid.grid()
    grid.wait_until_empty()
    grid.check_end(expected.records)


def test_a_stage_that_hears_no_signal_is_ended_before_the_limit_would_end_its_task(make: Any, peace: Any) -> None:
    """And is named after the second time; the first start is followed by another without anybody's doing."""
    grid = make(*ONE)
    expected = peace(grid)
    dense = expected.id_of(DENSE)
    grid.act("dense=sleep")
    grid.grid()
    job = grid.job_of(dense)
    for number in (1, 2):
        grid.wait_for_start(dense, number)
        grid.cluster.run("scancel", "--signal=USR2", job)
        grid.wait(lambda number=number: grid.store.stage(dense).attempts()[number - 1].outcome is not None)
    grid.wait_until_empty()
    assert grid.outcomes(dense) == ["time-limit", "timeout"]
    assert grid.last(dense).message.startswith("it did not stop before the time limit.")
    told = grid.cluster.job(job)
    assert (told["JobState"], told["ExitCode"], told["Restarts"]) == ("FAILED", "1:0", "1")
    grid.check_end(expected.records, unfinished=2)
    grid.act()
    grid.grid()
    grid.wait_until_empty()
    grid.check_end(expected.records)


def test_real_training_longer_than_its_limit_is_done_after_several_and_bit_equal(
    make_real: Any, peace: Any, cluster: Cluster
) -> None:
    """A limit of two minutes, which profiles refuse: the signal comes half a minute to a minute after a start.

    A busy machine takes half of that until the first step.
    """
    grid = make_real()
    expected = peace(grid, "--real")
    dense = expected.id_of(DENSE)
    grid.act("--real", "dense=slow:0.5")
    grid.grid(environment={"MORE_FLAGS": "--time=2"})
    grid.wait_until_empty(600)
    *before, last = grid.outcomes(dense)
    assert (set(before), last) == ({"time-limit"}, "done")
    reached = [int(each.checkpoint.rpartition("-")[2] or 0) for each in grid.store.stage(dense).attempts()[:-1]]
    assert reached == sorted(set(reached))
    assert f"resuming from checkpoint-{reached[-1]}" in grid.log(dense)
    told = cluster.job(grid.job_of(dense))
    assert (told["JobState"], told["TimeLimit"]) == ("COMPLETED", "00:02:00")
    assert len(before) >= 1
    assert int(told["Restarts"]) >= len(before), "a busy machine's start may be told to stop before it begins a stage"
    grid.check_end(expected.records)
    assert grid.num_submissions == 1


def test_real_training_that_is_pre_empted_goes_on_and_is_bit_equal(
    make_real: Any, peace: Any, cluster: Cluster
) -> None:
    grid = make_real(partition="low", nodelist="n1")
    expected = peace(grid, "--real")
    dense = expected.id_of(DENSE)
    grid.act("--real", "dense=slow:0.3")
    grid.grid()
    grid.wait_for_start(dense)
    grid.wait(lambda: grid.progress(dense) != "")
    job = grid.job_of(dense)
    urgent = cluster.sbatch("sleep 1", "--partition=high", "--nodelist=n1", "--exclusive")
    cluster.wait_for(urgent, "COMPLETED")
    kept = grid.store.stage(dense).attempts()[0]
    assert kept.outcome == "interrupted"
    assert kept.checkpoint != ""
    grid.act("--real")
    grid.wait_until_empty(90)
    assert grid.outcomes(dense) == ["interrupted", "done"]
    assert f"resuming from {kept.checkpoint}" in grid.log(dense)
    told = cluster.job(job)
    assert (told["JobState"], told["Restarts"], told["NodeList"]) == ("COMPLETED", "1", "n1")
    grid.check_end(expected.records)
    assert grid.num_submissions == 1


# Nodes and daemons


def test_after_a_node_crashed_its_task_goes_on_on_another(make: Any, peace: Any, cluster: Cluster) -> None:
    grid = make(*CHAIN)
    expected = peace(grid, "dense=work:12")
    dense = expected.id_of(DENSE)
    grid.act("dense=work:12:0.5")
    grid.grid()
    crashed = grid.wait_for_step(dense, 2)
    job = grid.job_of(dense)
    cluster.crash_node(crashed.host)
    grid.act("dense=work:12")
    grid.wait_until_empty(90)
    first, last = grid.store.stage(dense).attempts()
    assert (first.outcome, last.outcome, first.restart, last.restart) == ("killed", "done", 0, 1)
    assert first.host == crashed.host != last.host
    assert cluster.job(job)["Restarts"] == "1"
    grid.check_end(expected.records)
    assert grid.num_submissions == 2


def test_a_worker_that_outlived_its_node_cannot_publish(
    make: Any, peace: Any, cluster: Cluster, tmp_path: Path
) -> None:
    """slurmd is killed and the node set down: SLURM starts the task elsewhere, while its worker of before lives on."""
    grid = make(*ONE)
    expected = peace(grid)
    dense = expected.id_of(DENSE)
    grid.act(f"dense=linger:{tmp_path}/go")
    grid.grid()
    zombie = grid.wait_for_start(dense)
    pid = grid.worker(zombie)
    cluster.kill_slurmd(zombie.host)
    cluster.set_down(zombie.host)
    grid.wait_until_empty()
    assert Path(f"/proc/{pid}").exists()
    record = grid.store.stage(dense).record_path.read_bytes()
    (tmp_path / "go").touch()
    grid.wait(lambda: not Path(f"/proc/{pid}").exists() or grid.outcomes(dense)[0] == "lease-lost")
    assert [(each.outcome, each.restart) for each in grid.store.stage(dense).attempts()] == [
        ("lease-lost", 0),
        ("done", 1),
    ]
    assert grid.last(dense).host != zombie.host
    assert grid.store.stage(dense).record_path.read_bytes() == record
    grid.check_end(expected.records)
    assert grid.num_submissions == 1


def test_a_worker_that_outlived_its_node_ends_at_its_next_checkpoint_and_leaves_the_others_alone(
    make: Any, peace: Any, cluster: Cluster
) -> None:
    grid = make(*ONE)
    expected = peace(grid, "dense=work:250")
    dense = expected.id_of(DENSE)
    grid.act("dense=work:250:0.2")
    grid.grid()
    zombie = grid.wait_for_step(dense, 2)
    cluster.kill_slurmd(zombie.host)
    cluster.set_down(zombie.host)
    grid.wait(lambda: grid.outcomes(dense)[0] == "lease-lost")  # "killed" until it says so itself
    assert grid.outcomes(dense) == ["lease-lost", None]
    grid.wait_until_empty(120)
    assert grid.outcomes(dense) == ["lease-lost", "done"]
    assert grid.last(dense).host != zombie.host
    grid.check_end(expected.records)
    assert grid.num_submissions == 1


def test_tasks_run_through_a_restart_of_slurmctld(make: Any, peace: Any, cluster: Cluster, tmp_path: Path) -> None:
    grid = make(*CHAIN)
    expected = peace(grid, "dense=work:3")
    dense = expected.id_of(DENSE)
    grid.act(f"dense=work:3:0.1:{tmp_path}/go")
    grid.grid()
    grid.wait_for_step(dense, 2)
    cluster.stop_slurmctld()
    ran = grid.harness("status")
    assert "running" in ran.out
    refused = grid.grid(code=3)
    assert "nothing was submitted" in refused.err
    cluster.start_slurmctld()
    assert grid.num_submissions == 2
    (tmp_path / "go").touch()
    grid.wait_until_empty()
    assert grid.outcomes(dense) == ["done"]
    assert cluster.job(grid.job_of(dense))["Restarts"] == "0"
    grid.check_end(expected.records)


def test_nothing_is_missed_while_slurmdbd_is_stopped(make: Any, peace: Any, cluster: Cluster) -> None:
    grid = make(*CHAIN)
    expected = peace(grid)
    cluster.stop_slurmdbd()
    grid.grid()
    grid.wait_until_empty()
    grid.check_end(expected.records)
    cluster.start_slurmdbd()
    arrays = ",".join({job.partition("_")[0] for job in grid.jobs().values()})

    def accounted() -> list[str]:
        return cluster.run("sacct", "-nXP", "-j", arrays, "--format=State").split()

    grid.wait(lambda: accounted() == ["COMPLETED"] * 3)


def test_a_stage_that_takes_too_much_memory_is_named_and_not_tried_again(make: Any, peace: Any) -> None:
    grid = make(*ONE, memory="400M")
    expected = peace(grid)
    dense = expected.id_of(DENSE)
    grid.act("dense=allocate:700")
    grid.grid()
    job = grid.job_of(dense)
    grid.wait_until_empty()
    assert grid.outcomes(dense) == ["out-of-memory"]
    assert "exceeded memory limit" in grid.last(dense).message
    told = grid.cluster.job(job)
    assert (told["JobState"], told["ExitCode"], told["Restarts"]) == ("FAILED", "1:0", "1")
    assert grid.states()[DENSE] == "failed"
    grid.check_end(expected.records, unfinished=2)
    grid.act()
    grid.grid()
    grid.wait_until_empty()
    grid.check_end(expected.records)


def test_a_full_store_is_named_and_the_same_command_goes_on_once_there_is_room(
    real_slurm: None, world: World, peace: Any, mounted: Callable[[str], Path]
) -> None:
    """On a cluster of its own, without accounting: nodes see only what was mounted before they started."""
    folder = mounted("size=600k")
    with temporary(Settings(nodes=1, accounting=False)) as cluster:
        grid = grid_on(cluster, world, *ONE, store=folder / "runs")
        expected = peace(grid, "dense=work:3")
        dense = expected.id_of(DENSE)
        grid.act("dense=fill_disk")
        grid.grid()
        grid.wait_until_empty()
        assert grid.outcomes(dense) == ["infrastructure"]
        assert "the disk is full" in grid.last(dense).message
        assert grid.states()[DENSE] == "failed"
        grid.check_end(expected.records, unfinished=2)
        mounted("remount,size=50m")
        grid.act("dense=work:3")
        grid.grid()
        grid.wait_until_empty()
        assert grid.outcomes(dense) == ["infrastructure", "done"]
        grid.check_end(expected.records)


# Stages that fail


def test_children_of_a_failed_parent_leave_the_queue_and_run_after_retry(make: Any, peace: Any) -> None:
    grid = make(*CHAIN)
    expected = peace(grid)
    grid.act("corpus=fail")
    grid.grid()
    assert set(grid.states().values()) <= {"queued", "running", "done", "failed", "blocked"}
    grid.wait_until_empty()
    states = grid.states()
    assert (states["corpus"], states["pairs seed 42"], states[TRANSFER]) == ("failed", "blocked", "blocked")
    assert states[EVALUATION] == "done"
    assert "made to fail" in grid.last(expected.id_of("corpus")).message
    assert grid.cluster.job(grid.job_of(expected.id_of("corpus")))["ExitCode"] == "1:0"
    grid.check_end(expected.records, unfinished=6)
    grid.act()
    assert grid.harness("retry", "failed").code == 0
    grid.grid()
    grid.wait_until_empty()
    grid.check_end(expected.records)


def test_what_starts_from_a_stage_runs_though_its_evaluation_failed(make: Any, peace: Any) -> None:
    grid = make(*CHAIN)
    expected = peace(grid)
    evaluation = expected.id_of(EVALUATION)
    grid.act(f"{evaluation}=fail")
    grid.grid()
    grid.wait_until_empty()
    states = grid.states()
    assert (states[EVALUATION], states[TRANSFER], states[f"evaluation of {TRANSFER}"]) == ("failed", "done", "done")
    assert grid.cluster.job(grid.job_of(evaluation))["ExitCode"] == "0:0"
    grid.check_end(expected.records, unfinished=1)
    assert grid.num_submissions == 2
    grid.act()
    grid.grid()
    grid.wait_until_empty()
    assert grid.num_submissions == 3
    grid.check_end(expected.records)


def test_a_task_with_another_source_than_submitted_refuses_and_status_says_so(
    make: Any, peace: Any, tmp_path: Path
) -> None:
    grid = make(*ONE)
    expected = peace(grid)
    dense = expected.id_of(DENSE)
    changed = tmp_path / "changed"
    for package in ("harness", "methods", "paper_tables", "slurm"):
        shutil.copytree(ROOT / package, changed / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (changed / "harness" / "stages" / "evaluation.py").open("a") as file:
        file.write("\nLATER = 1\n")
    grid.act(environment={"PYTHONPATH": f"{changed}:{HERE}"})
    grid.grid()
    grid.wait_until_empty()
    told = grid.cluster.job(grid.job_of(dense))
    assert (told["JobState"], told["ExitCode"], told["Restarts"]) == ("FAILED", "77:0", "0")
    said = {each["id"]: each["message"] for each in grid.status()["failed"]}
    assert said.keys() == set(expected.plan.stages)
    assert set(said.values()) == {"the source changed since it was submitted; give the grid's command again"}
    grid.check_end(expected.records, unfinished=2)
    grid.act()
    grid.grid()
    grid.wait_until_empty()
    grid.check_end(expected.records)
