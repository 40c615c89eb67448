"""The batch file: its exact text, what sbatch and bash make of hostile values, and when its shell queues again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.errors import UsageError
from slurm import batch_file as batch
from slurm.profiles import Profile

PROFILE = Profile(name="default", file="x.toml", time_minutes=240, python="/env/bin/python")
HOSTILE = (
    "with space",
    'it\'s "quoted"',
    "$(touch x)",
    "`touch x`",
    "a;touch x",
    "a & touch x",
    "a # b",
    "#b",
    "back\\slash\\",
    "\\",
    "Ünïcödé \u2028 \u00a0 é",
    "-leading",
    "--leading=x",
    "$HOME ${IFS} ~ * ? [a] {a,b} !x",
    "a\tb",
)
WITHOUT_TAB = [text for text in HOSTILE if "\t" not in text]


def text(profile: Profile = PROFILE, command: Sequence[str] = ("/env/bin/python", "-m", "x"), **changed: Any) -> str:
    folder = Path("/store/submissions")
    given = {"name": "n", "log": folder / "n_%a.log", "num_tasks": 2, "directory": Path("/work"), **changed}
    return batch.batch_file(profile, command=command, **given)


def test_the_text_of_a_full_profile() -> None:
    """All of it: a submitit that writes something else is noticed here."""
    profile = Profile(
        name="work.training",
        file="site.toml",
        time_minutes=3120,
        signal_minutes=10,
        partition="gpu",
        account="project",
        qos="long",
        exclusive=True,
        gpus="a100:4",
        cpus=32,
        memory="0",
        constraint="a100|h100",
        exclude="n[7-8]",
        nodelist="n[1-4]",
        setup=("module purge", "module load cuda/12.8"),
        container=("apptainer", "exec", "--nv", "/images/a b.sif"),
        python="/usr/bin/python3",
        array_parallelism=3,
        wckey="key",
        comment="a grid",
        extra=(("hold", True), ("nice", 10), ("reservation", "r 1")),
    )
    made = text(
        profile,
        profile.command("-P", "-u", "-m", "slurm.job", "/store", "n"),
        num_tasks=5,
        after=["12_0", "12_3"],
    )
    head, _, tail = made.partition("\n# teardown\n")
    assert (
        head
        == """\
#!/bin/bash

# Parameters
#SBATCH --account=project
#SBATCH --array=0-4%3
#SBATCH --chdir=/work
#SBATCH --comment='a grid'
#SBATCH --constraint='a100|h100'
#SBATCH --cpus-per-task=32
#SBATCH --dependency=afterok:12_0:12_3
#SBATCH --exclude='n[7-8]'
#SBATCH --exclusive
#SBATCH --gpus-per-node=a100:4
#SBATCH --hold
#SBATCH --job-name=n
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mem=0
#SBATCH --nice=10
#SBATCH --nodelist='n[1-4]'
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/store/submissions/n_%a.log
#SBATCH --partition=gpu
#SBATCH --qos=long
#SBATCH --requeue
#SBATCH --reservation='r 1'
#SBATCH --signal=USR2@600
#SBATCH --time=3120
#SBATCH --wckey=key

# setup
export HARNESS_ALLOCATION="n_${SLURM_ARRAY_TASK_ID}"
module purge
module load cuda/12.8

# command
export SUBMITIT_EXECUTOR=slurm
code=0; srun --unbuffered --export=ALL --cpus-per-task=32 apptainer exec --nv '/images/a b.sif' /usr/bin/python3 \
-P -u -m slurm.job /store n || code=$?

