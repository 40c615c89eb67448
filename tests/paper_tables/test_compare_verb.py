"""`harness compare` on studies whose predictions are written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.cli.main import main
from harness.files import folder_digest
from harness.specs import Cell
from harness.stages.predictions import answer_predictions, class_predictions, write_predictions
from harness.store.store import Store
from harness.studies.study import Study

LABELS = [1, 0, 1, 0, 1, 0, 1, 0, 1, 0]
DENSE, SPARSE = "method=dense,task=sst2", "method=prune-ofa,task=sst2,quantization=none"


def keep(store: Store, study: Study, cell: Cell, wrong: int, *, kept: bool = True) -> None:
    """The record and predictions of a cell whose first `wrong` examples are wrong."""
    stage_id = study.plan.endpoint(cell)
    stage, spec = store.stage(stage_id), study.plan.stages[stage_id]
    said = [1 - label if i < wrong else label for i, label in enumerate(LABELS)]
    stage.artifact_path.mkdir(parents=True)
    if kept and cell.task == "squad":
        scores = [(f'q"{i}', float(i >= wrong), 0.5 if i < wrong else 1.0) for i in range(len(LABELS))]
        answers = {key: f'say "{key}"\n' for key, _, _ in scores}
        write_predictions(stage.artifact_path, "squad", answer_predictions(scores, answers))
    elif kept:
        write_predictions(stage.artifact_path, cell.task, class_predictions(LABELS, said))
    files = sorted(path.relative_to(stage.artifact_path).as_posix() for path in stage.artifact_path.rglob("*.csv"))
    artifact = {"digest": folder_digest(stage.artifact_path), "bytes": 1, "files": files}
    result = {"metrics": {cell.task: {"accuracy": 1 - wrong / 10}}, "cell_sparsity": cell.sparsity}
    stage.publish_record({**spec.fingerprint_fields(), "result": result, "artifact": artifact})


@pytest.fixture
def study(store: Store, make_study: Callable[..., Study]) -> Study:
    return make_study(methods=["dense", "prune-ofa"], tasks=["sst2", "squad"], seeds=(0, 1, 2))


def keep_all(store: Store, study: Study, **changed: Any) -> None:
    for cell in study.plan.paths:
        if cell.quantization == "none":
            keep(store, study, cell, cell.seed if cell.method == "dense" else 3 + 2 * cell.seed)


def compare(store: Store, *words: str) -> int:
    return main(["compare", *words, "--store", str(store.root)])


def test_what_is_wrong_with_both_sides_is_told_at_once(
    store: Store, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(store, "method=prune-off", "seed") == 2
    told = capsys.readouterr().err
    assert "method 'prune-off' is not known" in told
    assert "SECOND 'seed': expected KEY=VALUE" in told


def test_it_prints_each_seed_and_what_all_say(store: Store, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    keep_all(store, study)
    assert compare(store, DENSE, SPARSE) == 0
    out = capsys.readouterr().out
    assert compare(store, DENSE, SPARSE) == 0
    assert capsys.readouterr().out == out  # the same bytes
    assert max(map(len, out.splitlines())) <= 100
    assert "sst2, 10 examples" in out
    # Dense is wrong on 0, 1, 2 and the sparse one on 3, 5, 7 of ten: differences 30, 40, 50.
    assert "sst2 accuracy: +40.00 points over 3 seeds, 95% interval +15.16 to +64.84: a difference." in out
    (row,) = [line.split() for line in out.splitlines() if line.split()[:2] == ["2", "accuracy"]]
    assert row[2:5] == ["80.00", "30.00", "+50.00"]
    assert "one pruning" in out


def test_as_json_it_has_every_count(store: Store, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    keep_all(store, study)
    assert compare(store, DENSE + ",seed=1", SPARSE, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (each,) = found["comparisons"]
    assert each["right"] == {"only_one": 4, "only_other": 0, "p_value": 0.125}  # 2 / 2**4
    assert (each["seed"], each["examples"], each["agreeing"]) == (1, 10, 6)
    assert found["unpaired"] == ["only tiny prune-ofa 0.85 sst2 none has seed 0, 2"]
    assert found["first"]["method"] == "dense"


def test_questions_are_compared_by_exact_match_and_f1(
    store: Store, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_all(store, study)
    words = [word.replace("sst2", "squad") for word in (DENSE, SPARSE)]
    assert compare(store, *words, "--json") == 0
    first = json.loads(capsys.readouterr().out)["comparisons"][0]
    exact, f1 = first["metrics"]
    assert (exact["metric"], exact["difference"]) == ("exact_match", pytest.approx(30.0))
    assert (f1["metric"], f1["first"], f1["second"]) == ("f1", 100.0, pytest.approx(85.0))  # three halves are lost
    assert first["right"]["only_one"] == 3


def test_a_cell_that_is_not_scored_yet_exits_4_and_the_other_seeds_are_shown(
    store: Store, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in study.plan.paths:
        if cell.task == "sst2" and cell.quantization == "none" and cell.seed == 0:
            keep(store, study, cell, 2)
    assert compare(store, DENSE, SPARSE) == 4
    done = capsys.readouterr()
    assert "which says nothing of others" in done.out
    assert done.err.count("not scored yet") == 2


def test_a_model_scored_by_an_earlier_version_exits_3_with_the_next_move(
    store: Store, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in study.plan.paths:
        keep(store, study, cell, 1, kept=cell.method == "dense")
    assert compare(store, DENSE + ",seed=0", SPARSE) == 3
    done = capsys.readouterr()
    assert "scored by a version that kept none" in done.err
    assert f"harness invalidate {study.plan.endpoint(_cell(study, 'prune-ofa'))} --store" in done.err


def _cell(study: Study, method: str) -> Cell:
    return next(
        c for c in study.plan.paths if (c.method, c.task, c.quantization, c.seed) == (method, "sst2", "none", 0)
    )


def test_records_without_their_artifacts_exit_3(store: Store, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    keep_all(store, study)
    store.stage(study.plan.endpoint(_cell(study, "dense"))).artifact_path.rename(store.root / "elsewhere")
    assert compare(store, DENSE + ",seed=0", SPARSE) == 3
    assert "are not in this store" in capsys.readouterr().err


def test_edited_predictions_are_not_believed(store: Store, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    keep_all(store, study)
    file = store.stage(study.plan.endpoint(_cell(study, "dense"))).artifact_path / "predictions" / "sst2.csv"
    file.write_text(file.read_text().replace("0,1,1", "0,1,0"))
    assert compare(store, DENSE, SPARSE) == 1
    assert "are not those that the stage's record describes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("method=dens,task=sst2", SPARSE), "did you mean 'dense'"),
        (("transfer", SPARSE), "expected KEY=VALUE,.."),
        (("method=dense", SPARSE), "differ in task (squad, sst2)"),
        (("method=prune-ofa", "method=dense,task=sst2"), "differ in task (squad, sst2)"),
        (("method=dense,task=squad", SPARSE), "one cell is of squad, the other of sst2"),
        ((DENSE, DENSE), "both sides are tiny dense sst2 none"),
        ((DENSE + ",seed=0", SPARSE + ",seed=1"), "share no seed"),
    ],
)
def test_words_that_name_no_two_cells_exit_2(
    store: Store, study: Study, capsys: pytest.CaptureFixture[str], words: Sequence[str], told: str
) -> None:
    assert compare(store, *words) == 2
    assert told.lower() in capsys.readouterr().err.lower()


def test_other_examples_are_named(
    store: Store, study: Study, make_study: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    """The study's dense cells were scored on other rows than its sparse ones."""
    from dataclasses import replace

    from harness.studies.study import write_study

    plan, renamed = study.plan, {}
    for cell, path in plan.paths.items():
        spec = plan.stages[path[-1]]
        if cell.method == "dense" and cell.task == "sst2":
            spec = replace(spec, inputs={"validation": "another"})
        plan.stages[spec.stage_id] = spec
        renamed[cell] = (*path[:-1], spec.stage_id)
    plan.paths.update(renamed)
    write_study(store, study)
    assert compare(store, DENSE, SPARSE) == 2
    err = capsys.readouterr().err
    assert err.count("scored on other examples, they differ in validation (another and sst2/validat") == 3
