"""`harness report` from a store to a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from grid_world import ROOT
from made_reports import failed

from harness.cli.main import main
from harness.store.store import Store
from harness.studies.study import Study

Make = Callable[..., Study]
Publish = Callable[..., None]
Captured = pytest.CaptureFixture[str]


def report(store: Store, *words: str) -> int:
    return main(["report", "--store", str(store.root), *words])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_page_has_the_studys_name_and_missing_cells_end_with_4(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: Captured
) -> None:
    study = make_study(methods=["dense", "prune-ofa"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.9}}, method="dense", zeros=0.0)
    assert report(store) == 4
    assert capsys.readouterr().out == "mine-report.html\n"
    page = tmp_path / "mine-report.html"
    assert "incomplete" in page.read_text(encoding="utf-8")
    publish(study, {"sst2": {"accuracy": 0.8}}, method="prune-ofa")
    assert report(store) == 0
    assert "incomplete" not in page.read_text(encoding="utf-8")


def test_the_json_names_the_file_and_counts(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: Captured
) -> None:
    study = make_study(methods=["dense", "prune-ofa"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.9}}, method="dense", zeros=0.0)
    out = tmp_path / "new" / "page.html"
    assert report(store, "--out", str(out), "--json") == 4
    assert json.loads(capsys.readouterr().out) == {
        "study": "mine",
        "file": str(out),
        "cells": {"total": 2, "done": 1},
        "records": 1,
        "failures": 0,
        "bytes": out.stat().st_size,
    }


def test_the_same_study_gives_the_same_bytes_wherever_its_store_is(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results" / "reduced", tmp_path / "elsewhere")
    assert report(Store(ROOT / "results" / "reduced"), "--out", "one.html") == 0
    assert report(Store(tmp_path / "elsewhere"), "--out", "two.html") == 0
    one = (tmp_path / "one.html").read_bytes()
    assert one == (tmp_path / "two.html").read_bytes()
    assert str(ROOT).encode() not in one


def test_a_store_without_attempts_will_do_and_attempts_are_told_where_there_are_some(
    store: Store, make_study: Make, tmp_path: Path
) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"])
    first = next(iter(study.plan.stages))
    assert report(store) == 4
    assert 'id="failures"' not in (tmp_path / "mine-report.html").read_text(encoding="utf-8")
    stage = store.stage(first)
    number = stage.begin_attempt({"host": "n"})
    stage.end_attempt(number, {"outcome": "code", "message": failed("ValueError: <b>no</b>\nmore").message})
    assert report(store) == 4
    page = (tmp_path / "mine-report.html").read_text(encoding="utf-8")
    assert 'id="failures"' in page
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;</td>" in page


def test_an_edited_record_is_not_reported_and_an_older_page_stays(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: Captured
) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.9}}, zeros=0.0)
    (tmp_path / "mine-report.html").write_text("older")
    path = store.stage(study.plan.endpoint(next(iter(study.plan.paths)))).record_path
    path.write_text(path.read_text().replace("0.9", "0.95"))
    assert report(store) == 1
    assert "was changed" in capsys.readouterr().err
    assert (tmp_path / "mine-report.html").read_text() == "older"


def test_an_unknown_study_is_a_usage_error(store: Store, make_study: Make, capsys: Captured) -> None:
    make_study(methods=["dense"], tasks=["sst2"])
    assert report(store, "--study", "mime") == 2
    assert "Did you mean 'mine'" in capsys.readouterr().err


def test_several_studies_must_be_named(store: Store, make_study: Make, capsys: Captured) -> None:
    make_study(methods=["dense"], tasks=["sst2"])
    make_study(methods=["dense"], tasks=["sst2"], name="other")
    assert report(store) == 2
    assert "other" in capsys.readouterr().err


def test_a_folder_in_the_place_of_the_page_is_named(
    store: Store, make_study: Make, tmp_path: Path, capsys: Captured
) -> None:
    make_study(methods=["dense"], tasks=["sst2"])
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("mine")
    for out in ("taken", "file/page.html"):
        assert report(store, "--out", out) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "--out" in line
    assert list((tmp_path / "taken").iterdir()) == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