"""
    )
    assert tail == f"again_file=/store/submissions/n_$SLURM_ARRAY_TASK_ID.again\n{batch.AFTER_TASK}"


def test_a_stage_of_several_ranks_has_nodes_and_tasks_and_one_process_that_begins() -> None:
    """The others are started by its worker, in a step beside this one; so this one must leave them room."""
    made = text(replace(PROFILE, nodes=2, tasks=4, cpus=8), ["python"], num_tasks=1).splitlines()
    for flag in ("nodes=2", "ntasks-per-node=4", "cpus-per-task=8"):
        assert f"#SBATCH --{flag}" in made
    (command,) = (line for line in made if line.startswith("code=0; "))
    assert command.startswith(
        "code=0; srun --unbuffered --export=ALL --cpus-per-task=8 --nodes=1 --ntasks=1 --overlap python"
    )


def test_a_plain_profile_asks_for_nothing_it_does_not_say() -> None:
    flags = [line.partition("--")[2] for line in text(num_tasks=1).splitlines() if line.startswith("#SBATCH")]
    assert flags == [
        "array=0-0%1",
        "chdir=/work",
        "cpus-per-task=1",
        "job-name=n",
        "kill-on-invalid-dep=yes",
        "nodes=1",
        "ntasks-per-node=1",
        "open-mode=append",
        "output=/store/submissions/n_%a.log",
        "requeue",
        "signal=USR2@300",
        "time=240",
    ]


@pytest.mark.parametrize("key", ["memory", "memory_per_cpu", "memory_per_gpu"])
def test_each_kind_of_memory_is_one_flag(key: str) -> None:
    flag = key.replace("memory", "mem").replace("_", "-")
    made = text(replace(PROFILE, gpus=1, **{key: "8G"}))
    assert [line for line in made.splitlines() if "mem" in line] == [f"#SBATCH --{flag}=8G"]


def test_the_file_is_rendered_where_slurm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "srun --unbuffered" in text()


# What sbatch makes of it


def as_sbatch_reads(made: str, tmp_path: Path) -> dict[str, str]:
    """The flags that a real sbatch found in the file. There is no controller: it lists them before it asks for one."""
    conf = tmp_path / "slurm.conf"
    conf.write_text(
        "ClusterName=none\nSlurmctldHost=localhost\nSlurmctldPort=1\nAuthType=auth/none\nMessageTimeout=2\n"
        "NodeName=n1\nPartitionName=p Nodes=n1 Default=YES\n"
    )
    environment = {**batch.submission_environment(os.environ), "SLURM_CONF": str(conf)}
    done = subprocess.run(
        ["sbatch", "-v", "--test-only"], input=made.encode(), env=environment, capture_output=True, timeout=60
    )
    lines = [line.removeprefix("sbatch: ") for line in done.stderr.decode().split("\n")]
    found = dict(line.split(" : ", 1) for line in lines if " : " in line)
    return {name.strip(): value for name, value in found.items()}


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="needs sbatch: apt-get install slurm-client")
@pytest.mark.parametrize("hostile", WITHOUT_TAB)
def test_sbatch_reads_every_text_as_it_was_written(hostile: str, tmp_path: Path) -> None:
    profile = replace(
        PROFILE,
        partition=hostile,
        account=hostile,
        qos=hostile,
        comment=hostile,
        wckey=hostile,
        extra=(("reservation", hostile),),
    )
    directory = Path("/") / hostile
    store = directory if "\\" not in hostile else Path("/store")
    read = as_sbatch_reads(text(profile, log=store / "n_%a.log", directory=directory), tmp_path)
    for flag in ("partition", "account", "qos", "comment", "wckey", "reservation"):
        assert read[flag] == hostile
    assert read["chdir"] == str(directory)
    assert read["output"] == f"{store}/n_%a.log"
    assert (read["job-name"], read["array"], read["time"], read["signal"]) == ("n", "0-1%2", "04:00:00", "USR2@300")


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="needs sbatch: apt-get install slurm-client")
def test_sbatch_reads_a_dependency_on_a_thousand_tasks(tmp_path: Path) -> None:
    after = [f"12345678_{index}" for index in range(1000)]
    assert as_sbatch_reads(text(after=after), tmp_path)["dependency"] == f"afterok:{':'.join(after)}"


# What bash makes of it


class Shell(NamedTuple):
    code: int
    calls: list[list[str]]
    err: str


STUB = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]), file=calls)
if sys.argv[0].endswith("srun"):
    with open(os.environ["CALLS"] + ".env", "w") as file:
        json.dump(dict(os.environ), file)
    sys.exit(int(os.environ["TASK_ENDS_WITH"]))
if sys.argv[0].endswith("squeue"):
    print(os.environ.get("EXCLUDED", ""))
if "requeue" in sys.argv:
    tries = sum('"requeue"' in line for line in open(os.environ["CALLS"]))
    sys.exit(int(tries <= int(os.environ.get("REFUSALS", "0"))))
"""


