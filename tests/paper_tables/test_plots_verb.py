"""`harness plots` from a store to files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.store.store import Store
from harness.studies.study import Study

Make = Callable[..., Study]
Publish = Callable[..., None]
Captured = pytest.CaptureFixture[str]


def plots(store: Store, out: Path, *words: str) -> int:
    return main(["plots", "--store", str(store.root), "--out", str(out), *words])


def test_pictures_are_written_where_asked_and_missing_cells_end_with_4(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: Captured
) -> None:
    study = make_study(methods=["dense", "prune-ofa"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.9}}, method="dense", zeros=0.0)
    out = tmp_path / "new" / "figures"
    assert plots(store, out) == 4
    expected = [str(out / "mine-tiny.png"), str(out / "mine-tiny.svg")]
    assert capsys.readouterr().out.splitlines() == expected
    assert sorted(map(str, out.iterdir())) == expected
    assert "1 of 2 cells missing" in (out / "mine-tiny.svg").read_text()
    publish(study, {"sst2": {"accuracy": 0.8}}, method="prune-ofa")
    assert plots(store, out) == 0
    assert "no cell of 2 missing" in (out / "mine-tiny.svg").read_text()


def test_the_json_names_the_files_and_leads_back_to_the_records(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: Captured
) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.75}}, zeros=0.0)
    assert plots(store, tmp_path, "--json") == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert figure["files"] == [str(tmp_path / "mine-tiny.png"), str(tmp_path / "mine-tiny.svg")]
    (point,) = figure["panels"][0]["points"]
    assert (point["value"], point["compression"], point["from_paper"]) == (75.0, 1.0, False)
    assert point["stage_ids"] == [study.plan.endpoint(cell) for cell in study.plan.paths]


def test_an_unknown_study_is_a_usage_error(store: Store, make_study: Make, tmp_path: Path, capsys: Captured) -> None:
    make_study(methods=["dense"], tasks=["sst2"])
    assert plots(store, tmp_path, "--study", "mime") == 2
    assert "Did you mean 'mine'" in capsys.readouterr().err


def test_an_edited_record_is_not_drawn(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: Captured
) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.9}}, zeros=0.0)
    path = store.stage(study.plan.endpoint(next(iter(study.plan.paths)))).record_path
    path.write_text(path.read_text().replace("0.9", "0.95"))
    assert plots(store, tmp_path / "figures") == 1
    assert "was changed" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("below", [False, True], ids=["a file", "below a file"])
def test_a_file_in_the_place_of_the_folder_is_named(
    store: Store, make_study: Make, tmp_path: Path, capsys: Captured, below: bool
) -> None:
    make_study(methods=["dense"], tasks=["sst2"])
    (tmp_path / "taken").write_text("mine")
    out = tmp_path / "taken" / "figures" if below else tmp_path / "taken"
    assert plots(store, out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {out} cannot be written (")
    assert line.endswith("Name a folder for the pictures with --out DIR.")
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(store: Store, make_study: Make, tmp_path: Path, capsys: Captured) -> None:
    make_study(methods=["dense"], tasks=["sst2"])
    out = tmp_path / "locked"
    out.mkdir(mode=0o555)
    assert plots(store, out) == 2
    assert f"error: {out / 'mine-tiny.png'} cannot be written (Permission denied)" in capsys.readouterr().err


def test_a_folder_in_the_place_of_a_picture_is_named(
    store: Store, make_study: Make, tmp_path: Path, capsys: Captured
) -> None:
    make_study(methods=["dense"], tasks=["sst2"])
    (tmp_path / "mine-tiny.png").mkdir()
    assert plots(store, tmp_path) == 2
    assert f"error: {tmp_path / 'mine-tiny.png'} cannot be written (" in capsys.readouterr().err


def test_models_with_names_no_file_can_have_get_files_of_their_own() -> None:
    from harness.cli.commands.plots import _stems

    assert _stems("mine", ["bert-base", "a/b", "a b", "../up"]) == {
        "bert-base": "mine-bert-base",
        "a/b": "mine-a_b",
        "a b": "mine-a_b-2",
        "../up": "mine-.._up",
    }
