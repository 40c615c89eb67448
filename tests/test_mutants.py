"""The list of planted faults fits today's source, and the runner tells what was noticed and what not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mutants
import pytest
from mutants import Fault, FaultyList, Outcome, misfits, parse_faults, planted, report

ENTRY = """
[[fault]]
name = "{name}"
what = "what goes wrong"
file = "source.py"
before = "a + b"
after = "a - b"
tests = ["test_source.py::test_sum"]
"""
SOURCE = "def add(a, b):\n    return a + b\n\n\ndef twice(a):\n    return 2 * a\n"
TEST = (
    "from source import add, twice\n\n\ndef test_sum():\n    assert add(2, 2) == 4\n\n\n"
    "def test_zero():\n    assert add(3, 0) == 3\n"
)
TESTS = ("test_source.py::test_sum", "test_source.py::test_zero")
FAULT = Fault(
    name="minus",
    what="what goes wrong",
    file="source.py",
    before="a + b",
    after="a - b",
    tests=TESTS[:1],
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "source.py").write_text(SOURCE)
    (tmp_path / "test_source.py").write_text(TEST)
    return tmp_path


def changed(**fields: object) -> Fault:
    return Fault(**{**vars(FAULT), **fields})


def test_every_fault_of_the_list_can_be_planted_and_has_its_tests() -> None:
    faults = parse_faults(mutants.FILE.read_text(encoding="utf-8"))
    assert len(faults) > 70
    assert misfits(faults, mutants.ROOT) == []


def test_a_list_is_read() -> None:
    assert parse_faults(ENTRY.format(name="minus")) == [FAULT]


def test_everything_wrong_with_a_list_is_told_at_once() -> None:
    text = (
        ENTRY.format(name="minus")
        + ENTRY.format(name="minus")
        + ENTRY.format(name="same").replace("a - b", "a + b")
        + '[[fault]]\nname = "half"\ncolour = "red"\n'
    )
    with pytest.raises(FaultyList) as told:
        parse_faults(text)
    assert told.value.problems == [
        "fault 2 (minus): the name is taken. Give each fault its own.",
        "fault 3 (same): before and after are the same.",
        "fault 4 (half): missing: what, file, before, tests, after; unknown: colour.",
    ]


@pytest.mark.parametrize(("text", "told"), [("= 3", "not TOML: .*line 1"), ("", "no \\[\\[fault\\]\\] in the list")])
def test_what_is_no_list_is_told(text: str, told: str) -> None:
    with pytest.raises(FaultyList, match=told):
        parse_faults(text)


def test_faults_that_do_not_fit_the_source_are_told_at_once(project: Path) -> None:
    faults = [
        FAULT,
        changed(name="gone", before="a * b"),
        changed(name="twice there", before="return"),
        changed(name="no file", file="other.py"),
        changed(name="no test", tests=("test_source.py::test_product", "test_other.py::test_sum", "test_source.py")),
    ]
    assert misfits(faults, project) == [
        "gone: 0 times in source.py, expected once: 'a * b'. The source changed: write the fault anew.",
        "twice there: 2 times in source.py, expected once: 'return'. Give more of the lines around it.",
        "no file: no file other.py.",
        "no test: no test test_source.py::test_product.",
        "no test: no test test_other.py::test_sum.",
        "no test: no test test_source.py.",
    ]


def test_a_fault_is_there_while_its_tests_run_and_gone_afterwards(project: Path) -> None:
    found: list[str] = []

    def stopped() -> None:
        with planted(FAULT, project):
            found.append((project / "source.py").read_text())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert found == [SOURCE.replace("a + b", "a - b")]
    assert (project / "source.py").read_text() == SOURCE


def by_reading(tests: Sequence[str], root: Path) -> Outcome:
    """How the tests above end, without running them."""
    is_right = "a + b" in (root / "source.py").read_text()
    return Outcome(0, "") if is_right or TESTS[0] not in tests else Outcome(1, "test_sum")


def test_killed_and_surviving_faults_are_told_apart(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "run_tests", by_reading)
    weak = changed(name="weak", tests=(TESTS[1],))
    assert report([FAULT], project) == 0
    capsys.readouterr()
    assert report([FAULT, weak], project) == 1
    assert capsys.readouterr().out.splitlines() == [
        "2 tests without a fault ..",
        "minus     0 s  killed by test_sum",
        "weak      0 s  SURVIVED (pytest: 0) ",
        "1 of 2 faults killed",
        "  weak",
    ]


def test_a_test_that_is_red_without_a_fault_ends_the_run(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "run_tests", by_reading)
    (project / "source.py").write_text(SOURCE.replace("a + b", "a - b"))
    assert report([FAULT], project) == 2
    assert "red without a fault, so that nothing can be said: test_sum" in capsys.readouterr().err


@pytest.mark.slow
def test_pytest_runs_the_named_tests_of_the_copy_alone(project: Path) -> None:
    """In a process of its own, as the program is: a fork of this one would run pytest within pytest."""
    other = project / "other"
    (other / "harness").mkdir(parents=True)
    (other / "harness" / "__init__.py").write_text("")
    (project / "test_elsewhere.py").write_text(
        f"import sys\nsys.path.insert(0, {str(other)!r})\nimport harness\n\n\ndef test_nothing():\n    pass\n"
    )
    program = f"""
from pathlib import Path
from mutants import Fault, planted, run_tests
root, tests = Path({str(project)!r}), {TESTS!r}
fault = {FAULT!r}
with planted(fault, root):
    print([run_tests(tests, root), run_tests(tests[1:], root).code])
print(run_tests(tests, root).code)
print(run_tests(["test_source.py::test_product"], root).code)
(root / "other").rename(root.parent / "elsewhere")
(root / "test_elsewhere.py").write_text((root / "test_elsewhere.py").read_text().replace(
    str(root / "other"), str(root.parent / "elsewhere")))
print(run_tests(["test_elsewhere.py"], root).code)
"""
    environment = {**os.environ, "PYTHONPATH": str(mutants.SUPPORT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == [
        "[Outcome(code=1, told='test_sum'), 0]",
        "0",
        "4",  # pytest's for no such test: nothing was noticed
        "70",
    ], done.stderr


def test_an_unknown_fault_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main(["--only", "no-such-fault"]) == 2
    assert capsys.readouterr().err == "no fault 'no-such-fault'.\n"