def run(made: str, folder: Path, ends_with: int = 0, **variables: str) -> Shell:
    """Run a batch file as slurmd does, with srun, scontrol, squeue and sleep that note how they were called."""
    stubs = folder / "stubs"
    stubs.mkdir(exist_ok=True)
    for name in ("srun", "scontrol", "squeue", "sleep"):
        (stubs / name).write_text(STUB)
        (stubs / name).chmod(0o755)
    script, calls = folder / "slurm_script", folder / "calls"
    script.write_text(made)
    calls.write_text("")
    given: Mapping[str, str] = {
        "PATH": f"{stubs}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "TASK_ENDS_WITH": str(ends_with),
        "SLURM_ARRAY_JOB_ID": "12",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURMD_NODENAME": "n7",
        **variables,
    }
    done = subprocess.run(["/bin/bash", str(script)], env=given, cwd=folder, capture_output=True, text=True, timeout=60)
    return Shell(done.returncode, [json.loads(line) for line in calls.read_text().splitlines()], done.stderr)


def test_the_task_gets_its_words_whole_and_no_shell_runs_them(tmp_path: Path) -> None:
    words = ["/bin/true", *HOSTILE, "a\nb", ""]
    profile = replace(PROFILE, partition="$(touch x)", comment="`touch x`\\", extra=(("reservation", "'; touch x"),))
    store = tmp_path / "$(touch x) `touch x`; touch x #'\""
    made = text(profile, words, log=store / "n_%a.log", directory=store)
    ran = run(made, tmp_path)
    assert ran.calls == [["srun", "--unbuffered", "--export=ALL", "--cpus-per-task=1", *words]]
    assert (ran.code, ran.err) == (0, "")
    assert not (tmp_path / "x").exists()


def test_the_task_is_told_its_allocation(tmp_path: Path) -> None:
    run(text(replace(PROFILE, setup=("export A='b c'",))), tmp_path)
    seen = json.loads((tmp_path / "calls.env").read_text())
    assert (seen["HARNESS_ALLOCATION"], seen["A"]) == ("n_3", "b c")


@pytest.mark.parametrize("setup", [(), ("set -eu", "set -o pipefail")])
@pytest.mark.parametrize(
    ("ends_with", "before", "again"),
    [
        (0, 0, False),
        (1, 0, False),
        (76, 0, False),
        (77, 0, False),
        (75, 0, True),
        (75, 7, True),  # asked to stop: whether there was progress is for the task to judge
        (137, 0, True),
        (128, 4, True),
        (137, 5, False),
        (78, 0, True),
        (78, 5, False),
        (79, 4, True),
        (79, 5, False),
    ],
)
def test_the_exit_code_decides_whether_the_task_is_queued_again(
    tmp_path: Path, setup: tuple[str, ...], ends_with: int, before: int, again: bool
) -> None:
    """before: how often this shell has queued it again for another reason than a stop."""
    counted = tmp_path / "a 'b'" / "n_3.again"
    counted.parent.mkdir()
    if before:
        counted.write_text("x" * before)
    made = text(replace(PROFILE, setup=setup), log=counted.parent / "n_%a.log")
    ran = run(made, tmp_path, ends_with, SLURM_RESTART_COUNT="9")  # for time limits and pre-emptions
    assert (ran.code, "No such file" in ran.err) == (ends_with, False)
    assert (counted.read_text() if counted.exists() else "") == "x" * (before + (again and ends_with != 75))
    assert (["scontrol", "requeue", "12_3"] in ran.calls) == again
    excluded = [call for call in ran.calls if "update" in call]
    assert excluded == ([["scontrol", "update", "JobId=12_3", "ExcNodeList=n7"]] if again and ends_with == 78 else [])


@pytest.mark.parametrize(
    ("before", "after"), [("n1,n[3-4]", "n1,n[3-4],n7"), ("(null)", "n7"), ("N/A", "n7"), ("", "n7")]
)
def test_a_bad_node_is_excluded_beside_those_that_were(tmp_path: Path, before: str, after: str) -> None:
    ran = run(text(log=tmp_path / "n_%a.log"), tmp_path, 78, EXCLUDED=before)
    assert ran.calls[-1] == ["scontrol", "update", "JobId=12_3", f"ExcNodeList={after}"]


