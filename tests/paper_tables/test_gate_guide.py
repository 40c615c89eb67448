"""docs/gate.md: its workflow is YAML whose commands run, its figures are those of the committed files."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.cli.main import main

ROOT = Path(harness.__file__).parents[1]
PAGE = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")


def workflow() -> dict[str, Any]:
    import yaml

    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def steps() -> list[dict[str, Any]]:
    return list(workflow()["jobs"]["gate"]["steps"])


def test_the_workflow_has_what_a_workflow_needs() -> None:
    found = workflow()
    assert found["name"] == "gate"
    assert found[True] == ["push", "pull_request"]  # YAML 1.1 reads the key `on` as a truth value, GitHub as text
    job = found["jobs"]["gate"]
    assert job["runs-on"] == "ubuntu-latest"
    assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    assert "make environment" in [step.get("run") for step in job["steps"]]
    assert re.search(r"^environment:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_workflows_check_runs_and_writes_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the committed study in the place of a new run."""
    (command,) = [step["run"] for step in steps() if " check " in step.get("run", "")]
    shutil.copytree(ROOT / "results" / "quick", tmp_path / "runs")
    (tmp_path / "results" / "quick").mkdir(parents=True)
    shutil.copy(ROOT / "results" / "quick" / "expected.toml", tmp_path / "results" / "quick")
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(command.replace("$GITHUB_STEP_SUMMARY", "summary.md"))
    assert program == ".venv/bin/harness"
    assert main(words) == 0
    uploaded = next(step["with"]["path"] for step in steps() if "upload" in step.get("uses", ""))
    assert (tmp_path / uploaded).read_text().startswith("<?xml")
    assert (tmp_path / "summary.md").read_text().startswith("## harness check: quick")


def test_the_workflows_grid_is_one_that_can_be_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = [step["run"] for step in steps() if " grid " in step.get("run", "")]
    _, *words = shlex.split(command)
    words[words.index("--store") + 1] = str(tmp_path / "runs")
    assert main([*words, "--dry-run"]) == 0
    assert "63 cells" in capsys.readouterr().out


def test_the_commands_of_the_page_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results" / "quick", tmp_path / "results" / "quick")
    shutil.copytree(ROOT / "results" / "quick", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    (harness check .*)$", PAGE, flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command)[1:]
        assert main([*words, *([] if "--study" in words else ["--study", "quick"])]) == 0


def test_the_table_of_exit_codes_is_that_of_the_command() -> None:
    assert re.findall(r"^\| (\d) \|", PAGE, flags=re.MULTILINE) == ["0", "1", "2", "3", "4"]
