"""A real SLURM takes our batch files, and their shell queues a task again exactly where its exit code asks for it."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from slurm import batch_file as batch
from slurm.batch_file import batch_file
from slurm.devcluster.cluster import Cluster, temporary
from slurm.devcluster.conf import Settings
from slurm.devcluster.daemons import wait_until
from slurm.profiles import Profile, example_names, load_profiles

PROFILE = Profile(name="default", file="x.toml", time_minutes=8, signal_minutes=5, memory="100M")
HOSTILE = 'it\'s a "b" $(touch x) `touch y` ; # é & -p'


@dataclass(frozen=True)
class Submitted:
    cluster: Cluster
    job: int
    log: Path

    @property
    def task(self) -> str:
        return f"{self.job}_0"

    def said(self) -> list[str]:
        """What the task itself wrote."""
        text = self.log.read_text() if self.log.exists() else ""
        return [line for line in text.splitlines() if line.startswith("task ")]

    def wait_for_lines(self, count: int) -> None:
        """Until the task has begun so many times, through the hold of some seconds after each requeue."""

        def there() -> bool:
            return len(self.said()) >= count

        assert wait_until(there, 60, poll_s=0.5), self.log.read_text() if self.log.exists() else "no log"


@pytest.fixture
def submit(cluster: Cluster, tmp_path: Path) -> Callable[..., Submitted]:
    for folder in (tmp_path, *tmp_path.parents):  # the nodes' users reach it
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)

    def submit(lines: str, profile: Profile = PROFILE, folder: str = "store", name: str | None = None) -> Submitted:
        """Submit an array of one task: a shell script that tells its restart count first."""
        name = name or uuid.uuid4().hex
        store = tmp_path / folder
        store.mkdir(exist_ok=True)
        script = store / "task.sh"
        script.write_text(f'echo "task $HARNESS_ALLOCATION ${{SLURM_RESTART_COUNT:-0}} $SLURMD_NODENAME"\n{lines}\n')
        log = store / f"{name}_%a.log"
        command = ("/bin/bash", str(script))
        text = batch_file(profile, name=name, log=log, num_tasks=1, command=command, directory=store)
        words = cluster.run("sbatch", "--parsable", stdin=text)
        return Submitted(cluster, int(words.strip()), store / f"{name}_0.log")

    return submit


def test_a_task_that_was_asked_to_stop_is_queued_again_once(submit: Callable[..., Submitted]) -> None:
    array = submit('[ "${SLURM_RESTART_COUNT:-0}" = 0 ] && exit 75; exit 0', name="stop")
    array.wait_for_lines(2)
    assert array.cluster.wait_for(array.task, "COMPLETED") == "COMPLETED"
    assert [line.split()[1:3] for line in array.said()] == [["stop_0", "0"], ["stop_0", "1"]]
    assert array.cluster.job(array.task)["Restarts"] == "1"


def test_the_log_is_one_file_through_a_restart(submit: Callable[..., Submitted]) -> None:
    array = submit('[ "${SLURM_RESTART_COUNT:-0}" = 0 ] && exit 75; echo second try; exit 0')
    array.wait_for_lines(2)
    array.cluster.wait_for(array.task, "COMPLETED")
    text = array.log.read_text()
    assert "ended with 75 on n" in text
    assert text.index("ended with 75") < text.index("second try")
    assert [path.name for path in array.log.parent.iterdir() if path.suffix == ".log"] == [array.log.name]


def test_a_failed_task_stays_failed(submit: Callable[..., Submitted]) -> None:
    array = submit("exit 1")
    array.cluster.wait_for(array.task, "FAILED")
    assert array.cluster.job(array.task)["ExitCode"] == "1:0"
    assert array.cluster.job(array.task)["Restarts"] == "0"


def test_a_killed_task_is_queued_again(submit: Callable[..., Submitted]) -> None:
    array = submit('[ "${SLURM_RESTART_COUNT:-0}" = 0 ] && sleep 1 && kill -9 $$; exit 0')
    array.wait_for_lines(2)
    assert array.cluster.wait_for(array.task, "COMPLETED") == "COMPLETED"


def test_a_bad_node_is_not_given_to_the_task_again(submit: Callable[..., Submitted]) -> None:
    """Both nodes are free; the task calls the first it gets broken."""
    array = submit('[ "${SLURM_RESTART_COUNT:-0}" = 0 ] && exit 78; exit 0')
    array.wait_for_lines(1)
    bad = array.said()[0].split()[-1]
    assert wait_until(lambda: bad in array.cluster.job(array.task)["ExcNodeList"], 30, poll_s=0.5)
    array.wait_for_lines(2)
    assert array.said()[1].split()[-1] != bad
    assert array.cluster.wait_for(array.task, "COMPLETED") == "COMPLETED"


def test_a_task_that_calls_every_node_bad_excludes_them_all(submit: Callable[..., Submitted]) -> None:
    array = submit("exit 78")
    array.wait_for_lines(2)
    assert wait_until(lambda: array.cluster.job(array.task)["ExcNodeList"] in ("n[1-2]", "n1,n2"), 30, poll_s=0.5)
    assert {line.split()[-1] for line in array.said()} == {"n1", "n2"}


def test_what_a_person_cancels_is_not_queued_again(submit: Callable[..., Submitted]) -> None:
    """The task ends with 75, as one that saves does; the batch shell has got its own SIGTERM by then."""
    array = submit("trap 'sleep 1; exit 75' TERM; while :; do sleep 0.2; done")
    array.wait_for_lines(1)
    array.cluster.run("scancel", array.task)
    array.cluster.wait_for(array.task, "CANCELLED")
    assert not wait_until(lambda: array.cluster.state(array.task) != "CANCELLED", 5)
    assert len(array.said()) == 1


def test_usr2_reaches_the_task_and_not_the_batch_shell(submit: Callable[..., Submitted]) -> None:
    again = '[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || exit 0; trap "echo task told to save; exit 75" USR2'
    array = submit(f"{again}; while :; do sleep 0.2; done")
    array.wait_for_lines(1)
    array.cluster.run("scancel", "--signal=USR2", array.task)  # what --signal=USR2@N sends, without the wait
    array.wait_for_lines(3)
    assert "task told to save" in array.said()
    assert array.cluster.wait_for(array.task, "COMPLETED") == "COMPLETED"


def test_hostile_paths_and_texts_run_nothing_and_arrive_whole(submit: Callable[..., Submitted], tmp_path: Path) -> None:
    profile = replace(PROFILE, comment=HOSTILE + "\\n", setup=("export FROM_SETUP='set up'",))
    array = submit('echo "task $FROM_SETUP in $PWD"', profile, folder=HOSTILE)
    array.cluster.wait_for(array.task, "COMPLETED")
    assert array.said()[1] == f"task set up in {tmp_path / HOSTILE}"
    shown = array.cluster.run("scontrol", "show", "job", array.task)
    assert f"Comment={HOSTILE}\\n" in shown
    assert not [path for path in tmp_path.rglob("*") if path.name in "xy"]


def test_a_flag_like_an_option_in_a_setup_line_is_none(submit: Callable[..., Submitted]) -> None:
    array = submit("exit 0", replace(PROFILE, setup=("#SBATCH --comment=taken",)))
    array.cluster.wait_for(array.task, "COMPLETED")
    assert array.cluster.job(array.task).get("Comment") is None


def test_tasks_without_the_environment_of_the_submission_still_know_their_allocation(
    submit: Callable[..., Submitted],
) -> None:
    array = submit("exit 0", replace(PROFILE, extra=(("export", "NONE"),)), name="none")
    array.cluster.wait_for(array.task, "COMPLETED")
    assert array.said()[0].startswith("task none_0 0 n")


def test_an_array_waits_for_exactly_the_tasks_it_names(cluster: Cluster, tmp_path: Path) -> None:
    def text(name: str, count: int, code: str, after: tuple[str, ...] = ()) -> str:
        command = ("/bin/sh", "-c", code)
        log = tmp_path / f"{name}_%a.log"
        return batch_file(
            PROFILE, name=name, log=log, num_tasks=count, command=command, directory=Path("/tmp"), after=after
        )

    parents = int(cluster.run("sbatch", "--parsable", stdin=text("p", 2, 'exit "$SLURM_ARRAY_TASK_ID"')))
    good = int(cluster.run("sbatch", "--parsable", stdin=text("g", 1, "exit 0", (f"{parents}_0",))))
    bad = int(cluster.run("sbatch", "--parsable", stdin=text("b", 1, "exit 0", (f"{parents}_0", f"{parents}_1"))))
    assert cluster.wait_for(f"{good}_0", "COMPLETED") == "COMPLETED"
    assert cluster.wait_for(bad, "CANCELLED") == "CANCELLED"  # --kill-on-invalid-dep: nothing stays in the queue


@pytest.fixture(scope="session")
def large(real_slurm: None) -> Iterator[Cluster]:
    """Nodes as the shipped profiles ask for, presented by a smaller machine: nothing runs on them."""
    with temporary(Settings(slots=64, memory_mb=128_000, gpus=4, accounting=False)) as cluster:
        yield cluster


def test_slurm_takes_every_profile_shipped(large: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in large.environment.items():
        monkeypatch.setenv(variable, value)
    files = [load_profiles(name) for name in example_names()]
    for profile in [each for file in files for each in (file.default, *file.work.values(), *file.kind.values())]:
        text = batch_file(
            profile, name="a", log=Path("/tmp/a_%a.log"), num_tasks=2, command=("true",), directory=Path("/tmp")
        )
        tested = batch.ask_sbatch(text)
        assert tested.accepted, (profile.place, tested.words)
        assert "to start at" in tested.words


def test_slurm_says_in_its_own_words_what_it_refuses(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in cluster.environment.items():
        monkeypatch.setenv(variable, value)
    text = batch_file(
        replace(PROFILE, partition="nowhere"),
        name="a",
        log=Path("/tmp/a_%a.log"),
        num_tasks=1,
        command=("true",),
        directory=Path("/tmp"),
    )
    tested = batch.ask_sbatch(text)
    assert tested.accepted is False
    assert "invalid partition" in tested.words
