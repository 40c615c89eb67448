"""The slice of train by which settings were chosen: nothing of it is trained on, and nothing is lost."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from pages import commands, pieces

SCRIPT = Path(__file__).resolve().parents[2] / "results" / "reduced" / "choices" / "slice_of_train.py"
PAGE = "results/reduced/choices/learning-rates.md"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slice_of_train", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_of_one_text_stay_together_and_every_row_is_on_one_side(script: ModuleType) -> None:
    rows = pd.DataFrame({"premise": [f"text {i // 3}" for i in range(6000)], "idx": range(6000)})
    rest, chosen = script.cut(rows, "premise")
    assert sorted([*rest.idx, *chosen.idx]) == list(range(6000))
    assert not set(rest.premise) & set(chosen.premise)
    assert len(chosen) == 1002  # whole groups of three, until there are a thousand
    again_rest, again = script.cut(rows, "premise")
    assert again.equals(chosen)
    assert again_rest.equals(rest)
    assert chosen.idx.max() > 2000  # drawn from all rows, not the first thousand


def test_all_tasks_are_cut_and_the_corpus_is_the_same(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command of learning-rates.md."""
    (line,) = (piece.text for piece in pieces(PAGE) if piece.text.startswith("python "))
    ((_, *words),) = commands(line)
    assert SCRIPT.parents[3] / words[0] == SCRIPT
    data, out = (tmp_path / word for word in words[1:])
    for task, column in script.COLUMNS.items():
        (data / task).mkdir(parents=True)
        pd.DataFrame({column: [f"{task} {i}" for i in range(1500)]}).to_parquet(data / task / "train.parquet")
    (data / "corpus").mkdir()
    (data / "corpus" / "train.parquet").write_bytes(b"articles")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(SCRIPT), run_name="__main__")
    for task, column in script.COLUMNS.items():
        split = "validation_matched" if task == "mnli" else "validation"
        rest = pd.read_parquet(out / task / "train.parquet")
        chosen = pd.read_parquet(out / task / f"{split}.parquet")
        assert (len(rest), len(chosen)) == (500, 1000)
        assert set(rest[column]) | set(chosen[column]) == {f"{task} {i}" for i in range(1500)}
    assert (out / "corpus" / "train.parquet").read_bytes() == b"articles"
