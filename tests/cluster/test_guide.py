"""docs/cluster.md: every command of it is run, in its order, by one shell on a real SLURM."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import guide
import pytest
from grid_world import HERE, ROOT, environment

from slurm.devcluster.cluster import Cluster
from slurm.devcluster.daemons import wait_until
from slurm.profiles import KEYS

# What the page names and the dev cluster does not have, or has under another name.
INSTEAD = {
    "login.cluster:/shared/me/runs/": "runs/",
    "/shared/": "shared/",
    "chgrp group ": "chgrp nogroup ",
    "node07": "n2",
    'partition = "cpu"': 'partition = "low"',
    "cpus = 4": "cpus = 2",
    'memory = "16G"': 'memory = "2G"',
    "--cpus-per-task=4 --mem=16G": "--cpus-per-task=2 --mem=2G",
    "--cpus-per-task=4": "--cpus-per-task=2",
}
NOT_RUN = ["harness fetch --preset paper-released --models bert-base --tasks sst2  # internet"]
# What ends with another code than 0 where all is well: cells are not done yet.
CODES = {
    "harness status --study trial": 4,
    "harness status --store /shared/group/runs --study trial": 4,
}
# After these the jobs have the time that a reader gives them.
THEN_JOBS_END = ("sbatch driver.sh",)
PATIENCE_S = 900

WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from harness.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Shell:
    """One bash that keeps its variables, in a home of its own; harness is on its PATH."""

    home: Path
    cluster: Cluster
    _bash: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        bin_folder = self.home / "bin"
        bin_folder.mkdir()
        program = bin_folder / "harness"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m harness "$@"\n')
        program.chmod(0o755)
        variables = {**environment(), **self.cluster.environment, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        variables["PATH"] = f"{bin_folder}{os.pathsep}{variables['PATH']}"
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=self.home,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """The exit code of a command, and what it printed."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f'{command}\necho "{END}$?"\n')
        self._bash.stdin.flush()
        printed = []
        for line in self._bash.stdout:
            before, end, code = line.partition(END)
            if end:
                return int(code), "".join((*printed, before))
            printed.append(line)
        raise AssertionError(f"bash ended in {command}:\n{''.join(printed)}")

    def close(self) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait(30)


END = "== ended with "
ALWAYS_REFUSED = ("torch", "transformers", "submitit")


@pytest.fixture
def shell(tmp_path: Path, cluster: Cluster) -> Iterator[Shell]:
    opened = Shell(tmp_path, cluster)
    yield opened
    opened.close()


def here(text: str) -> str:
    for theirs, ours in INSTEAD.items():
        text = text.replace(theirs, ours)
    return text


def test_the_page_explains_every_key_of_a_profile_once() -> None:
    assert sorted(guide.keys()) == sorted(KEYS)


def test_what_is_not_run_is_what_the_page_says_needs_internet() -> None:
    assert [command for command in guide.commands() if command.endswith(guide.INTERNET)] == NOT_RUN
    assert CODES.keys() <= set(guide.commands())
    everything = guide.PAGE.read_text(encoding="utf-8")
    assert all(theirs in everything for theirs in INSTEAD)


def test_every_command_of_the_page_does_what_it_says(shell: Shell, cluster: Cluster) -> None:
    for name, text in guide.files().items():
        (shell.home / name).write_text(here(text))
    said: dict[str, str] = {}
    for command in guide.commands():
        if command in NOT_RUN:
            continue
        code, printed = shell.run(here(command))
        assert code == CODES.get(command, 0), f"{command}\n{printed}"
        said[command] = said.get(command, "") + printed
        if command in THEN_JOBS_END:
            assert wait_until(lambda: not cluster.run("squeue", "--noheader").strip(), PATIENCE_S, poll_s=1.0)
    _check(said, shell)


def _check(said: dict[str, str], shell: Shell) -> None:
    """That what the page says of its commands is what they printed."""

    def of(words: str) -> str:
        (found,) = (printed for command, printed in said.items() if re.fullmatch(words, command))
        return found

    assert of("harness doctor --profile .*").count("sbatch --test-only accepts it") == 2
    dry = of(r"harness grid \$cells --study trial .* --dry-run")
    assert "on the cluster: 5 tasks in 5 arrays to submit, none queued" in dry
    assert dry.count("sbatch --test-only accepts it") == 1  # of one profile, the default
    submitted = of(r"harness grid \$cells --study trial --executor slurm --profile mine.toml")
    assert "submitted 5 tasks in 5 arrays" in submitted
    assert "nothing new to submit" in submitted
    assert "step 100 of 100" in of("harness logs student_pruning .*")
    assert "2 of 2 cells done" in of("harness status .* --watch")
    assert "prune-ofa" in of("harness tables --study trial")
    assert "#SBATCH --exclude=n2" in of(r"harness grid .* --study third .*")
    assert "transfer  " in of(r"harness grid .*--study slower .* --dry-run")
    assert "in 1 array" in of(r"harness grid .*--study slower .*mine.toml")
    many = of(r"harness grid .*--max-jobs 8 --dry-run")
    assert re.search(r"on the cluster: [1-8] tasks? in", many), many
    root = shell.home / "shared" / "group" / "runs"
    files = [path for path in root.rglob("*") if path.is_file()]
    assert {path.group() for path in files} == {"nogroup"}
    assert all(path.stat().st_mode & 0o060 == 0o060 for path in files if path.suffix != ".log"), files
    assert {path.name for path in (shell.home / "pages").iterdir()} == {
        *("trial.md", "trial.tex", "trial.csv", "trial.html", "trial-tiny-narrow.png", "trial-tiny-narrow.svg"),
        *("trial-tiny-narrow-average.png", "trial-tiny-narrow-average.svg"),
    }
    assert (shell.home / "pages" / "trial.md").read_text().strip() == of("harness tables --study trial").strip()
    code, printed = shell.run("harness status --study drivers")
    assert code == 0, printed


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (("tables", "--study", "quick"), {*ALWAYS_REFUSED, "tabulate", "matplotlib", "jinja2"}),
        (("check", "--study", "quick"), {*ALWAYS_REFUSED, "tabulate", "matplotlib", "jinja2"}),
        (("report", "--study", "quick"), {*ALWAYS_REFUSED, "matplotlib"}),
        (("plots", "--study", "quick"), {*ALWAYS_REFUSED, "tabulate", "jinja2"}),
        (("status", "--study", "quick"), {*ALWAYS_REFUSED, "numpy", "scipy", "matplotlib", "jinja2"}),
    ],
)
def test_what_a_laptop_needs_is_what_the_page_says(words: tuple[str, ...], refused: set[str], tmp_path: Path) -> None:
    program = tmp_path / "laptop.py"
    program.write_text(WITHOUT_TORCH.format(refused=sorted(refused)))
    done = subprocess.run(
        [sys.executable, str(program), *words, "--store", str(ROOT / "results" / "quick")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
