"""`harness check` from a store to an exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import harness
from harness.cli.main import main
from harness.store.store import Store
from harness.studies.study import read_study

RESULTS = Path(harness.__file__).parents[1] / "results"
Captured = pytest.CaptureFixture[str]


def check(*words: str | Path, store: Path = RESULTS / "quick", study: str = "quick") -> int:
    return main(["check", "--store", str(store), "--study", study, *map(str, words)])


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gate") / "expected.toml"
    assert check("--write", "--expected", path) == 0
    return path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The committed study with its records, in a store that may be spoilt."""
    folder = tmp_path / "runs"
    shutil.copytree(RESULTS / "quick", folder)
    return folder


def test_the_committed_study_passes_with_its_figures(expected: Path, capsys: Captured) -> None:
    assert check("--expected", expected) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "quick: 70 measured; 70 ok"
    assert max(map(len, lines)) <= 100
    assert any("detect" in line for line in lines)


def test_the_json_has_every_figure(expected: Path, capsys: Captured) -> None:
    assert check("--expected", expected, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["measured"], found["counts"], found["exit_code"]) == (70, {"ok": 70}, 0)
    assert {finding["kind"] for finding in found["findings"]} == {"zeros", "loss", "mean", "number"}
    scores = [finding for finding in found["findings"] if finding["kind"] == "number"]
    told = [finding for finding in scores if finding["detectable"] is not None]
    assert len(told) >= len(scores) - 2  # of two rows no fall would be found
    assert all(finding["detectable"] > finding["tolerance"] > 0 for finding in told)


def test_a_fall_ends_with_1_and_is_told_on_every_page(expected: Path, tmp_path: Path, capsys: Captured) -> None:
    text = expected.read_text()
    spoilt = tmp_path / "e.toml"
    spoilt.write_text(text.replace("zeros = 187998", "zeros = 187999", 1))
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    assert check("--expected", spoilt, "--junit", tmp_path / "j.xml", "--summary", summary) == 1
    assert "187998 of 221184 are zero, expected 187999 of 221184" in capsys.readouterr().out
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("failures") == "1"
    assert summary.read_text().startswith("before\n## harness check: quick\n\n**Regressed")


def test_a_bad_file_ends_with_2_and_names_each_problem_once(expected: Path, tmp_path: Path, capsys: Captured) -> None:
    spoilt = tmp_path / "e.toml"
    spoilt.write_text(expected.read_text().replace("false_alarms", "false_alarm").replace("of = 221184", "of = -1", 1))
    assert check("--expected", spoilt, "--json") == 2
    found = capsys.readouterr()
    assert found.err.count("false_alarm' is not known") == 1
    assert found.err.count("of = -1: expected a whole number, 0 or more") == 1
    assert {problem["option"] for problem in json.loads(found.out)["problems"]} == {"expected"}


def test_the_file_of_the_store_is_the_default_and_none_is_usage(copy: Path, capsys: Captured) -> None:
    (copy / "expected.toml").unlink(missing_ok=True)
    assert check(store=copy) == 2
    assert "no expected file" in capsys.readouterr().err
    assert check("--write", store=copy) == 0
    assert check(store=copy) == 0


def test_an_edited_record_ends_with_3(copy: Path, expected: Path, capsys: Captured) -> None:
    store = Store(copy)
    record = store.stage(next(iter(read_study(store, "quick").plan.stages))).record_path
    record.write_text(record.read_text().replace('"schema": 1', '"schema": 1, "x": 2'))
    assert check("--expected", expected, store=copy) == 3
    assert "nothing was checked" in capsys.readouterr().err


def test_a_store_without_a_record_measured_nothing_and_ends_with_3(
    copy: Path, expected: Path, capsys: Captured
) -> None:
    shutil.rmtree(copy / "records")
    assert check("--expected", expected, store=copy) == 3
    assert capsys.readouterr().out.startswith("quick: 0 measured; ")
    assert check("--write", "--expected", copy / "e.toml", store=copy) == 3
    assert "0 measured" in capsys.readouterr().err
    assert not (copy / "e.toml").exists()


def test_missing_cells_end_with_4(copy: Path, expected: Path, capsys: Captured) -> None:
    for record in (copy / "records").rglob("*.json"):
        if '"arithmetic": "int8"' in record.read_text():
            record.unlink()
    assert check("--expected", expected, store=copy) == 4
    out = capsys.readouterr().out
    assert out.splitlines()[1].startswith("Missing: ")
    assert check("--write", "--expected", copy / "e.toml", store=copy) == 4
    assert "left out: tiny-narrow prune-ofa 0.85 int8 sst2 acc: no seed has a result" in capsys.readouterr().err