def test_where_the_store_cannot_be_written_every_restart_counts(tmp_path: Path) -> None:
    made = text(log=tmp_path / "gone" / "n_%a.log")
    assert ["scontrol", "requeue", "12_3"] in run(made, tmp_path, 79).calls
    assert ["scontrol", "requeue", "12_3"] in run(made, tmp_path, 79, SLURM_RESTART_COUNT="4").calls
    assert ["scontrol", "requeue", "12_3"] not in run(made, tmp_path, 79, SLURM_RESTART_COUNT="5").calls


def test_a_controller_that_restarts_is_asked_again(tmp_path: Path) -> None:
    ran = run(text(), tmp_path, 75, REFUSALS="2")
    assert [call[0] for call in ran.calls] == ["srun", *("scontrol", "sleep") * 3]
    assert ran.calls[-1] == ["sleep", "60"]  # until the shell is ended: its exit would end the task
    ran = run(text(), tmp_path, 75, REFUSALS="9")
    assert [call[1] for call in ran.calls if call[0] == "scontrol"] == ["requeue"] * 5
    assert ran.code == 75


# What is refused


@pytest.mark.parametrize("name", ["100%", "%j", "back\\slash", "line\nbreak", "tab\t", "not \udce9 text"])
def test_a_store_that_slurm_cannot_name_is_refused(name: str) -> None:
    (problem,) = batch.store_problems(Path("/store") / name)
    assert repr(name)[1:-1] in problem.found
    with pytest.raises(UsageError):
        text(log=Path("/store") / name / "n_%a.log")


@pytest.mark.parametrize("name", [*(text for text in WITHOUT_TAB if "\\" not in text), "plain"])
def test_a_store_of_another_strange_name_is_taken(name: str) -> None:
    assert batch.store_problems(Path("/store") / name) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a b"},
        {"name": ""},
        {"num_tasks": 0},
        {"after": ["12"]},
        {"after": ["12_3 "]},
        {"log": Path("/store/n.log")},
        {"command": ()},
    ],
)
def test_arguments_that_name_no_array_are_a_mistake_of_ours(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no array|expected n_%a.log|log"):
        text(**wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"directory": Path("/a\nb")}, "the folder of the submission '/a\\nb' has a line break"),
        ({"command": ("a\0b",)}, "the task's command 'a\\x00b' has a line break or control character"),
        ({"command": ("a\udce9",)}, "is not UTF-8"),
    ],
)
def test_what_a_batch_file_cannot_hold_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        text(**wrong)
    assert words in str(refused.value)


# Asking sbatch


def _sbatch(folder: Path, lines: str) -> None:
    (folder / "sbatch").write_text(f"#!/bin/sh\n{lines}\n")
    (folder / "sbatch").chmod(0o755)


def test_sbatch_is_asked_and_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _sbatch(tmp_path, '[ "$*" = --test-only ] && cat >"$0.in" && echo "sbatch: Job 5 to start at noon" >&2')
    assert batch.ask_sbatch("#!/bin/bash\né\n") == batch.Answer(True, "sbatch: Job 5 to start at noon")
    assert (tmp_path / "sbatch.in").read_text() == "#!/bin/bash\né\n"
    _sbatch(tmp_path, "echo 'allocation failure: Invalid qos specification' >&2; exit 1")
    assert batch.ask_sbatch("x") == batch.Answer(False, "allocation failure: Invalid qos specification")
    _sbatch(tmp_path, "echo 'allocation failure: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    assert batch.ask_sbatch("x").accepted is None
    _sbatch(tmp_path, "exec sleep 20")
    assert batch.ask_sbatch("x", timeout_seconds=0.2) == batch.Answer(None, "sbatch did not respond within 0.2 s.")
    monkeypatch.setenv("PATH", "/nowhere")
    assert batch.ask_sbatch("x").words.startswith("sbatch is not on PATH")


def test_variables_of_a_job_that_submits_do_not_become_the_new_jobs_own() -> None:
    given = {
        "SLURM_RESTART_COUNT": "3",
        "SLURM_MEM_PER_NODE": "5",
        "HARNESS_ALLOCATION": "n_3",
        "SBATCH_SIGNAL": "INT@9",
        "SBATCH_REQUEUE": "1",
        "SQUEUE_PARTITION": "high",
        "SLURM_CONF": "/c",
        "SBATCH_ACCOUNT": "mine",
        "PATH": "/bin",
    }
    kept = {"SLURM_CONF": "/c", "SBATCH_ACCOUNT": "mine", "PATH": "/bin"}
    assert batch.submission_environment(given) == kept
