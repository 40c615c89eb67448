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
    assert capsys.readouterr().out.splitlines() == [
        str(out / f"mine-tiny{name}.{form}") for name in ("", "-average") for form in ("png", "svg")
    ]
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
    from paper_tables.figures.pictures import safe, unique_stem

    assert [safe(name) for name in ("bert-base", "a/b", "a b", "../up")] == ["bert-base", "a_b", "a_b", ".._up"]
    assert len(safe("x" * 500)) == 100
    assert unique_stem("mine-a_b", {"mine-a_b", "mine-a_b-2"}) == "mine-a_b-3"


ALL = ["accuracy", "methods", "stored", "tokens", "sparsity", "curves"]


@pytest.mark.slow
def test_every_kind_of_the_committed_study_is_drawn_from_its_records_alone(tmp_path: Path, capsys: Captured) -> None:
    quick = Store(Path(__file__).parents[2] / "results" / "quick")
    assert plots(quick, tmp_path, "--study", "quick", "--only", "all", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left_out"] == []
    assert list(dict.fromkeys(figure["kind"] for figure in told["figures"])) == ALL
    files = [file for figure in told["figures"] for file in figure["files"]]
    assert sorted(files) == sorted(map(str, tmp_path.iterdir()))
    assert len(files) == 2 * (2 + 1 + 2 + 1 + 1 + 2) + 2  # the pages beside the figures of methods and over tokens
    (curve,) = [figure for figure in told["figures"] if figure.get("label") == "student_pruning tiny-narrow 0.9 seed 0"]
    assert curve["sparsity"][-1][1] == 0.9
    maps = [figure for figure in told["figures"] if figure["kind"] == "sparsity"]
    assert [figure["sizes"] for figure in maps] == [[9216] * 4 + [18432] * 2]


def test_what_cannot_be_drawn_is_said_and_ends_with_4(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: Captured
) -> None:
    study = make_study(methods=["dense", "finetune-pruning"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.9}})
    assert plots(store, tmp_path, "--only", "stored,tokens,sparsity,curves") == 4
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.removeprefix("left out: ") for line in told.err.splitlines()] == [
        "tiny: accuracy against stored compression: not stored yet (no bytes of an artifact in the records of dense on "
        "sst2, finetune-pruning on sst2, or of dense there).",
        "accuracy against pre-training tokens: no result of a model pruned in pre-training.",
        "sparsity by layer: no record counts the zeros of a pruned model's matrices.",
        "learning curves: nothing is pruned in pre-training. Name stages with --stage WHAT.",
    ]
    assert plots(store, tmp_path) == 0


def test_methods_have_no_lines_where_nothing_stands_beside_dense(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: Captured
) -> None:
    publish(make_study(methods=["dense"], tasks=["sst2"]), {"sst2": {"accuracy": 0.9}})
    assert plots(store, tmp_path, "--only", "methods") == 4
    told = capsys.readouterr().err
    assert told == "left out: methods by their average: no average of tiny relative to dense.\n"


def test_a_stage_is_named_as_everywhere_and_one_without_losses_is_left_out(
    store: Store, make_study: Make, tmp_path: Path, capsys: Captured
) -> None:
    quick = Store(Path(__file__).parents[2] / "results" / "quick")
    what = "kind=transfer,model=tiny-narrow,task=sst2,sparsity=0.9,seed=1"
    assert plots(quick, tmp_path, "--study", "quick", "--stage", what) == 0
    png, svg = map(Path, capsys.readouterr().out.splitlines())
    assert (png.suffix, svg.suffix) == (".png", ".svg")
    assert "transfer tiny-narrow" in svg.read_text()
    make_study(methods=["dense"], tasks=["sst2"])
    assert plots(store, tmp_path, "--stage", "kind=dense") == 4
    assert "it is not finished." in capsys.readouterr().err


def test_studies_stand_beside_each_other_over_pre_training_tokens(tmp_path: Path, capsys: Captured) -> None:
    quick = Store(Path(__file__).parents[2] / "results" / "quick")
    assert plots(quick, tmp_path, "--study", "quick", "--with", "quick-other-tasks", "--json") == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert (figure["kind"], figure["axis"]) == ("tokens", "tokens")
    assert figure["notes"][1] == "Studies quick, quick-other-tasks, each relative to its own dense model."


def test_every_word_that_names_nothing_is_told_at_once(
    store: Store, make_study: Make, tmp_path: Path, capsys: Captured
) -> None:
    make_study(methods=["dense"], tasks=["sst2"])
    assert plots(store, tmp_path, "--only", "acuracy,pies", "--stage", "dense", "--with", "x") == 2
    told = capsys.readouterr().err
    assert "Did you mean 'accuracy'?" in told
    assert "kind 'pies' is not known" in told
    assert "--stage dense without its kind. Add curves to --only, or leave it out." in told
    assert "--with x without its kind. Add tokens to --only, or leave it out." in told
    for words, said in (
        (
            ["--only", ","],
            "--only is empty: name kinds of accuracy, methods, stored, speed, tokens, sparsity, curves, or all",
        ),
        (["--stage", "dens"], "Did you mean"),
        (["--with", "mime"], "Did you mean 'mine'"),
    ):
        assert plots(store, tmp_path, *words) == 2
        assert said in capsys.readouterr().err


def test_more_curves_than_anybody_looks_at_are_refused(tmp_path: Path, capsys: Captured) -> None:
    quick = Store(Path(__file__).parents[2] / "results" / "quick")
    assert plots(quick, tmp_path / "figures", "--study", "quick", "--stage", "dense") == 2
    assert "--stage dense matches 15 stages, expected at most 12. Add words:" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()
