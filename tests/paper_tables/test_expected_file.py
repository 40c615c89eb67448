"""Bad expected files: every problem once, with its line and the next move."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from noisy_tables import expected

from harness.errors import UsageError
from paper_tables.gate import toml
from paper_tables.gate.expected import OPENING, NumberKey
from paper_tables.gate.expected_file import parse, read_expected
from paper_tables.gate.expected_text import to_text

KEY = NumberKey("tiny", "prune-ofa", 0.9, "none", "sst2", "accuracy")
KEYS = [KEY, KEY._replace(task="qnli"), KEY._replace(metric=OPENING)]
TEXT = to_text(expected(KEYS, np.array([[80.0, 82.0], [70.0, 71.0], [0.5, 0.6]])))


def problems(text: str) -> list[str]:
    with pytest.raises(UsageError) as raised:
        parse(text, "e.toml")
    assert all(problem.next_move or "." in problem.found for problem in raised.value.problems)
    return [problem.message for problem in raised.value.problems]


def changed(before: str, after: str) -> list[str]:
    assert before in TEXT
    return problems(TEXT.replace(before, after, 1))


def test_the_text_is_sound_before_it_is_spoilt() -> None:
    assert len(parse(TEXT, "e.toml").numbers) == 3


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("schema = 1", "schema = 2", "schema 2: expected 1. Read it with the version"),
        ("schema = 1", "", "schema is missing: expected 1"),
        ("schema = 1", "schema = true", "schema True: expected 1"),
        ('study = "quick"', "study = 3", "study = 3: expected a text"),
        ("false_alarms = 0.01", "false_alarms = 0", "false_alarms = 0: expected a number above 0 and below 1"),
        ("between_runs = 0.5", "between_runs = -1", "between_runs = -1: expected a finite number, 0 or more"),
        ("seeds.0 = 80.0", "seeds.0 = nan", "numbers entry 1: seeds = "),
        ("seeds.0 = 80.0", "seeds.0 = 100.5", "expected at least one seed, each a number in [0, 100]"),
        ("seeds.0 = 80.0", 'seeds.0 = "80"', "expected at least one seed, each a number in [0, 100]"),
        ("seeds.0 = 0.5", "seeds.0 = inf", "each a finite number, 0 or more"),
        ('direction = "higher"', 'direction = "up"', "direction = 'up': expected 'higher' or 'equal'"),
        ('direction = "higher"', "", "direction is missing: expected a text"),
        ('direction = "higher"', 'direction = "higher"\ntolerance = -1', "tolerance = -1: expected a finite number, 0"),
        ('direction = "higher"', 'direction = "higher"\ntolerence = 1', "'tolerence' is not known: expected 'tol"),
        ('direction = "higher"', 'direction = "higher"\nzzz = 1', "'zzz' is not known: expected one of model, "),
        ("sparsity = 0.9", "sparsity = 1.5", "sparsity = 1.5: expected a number in [0, 1)"),
        ("sparsity = 0.9", "sparsity = true", "sparsity = True: expected a number in [0, 1)"),
        ('quantization = "none"', 'quantization = "int4"', "quantization = 'int4': expected 'none' or 'int8'"),
        ('task = "sst2"', "", "task is missing: expected a text"),
        ("freedom = 1.0", "", "noise and freedom do not stand together: expected both, or neither"),
        ("freedom = 1.0", "freedom = 0", "freedom = 0: expected a finite number above 0"),
        ('task = "qnli"', 'task = "sst2"', "tiny prune-ofa 0.9 sst2 acc stands twice. Remove one of them."),
        ('stage = "', 'stage = "x', "is none of the file's. Restore it from version control"),
        ('kind = "evaluation"', 'kind = "transfer"', "its settings were changed"),
        ("versions = {}", "versions = { kind = 1.5 }", "versions = {'kind': 1.5}: expected a table of whole numbers"),
        ("parents = {}", 'parents = { model = "gone" }', "its settings were changed"),
        ("[[numbers]]", "[[nambers]]", "'nambers' is not known: expected 'numbers'"),
    ],
)  # fmt: skip
def test_a_spoilt_entry_is_named_with_what_was_expected(before: str, after: str, said: str) -> None:
    found = changed(before, after)
    assert any(said in message for message in found), found
    assert all(message.startswith("e.toml") for message in found)


def test_the_line_of_an_entry_is_told() -> None:
    line = TEXT.splitlines().index("[[numbers]]") + 1
    (message,) = changed("seeds.0 = 80.0", "seeds.0 = -3")
    assert message.startswith(f"e.toml, line {line}, numbers entry 1: seeds = ")


def test_every_problem_is_told_at_once_and_once() -> None:
    text = TEXT.replace("between_runs = 0.5", "between_runs = nan").replace('direction = "higher"', "direction = 1")
    found = problems(text)
    assert len(found) == len(set(found)) == 3  # the header, and two scores


@pytest.mark.parametrize("text", [f"schema = {'9' * 5000}", f"schema = {'[' * 5000}"], ids=["digits", "deep"])
def test_what_python_cannot_read_is_no_toml(text: str) -> None:
    (message,) = problems(text)
    assert "is no TOML" in message


def test_a_truncated_file_is_told_with_the_line_where_it_ends() -> None:
    text = TEXT[: TEXT.index("seeds.1 = 82.0") + 9]
    (message,) = problems(text)
    assert "is no TOML" in message
    assert f"line {len(text.splitlines())}" in message or "end of document" in message
    assert "Restore it from version control" in message


def test_a_file_cut_between_entries_lacks_the_stages_that_the_rest_names() -> None:
    found = problems(TEXT[: TEXT.index("\n[stages.")])
    assert len(found) == 3
    assert all("is none of the file's" in message for message in found)


@pytest.mark.parametrize("text", ["", "{}", "[[[", "a = 1\n" * 3, "numbers = 3\nschema = 1", "x = " + "[" * 5000])
def test_what_is_no_expected_file_is_told_and_raises_nothing_else(text: str) -> None:
    assert problems(text)


def test_a_file_that_is_not_there_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        read_expected(tmp_path / "e.toml")
    assert "harness check --write expected" in str(raised.value)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read_expected(tmp_path / "binary.toml")
    with pytest.raises(UsageError):
        read_expected(tmp_path)


HOSTILE = ['"', "\\", "a\nb", "\x00", "\x1b[31m", "\x7f", "é😀", "a.b", "", "]]", "# x", "'''", "\ud800"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_written_as_one_line_that_reads_back(text: str) -> None:
    line = toml.line(text or "k", {"v": text, "w": [text, 1, 0.1, True]})
    assert line.count("\n") == 1
    sound = text.replace("\ud800", "?")
    (found,) = tomllib.loads(line).values()
    assert found == {"v": sound, "w": [sound, 1, 0.1, True]}
