"""Profiles: which table counts, the times SLURM reads, and every mistake of a file named with its table and key."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from grid_world import Ran

from harness.errors import UsageError
from harness.planning.kinds import KINDS, WORK
from slurm.profiles import KEYS, Profile, example_names, example_text, load_profiles, parse_profiles

OWNED = {**KINDS, "obert:pruning": replace(KINDS["task_pruning"], name="obert:pruning")}


def problems(text: str) -> list[str]:
    """What is said of a file, each sentence without its beginning."""
    with pytest.raises(UsageError) as refused:
        parse_profiles("site.toml", text)
    assert all(problem.option == "profile" for problem in refused.value.problems)
    return [str(problem).removeprefix("site.toml: ") for problem in refused.value.problems]


def default(lines: str) -> Profile:
    time = "" if "time =" in lines else "time = 60\n"
    return parse_profiles("site.toml", f"[default]\n{time}{lines}").default


def test_kind_counts_before_work_and_work_before_default() -> None:
    text = """
        [default]
        time = 60
        partition = "cpu"
        qos = "low"
        [work.training]
        partition = "gpu"
        gpus = 1
        [kind.transfer]
        gpus = 2
        [kind."obert:pruning"]
        partition = "big"
    """
    profiles = parse_profiles("site.toml", text, OWNED)
    transfer = profiles.for_stage("transfer", "training")
    assert (transfer.name, transfer.partition, transfer.gpus, transfer.qos) == ("kind.transfer", "gpu", 2, "low")
    dense = profiles.for_stage("dense", "training")
    assert (dense.name, dense.partition, dense.gpus) == ("work.training", "gpu", 1)
    owned = profiles.for_stage("obert:pruning", "training")
    assert (owned.name, owned.partition, owned.gpus) == ('kind."obert:pruning"', "big", 1)
    for other in (profiles.for_stage("evaluation", "scoring"), profiles.for_stage("unheard", None)):
        assert (other.name, other.partition, other.gpus) == ("default", "cpu", 0)
    assert transfer.place == "[kind.transfer] of site.toml"


def test_a_narrower_table_takes_away_what_a_wider_one_gives() -> None:
    text = """
        [default]
        time = 60
        constraint = "a100"
        memory = "8G"
        setup = ["module load cuda"]
        [default.extra]
        nice = 5
        reservation = "r"
        [work.data]
        constraint = ""
        memory_per_cpu = "1G"
        setup = []
        [work.data.extra]
        nice = false
    """
    profiles = parse_profiles("site.toml", text)
    data = profiles.for_stage("pairs", "data")
    assert (data.constraint, data.memory, data.memory_per_cpu, data.setup) == (None, None, "1G", ())
    assert data.extra == (("reservation", "r"),)
    assert profiles.default.extra == (("nice", 5), ("reservation", "r"))


@pytest.mark.parametrize(
    ("written", "minutes"),  # as sbatch 22.05 shows them
    [
        ("90", 90),
        ('"90"', 90),
        ('"3:10"', 4),
        ('"1:02:03"', 63),
        ('"100:00:00"', 6000),
        ('"2-04"', 3120),
        ('"2-04:00"', 3120),
        ('"2-04:00:00"', 3120),
        ('"3-01:02:03"', 4383),
        ("04:00:00", 240),  # TOML's own time of day
    ],
)
def test_times_are_read_as_slurm_reads_them(written: str, minutes: int) -> None:
    assert default(f"time = {written}\nsignal_minutes = 1").time_minutes == minutes


@pytest.mark.parametrize(
    "written", ['"1-2-3"', '"90:"', '"1.5"', '""', "1.5", "true", '"1 "', "-5", '"1:2:3:4"', "[90]"]
)
def test_a_time_that_slurm_does_not_read_is_refused(written: str) -> None:
    (sentence,) = problems(f"[default]\ntime = {written}")
    assert sentence.startswith("[default] time = ")
    assert 'expected minutes, or "hours:minutes:seconds"' in sentence


@pytest.mark.parametrize("written", ["0", '"UNLIMITED"', '"infinite"', '"-1"'])
def test_a_job_has_a_limit(written: str) -> None:
    (sentence,) = problems(f"[default]\ntime = {written}")
    assert "expected minutes" in sentence


def test_a_limit_leaves_time_to_save() -> None:
    (sentence,) = problems("[default]\ntime = 60\n[kind.transfer]\ntime = 3\n[work.training]\nsignal_minutes = 10")
    assert sentence == (
        "[kind.transfer] time = 3 minutes: expected at least 12: signal_minutes = 10 ([work.training]) and 2 more. "
        "A task that is told to save too late loses its work. Raise time, or lower signal_minutes."
    )
    assert default("time = 12\nsignal_minutes = 10").time_minutes == 12
    (sentence,) = problems("[default]\ntime = 6\n[work.data]\ncpus = 1\n[kind.dense]\ncpus = 2")  # said once
    assert "[default] time = 6 minutes: expected at least 7: signal_minutes = 5 (the default)" in sentence


def test_ranks_are_nodes_times_tasks_and_for_training_alone() -> None:
    text = "[default]\ntime = 60\nstages_at_once = 4\n{}"
    trained = text.format(
        "[work.training]\nnodes = 2\ntasks = 3\nstages_at_once = 1\n[work.pretraining]\ntasks = 2\nstages_at_once = 1"
    )
    read = parse_profiles("site.toml", trained)
    assert [read.for_stage(kind, work).ranks for kind, work in (("dense", "training"), ("x", "pretraining"))] == [6, 2]
    assert read.for_stage("corpus", "data").ranks == 1
    on_four = parse_profiles("f", "[default]\ntime = 60\ngpus = 4\n[work.training]\ntasks = 4")
    assert (on_four.default.num_at_once(), on_four.work["training"].num_at_once()) == (4, 1)
    for table in ("default", "work.data", "work.scoring", "work.conversion", "kind.corpus", "kind.evaluation"):
        head = "" if table == "default" else "[default]\ntime = 60\n"
        lines = f"{head}[{table}]\n" + ("time = 60\n" if table == "default" else "")
        found = problems(f"{lines}nodes = 2\ntasks = 2")
        assert [sentence.partition(":")[0] for sentence in found] == [f"[{table}] nodes = 2", f"[{table}] tasks = 2"]
        assert all("1, since only training takes several ranks" in sentence for sentence in found)
    (sentence,) = problems(text.format("[work.training]\nnodes = 2"))
    assert sentence == "[work.training] stages_at_once = 4 with 2 ranks: expected 1: a stage takes them all."
    assert problems("[default]\ntime = 60\n[work.training]\nnodes = 0\ntasks = 1.5") == [
        "[work.training] nodes = 0: expected 1 or more.",
        "[work.training] tasks = 1.5: expected 1 or more.",
    ]


def test_every_problem_is_said_at_once_with_table_and_key() -> None:
    text = """
        partition = "x"
        [defaults]
        [default]
        tme = 5
        time = "04:00:00"
        gpus = "two"
        cpus = 0
        memory = 32
        nodes = 2
        exclusive = "yes"
        partition = ["a"]
        comment = "a\\nb"
        account = "a\\u0000b"
        setup = "module load x"
        bundles_per_task = 1.5
        [work.trainin]
        cpus = true
        [kind.transfr]
        [kind.dense]
        memory = "1G"
        memory_per_cpu = "1G"
        [kind.transfer.extra]
        partition = "x"
    """
    found = problems(text)
    for beginning in (
        "partition stands in no table: expected it under [default], [work.CLASS] or [kind.KIND]",
        "table 'defaults' is not known. Did you mean 'default'?",
        "[default]: key 'tme' is not known. Did you mean 'time'",
        '[default] gpus = \'two\': expected a number of GPUs, or "TYPE:NUMBER" as "a100:2"',
        "[default] cpus = 0: expected 1 or more",
        "[default] memory = 32: expected a whole number and its unit",
        "[default] nodes = 2: expected 1, since only training takes several ranks. Write it under [work.pre",
        "[default] exclusive = 'yes': expected true or false",
        "[default] partition = ['a']: expected a text",
        "[default] comment = 'a\\nb': expected a text, without a line break",
        "[default] account = 'a\\x00b': expected a text, without a line break",
        "[default] setup = 'module load x': expected a list of lines",
        "[default] bundles_per_task = 1.5: expected 1 or more",
        "[work.trainin]: work class 'trainin' is not known. Did you mean 'training' or 'pretraining'?",
        "[work.trainin] cpus = True: expected 1 or more",
        "[kind.transfr]: stage kind 'transfr' is not known. Did you mean 'transfer'?",
        "[kind.dense] gives memory and memory_per_cpu: expected at most one of them",
        "[kind.transfer] extra = {'partition': 'x'}: expected no partition. Write it as the key partition.",
    ):
        assert [sentence for sentence in found if sentence.startswith(beginning)], (beginning, found)
    assert len(found) == 18


def test_an_unknown_key_is_answered_with_all_known_ones() -> None:
    for key in ("zzz", "tme"):
        (sentence,) = problems(f"[default]\ntime = 60\n{key} = 1")
        assert sentence.endswith(f"Known: {', '.join(sorted(KEYS))}.")
    (sentence,) = problems("[default]\ntime = 60\n[work.zzz]")
    assert sentence.endswith(f"Known: {', '.join(sorted(WORK))}.")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("exclusive = true", "exclusive = true without cpus: expected the cores of a whole node as cpus"),
        ('memory_per_gpu = "8G"', "memory_per_gpu without gpus"),
        ('container = ["apptainer", "exec", "i.sif"]', "container without python"),
        ('container = ["-x"]\npython = "python3"', "container = ['-x']: expected a program as the first word"),
        ('python = "~/bin/python"', "python = '~/bin/python': expected a full path, or a name that PATH finds"),
        ('python = "env/bin/python"', "python = 'env/bin/python': expected a full path"),
        ('setup = ["a\\nb"]', "setup = ['a\\nb']: expected a list of lines"),
        ("extra = { nice = [1] }", "expected a text, a number or true for nice"),
        ("extra = { array = '1-9' }", "expected no array. The harness decides it."),
        ("extra = { part = 'x' }", "expected no part. sbatch may read it as partition."),
        ("extra = { 'b c' = 'x' }", "expected the long names of sbatch's flags"),
        ("extra = { p = 'x' }", "expected no p."),
        ('gpus = "a100"', "gpus = 'a100'"),
        ('memory = "1.5G"', "memory = '1.5G'"),
    ],
)
def test_what_cannot_be_asked_of_slurm_is_refused(lines: str, words: str) -> None:
    (sentence,) = problems(f"[default]\ntime = 60\n{lines}")
    assert words in sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[default", "is not TOML"),
        ("[default]\ntime = 60\nx = 1" + "0" * 5000, "is not TOML"),
        ("[default]\ntime = 0x" + "f" * 5000, "time = "),
        ("", "[default] gives no time"),
        ("default = 3", "default = 3: expected a table [default]"),
        ("work = 3\n[default]\ntime = 60", "work = 3: expected tables [work.NAME]"),
        ("[default]\ntime = 60\n[kind]\ntransfer = 1", "kind.transfer = 1: expected a table [kind.transfer]"),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, words: str) -> None:
    assert words in problems(text)[0]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[default]\n# \xe9")
    for word, words in (
        (str(tmp_path / "none.toml"), "does not exist. Correct the path, or name a shipped one: container, cpu, gpu"),
        (str(latin), "is not UTF-8 text (byte 12)"),
        (f"{tmp_path}/", "cannot be read: Is a directory"),
        ("a\0/b", "cannot be read"),
        ("gpus", "profile 'gpus' is not known. Did you mean 'gpu' or 'cpu'? Known: container, cpu, gpu, whole-node."),
    ):
        with pytest.raises(UsageError) as refused:
            load_profiles(word)
        assert words in str(refused.value)


def test_a_method_that_a_grid_does_not_name_may_have_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slurm.profiles.is_owner", lambda owner: owner == "obert")
    text = '[default]\ntime = 60\n[kind."obert:pruning"]\ngpus = 1'
    assert parse_profiles("site.toml", text).default.gpus == 0
    with pytest.raises(UsageError, match="stage kind 'obert:prunning' is not known. Did you mean 'obert:pruning'"):
        parse_profiles("site.toml", text.replace("pruning", "prunning"), OWNED)
    assert problems(text.replace("obert", "nobody"))


@pytest.mark.parametrize(
    ("lines", "threads", "expected"),
    [
        ("cpus = 8", None, 1),
        ("cpus = 8", 2, 4),
        ("cpus = 1", 4, 1),
        ("cpus = 8\ngpus = 2", 1, 2),
        ('gpus = "a100:3"', None, 3),
        ("gpus = 4\nstages_at_once = 1", 1, 1),
    ],
)
def test_stages_side_by_side(lines: str, threads: int | None, expected: int) -> None:
    assert default(lines).num_at_once(threads) == expected


def test_a_ledger_gives_back_the_profile_it_was_given() -> None:
    profile = default(
        'gpus = "a100:2"\nsetup = ["a", "b"]\nextra = { nice = 3, hold = true, x-y = 1.5 }\nmemory = "1g"'
    )
    kept = json.loads(json.dumps(profile.as_json()))
    assert Profile.from_json(kept) == profile
    assert hash(profile) == hash(Profile.from_json({**kept, "of a later version": 1}))
    assert kept["python"] == sys.executable
    for wrong in ({}, {**kept, "extra": 3}, {**kept, "setup": 3}):
        with pytest.raises(ValueError, match="no profile"):
            Profile.from_json(wrong)


@pytest.mark.parametrize("name", example_names())
def test_a_shipped_profile_is_sound_and_explains_every_key(name: str) -> None:
    profiles = load_profiles(name)
    assert profiles.default.file == f"the shipped profile {name}"
    assert set(example_names()) == {"container", "cpu", "gpu", "whole-node"}
    explained = False
    for line in example_text(name).splitlines():  # within [default]: a comment before each key or group of keys
        if line.startswith("[work"):
            break
        if line and not line.startswith(("#", "[")):
            assert explained, line
        explained = line.startswith("#") or (bool(line) and explained)


def test_the_shipped_profiles_show_every_key() -> None:
    shown = "\n".join(example_text(name) for name in example_names())
    assert not [key for key in KEYS if f"{key} = " not in shown and f".{key}]" not in shown and f"{key}." not in shown]


def test_profiles_are_read_without_submitit_and_torch() -> None:
    code = "import sys, slurm.profiles; print([n for n in ('submitit', 'torch', 'cloudpickle') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_ls_shows_the_profiles(run_harness: Callable[..., Ran], tmp_path: Path) -> None:
    assert "One GPU a task" in run_harness(["ls", "profiles"]).out
    assert run_harness(["ls", "profiles", "gpu"]).out == example_text("gpu")
    (shown,) = json.loads(run_harness(["ls", "profiles", "cpu", "--json"]).out)
    assert shown == {"name": "cpu", "text": example_text("cpu")}
    mine = tmp_path / "mine.toml"
    mine.write_text("[default]\ncpu = 3\n")
    refused = run_harness(["ls", "profiles", str(mine)])
    assert refused.code == 2
    assert f"{mine}: [default]: key 'cpu' is not known. Did you mean 'cpus'" in refused.err
    assert f"{mine}: [default] gives no time" in refused.err