def test_a_study_or_store_that_is_not_there_ends_with_2(expected: Path, tmp_path: Path, capsys: Captured) -> None:
    assert check("--expected", expected, study="quik") == 2
    assert check("--expected", expected, store=tmp_path / "none") == 2
    assert check("--write", "--junit", tmp_path / "j.xml") == 2
    assert "Did you mean 'quick'" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_a_usage_error(expected: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_text("")
    assert check("--expected", expected, "--junit", tmp_path / "file" / "j.xml") == 2
    assert "--junit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"sst2": {"accuracy": 1.5}}, "accuracy is 1.5, expected a number in [0, 1]"),
        ({"sst2": {"accuracy": "high"}}, "accuracy is 'high', expected a number"),
        ({"sst2": {"accuracy": None}}, "accuracy is None, expected a number"),
        ({"sst2": {}}, "it has no result.metrics.sst2.accuracy"),
        ({}, "it has no result.metrics.sst2.accuracy"),
    ],
)
def test_a_number_that_is_none_ends_with_3(
    store: Store, make_study: Any, publish: Any, expected: Path, metrics: Any, said: str, capsys: Captured
) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"], quantization=["none"], seeds=[0])
    publish(study, metrics, zeros=0.0)
    assert check("--expected", expected, store=store.root, study="mine") == 3
    problem = capsys.readouterr().err
    assert problem.startswith("error: nothing was checked: record ")
    assert said in problem


def test_another_recipe_cannot_be_checked(expected: Path, capsys: Captured) -> None:
    assert check("--expected", expected, study="quick-without-pre-training") == 3
    out = capsys.readouterr().out
    assert "not comparable" in out
    assert "The file was written from study quick." in out


def test_it_needs_no_torch(expected: Path) -> None:
    code = (
        "import sys; from harness.cli.main import main; "
        f"code = main(['check', '--store', {str(RESULTS / 'quick')!r}, '--study', 'quick', '--expected', "
        f"{str(expected)!r}]); assert code == 0; assert 'torch' not in sys.modules; assert 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_writing_again_says_what_the_file_before_it_would_have_said(
    expected: Path, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "e.toml"
    path.write_text(expected.read_text().replace("zeros = 187998", "zeros = 187999", 1))
    assert check("--write", "--expected", path) == 0
    assert "Held against the file so far: 70 measured; 1 regressed, 69 ok." in capsys.readouterr().out
    assert check("--write", "--expected", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["before"] == {"ok": 70}


def test_writing_from_a_smaller_study_names_every_entry_that_the_file_loses(
    expected: Path, tmp_path: Path, capsys: Captured
) -> None:
    """Else one wrong --study would empty a gate, and it would be green."""
    path = tmp_path / "e.toml"
    path.write_text(expected.read_text())
    assert check("--write", "--expected", path, study="quick-other-tasks") == 0
    gone = [line for line in capsys.readouterr().err.splitlines() if line.startswith("no longer in the file: ")]
    assert "no longer in the file: tiny-narrow finetune-pruning 0.85 zeros" in gone
    assert "no longer in the file: student_pruning tiny-narrow 0.85 loss" in gone
    assert "no longer in the file: tiny-narrow dense sst2 acc" in gone
    names = ("kind", "model", "method", "sparsity", "quantization", "task", "metric", "metrics")

    def entries(text: str) -> set[tuple[str, ...]]:
        read = tomllib.loads(text)
        parts = ("zeros", "losses", "means", "numbers")
        return {(part, *(str(each.get(name)) for name in names)) for part in parts for each in read[part]}

    assert len(gone) == len(entries(expected.read_text()) - entries(path.read_text())) > 60


def test_what_was_set_by_hand_is_named_when_it_stays(expected: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "e.toml"
    text = expected.read_text()
    path.write_text(text.replace('metric = "accuracy"\n', 'metric = "accuracy"\ntolerance = 99.0\n', 1))
    assert check("--write", "--expected", path) == 0
    out = capsys.readouterr().out
    assert out.count("set by hand, and kept: ") == 1
    assert check("--write", "--expected", path, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["by_hand"]) == 1


def test_seeds_that_are_all_alike_have_no_tolerance_for_the_reason_that_is_told(
    store: Store, make_study: Any, publish: Any, tmp_path: Path, capsys: Captured
) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"], quantization=["none"], seeds=[0, 1])
    publish(study, {"sst2": {"accuracy": 0.5}}, zeros=0.0)
    path = tmp_path / "e.toml"
    check("--write", "--expected", path, store=store.root, study="mine")
    assert "of seeds that are all alike, the noise is not known" in capsys.readouterr().out
