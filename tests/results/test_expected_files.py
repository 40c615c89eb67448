"""The committed expected files are what `harness check --write` makes of the committed records, and these pass them."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.cli.main import main

RESULTS = Path(harness.__file__).parents[1] / "results"
MOST_BYTES = 1_000_000


@pytest.mark.parametrize("name", ["quick", "reduced"])
def test_the_expected_file_comes_out_of_the_records_byte_for_byte(name: str, tmp_path: Path) -> None:
    committed, again = RESULTS / name / "expected.toml", tmp_path / "expected.toml"
    words = ["check", "--store", str(RESULTS / name), "--study", name]
    assert main([*words, "--write", "--expected", str(again)]) == 0
    assert again.read_bytes() == committed.read_bytes()
    assert main([*words, "--write", "--expected", str(again)]) == 0  # and once more, over itself
    assert again.read_bytes() == committed.read_bytes()
    assert len(committed.read_bytes()) <= MOST_BYTES


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("quick", "quick: 70 measured; 70 ok"),
        ("reduced", "reduced: 11 measured; 67 no tolerance, 11 ok"),
    ],
)
def test_the_committed_records_pass(name: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--store", str(RESULTS / name), "--study", name]) == 0
    assert capsys.readouterr().out.splitlines()[0] == first
