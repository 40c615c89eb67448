from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from harness.errors import UsageError
from paper_tables.tables.table_file import (
    Column,
    load_table_file,
    load_table_files,
    parse_table_file,
    shipped_names,
    table_text,
)

SOUND = """
title = "Mine"
description = "Of mine."
columns = ["squad f1", "file_bytes"]
[[rows]]
sparsity = [0.85, 0.9]
[[rows]]
model = "bert-base"
method = "dense"
sparsity = 0
kd = "na"
bits = 32
[[rows]]
from = "published"
sparsity = 0.9
without = ["seed="]
[[footnotes]]
text = "Look here."
at = "squad f1"
method = "dense"
on = "ours"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(UsageError) as raised:
        parse_table_file(tomllib.loads(text), "mine")
    return [problem.message for problem in raised.value.problems]


def test_a_sound_file_is_read() -> None:
    found = parse_table_file(tomllib.loads(SOUND), "mine")
    assert (found.name, found.title, found.layout) == ("mine", "Mine", "lines")
    assert found.columns == (Column("squad", "f1"), Column(measure="file_bytes"))
    assert [(row.is_line, row.source) for row in found.rows] == [
        (False, "study"),
        (True, "study"),
        (False, "published"),
    ]
    (note,) = found.footnotes
    assert (note.text, note.column, note.on) == ("Look here.", Column("squad", "f1"), "ours")


def test_every_problem_is_told_at_once_with_what_was_meant() -> None:
    found = problems("""
titel = "Mine"
columns = ["squad f2", "file_bytes", "file_bytes", 3]
layout = "pair"
[[rows]]
modle = "bert-base"
sparsity = 85
kd = true
bits = 16
[[rows]]
from = "published"
method = "Prune OFAA"
[[footnotes]]
at = "squad f1"
""")
    for said in (
        "key 'titel' is not known. Did you mean 'title'?",
        "title is missing",
        "description is missing",
        "column 'squad f2' is not known. Did you mean",
        "column 'file_bytes' stands 2 times",
        "column 3: expected a text",
        'layout = \'pair\': expected "lines" or "pairs"',
        "rows 1: key 'modle' is not known. Did you mean 'model'",
        "rows 1: sparsity = 85: expected a fraction in [0, 1)",
        "rows 1: kd = True: expected",
        "rows 1: bits = 16: expected 32 or 8",
        "rows 2: method 'Prune OFAA' is not known. Did you mean",
        "footnotes 1: text is missing",
    ):
        assert sum(said in problem for problem in found) == 1, (said, found)
    assert len(found) == 13


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('title = "a"\ndescription = "b"', "rows is missing"),
        ('title = "a"\ndescription = "b"\nrows = 3', "rows = 3: expected [[rows]] tables"),
        ('title = "a"\ndescription = "b"\ncolumns = []\n[[rows]]', "columns = []: expected"),
        ('title = "a"\ndescription = "b"\n[[rows]]\nsparsity = []', "rows 1: sparsity = []: expected a value"),
        ('title = "a"\ndescription = "b"\n[[rows]]\nsparsity = nan', "rows 1: sparsity = nan: expected"),
        (f'title = "a"\ndescription = "b"\n[[rows]]\nsparsity = {10**400}', "rows 1: sparsity = 1000"),
        ('title = " "\ndescription = "b"\n[[rows]]', "title = ' ': expected a text"),
        (
            'title = "a"\ndescription = "b"\n[[rows]]\nfrom = "published"\nmethod = "Prune OFA"\nsparsity = 0.1',
            "rows 1: no published number has all of these",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    assert any(said in problem for problem in problems(text))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "digits.toml").write_text(f"title = {'9' * 5000}")  # Python reads no such number
    with pytest.raises(UsageError, match=r"digits\.toml is no TOML"):
        load_table_files([str(tmp_path / "digits.toml")])
    (tmp_path / "broken.toml").write_text("title = ")
    with pytest.raises(UsageError) as raised:
        load_table_files([str(tmp_path / "broken.toml"), str(tmp_path / "none.toml"), "tabel-1"])
    said = [problem.message for problem in raised.value.problems]
    assert len(said) == 3
    assert "is no TOML" in said[0]
    assert "No such file" in said[1]
    assert "Did you mean 'table-1'" in said[2]
    assert "FILE.toml" in said[2]


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "table-1.toml").write_text(table_text("table-1"))
    with pytest.raises(UsageError, match="2 tables are named table-1"):
        load_table_files(["table-1", str(tmp_path / "table-1.toml")])


def test_all_names_every_shipped_one() -> None:
    assert [file.name for file in load_table_files(["all", "table-1"])] == shipped_names()
    assert shipped_names() == ["table-1", "table-2", "table-3", "ablation", "compression", "peers"]
    assert all(load_table_file(name).description for name in shipped_names())
