import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import harness
from harness.cli.main import main
from harness.errors import StoreError
from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import Study, merged, read_study, write_study
from harness.studies.verification import verified_records
from paper_tables.numbers.collect import collect_scores
from paper_tables.numbers.score import Score

Make = Callable[..., Study]
Publish = Callable[..., None]
SLICE = Path(__file__).parents[1] / "support" / "presets" / "slice.toml"
SPLITS = ("corpus/train", "corpus/validation", "sst2/train", "sst2/validation")
MNLI_SETTINGS = [f"task.mnli.{key}" for key in ("max_length=128", "train_examples=9", "train_subset_seed=0")]


def values(scores: list[Score]) -> dict[tuple[str, str], float | None]:
    return {(score.task, score.metric): score.value for score in scores}


def test_shares_become_percent_and_squads_percentages_stay(store: Store, make_study: Make, publish: Publish) -> None:
    study = make_study(methods=["dense"])
    publish(study, {"sst2": {"accuracy": 0.875, "correct": 763, "examples": 872}}, task="sst2", zeros=0.0)
    publish(study, {"squad": {"exact_match": 0.75, "f1": 81.5, "questions": 2000}}, task="squad", zeros=0.0)
    # An exact match of 0.75 is three quarters of one percent, not 75 %.
    assert values(collect_scores(study, verified_records(study.plan, store))) == {
        ("sst2", "accuracy"): 87.5,
        ("squad", "exact_match"): 0.75,
        ("squad", "f1"): 81.5,
    }


def test_a_score_carries_what_its_cell_is_and_where_it_comes_from(
    store: Store, make_study: Make, publish: Publish
) -> None:
    study = make_study(tasks=["sst2"], seeds=(3,), pruning_seeds=(7,))
    publish(study, {"sst2": {"accuracy": 0.9}}, zeros=0.8497)
    found = {(score.method, score.bits): score for score in collect_scores(study, verified_records(study.plan, store))}
    assert len(found) == 5
    ends = {(c.method, 8 if c.quantization == "int8" else 32): study.plan.endpoint(c) for c in study.plan.paths}
    assert {key: score.stage_id for key, score in found.items()} == ends
    assert {key: (score.sparsity, score.transfer_kd, score.pruning_seed) for key, score in found.items()} == {
        ("dense", 32): (0.0, "na", None),
        ("finetune-pruning", 32): (0.85, "yes", None),
        ("prune-ofa-no-kd", 32): (0.85, "no", 7),
        ("prune-ofa", 32): (0.85, "yes", 7),
        ("prune-ofa", 8): (0.85, "yes", 7),
    }
    for score in found.values():
        assert (score.study, score.model, score.task, score.seed) == ("mine", "tiny", "sst2", 3)
        assert (score.value, score.measured_sparsity) == (90.0, 0.8497)


def test_a_cell_without_a_record_is_missing_in_every_metric(store: Store, make_study: Make, publish: Publish) -> None:
    study = make_study(methods=["dense"], seeds=(0, 1))
    publish(study, {"squad": {"exact_match": 70.0, "f1": 80.0}}, task="squad", seed=1)
    scores = collect_scores(study, verified_records(study.plan, store))
    assert [(score.task, score.seed, score.metric, score.value) for score in scores] == [
        ("sst2", 0, "accuracy", None),
        ("sst2", 1, "accuracy", None),
        ("squad", 0, "exact_match", None),
        ("squad", 0, "f1", None),
        ("squad", 1, "exact_match", 70.0),
        ("squad", 1, "f1", 80.0),
    ]
    assert all(score.measured_sparsity is None for score in scores if score.value is None)


def test_a_split_that_the_data_lack_is_no_column(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path
) -> None:
    axes = {"methods": ["dense"], "tasks": ["mnli"]}
    both = make_study(*MNLI_SETTINGS, **axes)
    publish(both, {"mnli": {"accuracy": 0.25}, "mnli-mm": {"accuracy": 0.5}})
    assert values(collect_scores(both, verified_records(both.plan, store))) == {
        ("mnli", "accuracy"): 25.0,
        ("mnli-mm", "accuracy"): 50.0,
    }
    matched = make_study(*MNLI_SETTINGS, splits=("mnli/train", "mnli/validation_matched"), **axes)
    assert values(collect_scores(matched, verified_records(matched.plan, store))) == {("mnli", "accuracy"): None}


def test_an_edited_record_does_not_reach_a_table(store: Store, make_study: Make, publish: Publish) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.9}})
    path = store.stage(study.plan.endpoint(next(iter(study.plan.paths)))).record_path
    path.write_text(path.read_text().replace("0.9", "0.95"))
    with pytest.raises(StoreError, match="was changed"):
        collect_scores(study, verified_records(study.plan, store))


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        ((), {"dense": "na", "finetune-pruning": "yes", "prune-ofa-no-kd": "no", "prune-ofa": "yes"}),
        (
            ("transfer.kd_weight=0", "transfer.ce_weight=1"),
            {"dense": "na", "finetune-pruning": "yes", "prune-ofa-no-kd": "no", "prune-ofa": "no"},
        ),
        (
            ("task_pruning.kd_weight=0", "task_pruning.ce_weight=1"),
            {"dense": "na", "finetune-pruning": "no", "prune-ofa-no-kd": "no", "prune-ofa": "yes"},
        ),
    ],
)
def test_whether_a_cell_was_distilled_is_told_by_its_stages(
    store: Store, make_study: Make, assignments: tuple[str, ...], expected: dict[str, str]
) -> None:
    """Also for int8, whose quantization distils in its own right."""
    study = make_study(*assignments, tasks=["sst2"])
    scores = collect_scores(study, {})
    assert {(score.method, score.transfer_kd) for score in scores} == set(expected.items())
    frame = harness.records(store.root)
    assert dict(zip(frame["method"], frame["transfer_kd"], strict=True)) == expected


def test_what_a_method_claims_of_its_distillation_does_not_count(make_study: Make) -> None:
    study = make_study(tasks=["sst2"], methods=["prune-ofa", "prune-ofa-no-kd"])
    for name, facts in study.plan.methods.items():
        study.plan.methods[name] = replace(facts, transfer_kd={"prune-ofa": "no", "prune-ofa-no-kd": "yes"}[name])
    found = {score.method: score.transfer_kd for score in collect_scores(study, {})}
    assert found == {"prune-ofa": "yes", "prune-ofa-no-kd": "no"}


def test_an_undistilled_cell_is_dense_only_where_nothing_was_pruned(make_study: Make) -> None:
    """Also where the method claims that the question does not arise; and a dense one may claim anything."""
    study = make_study(tasks=["sst2"], methods=["dense", "prune-ofa-no-kd"])
    for name, facts in study.plan.methods.items():
        claimed = {"dense": "yes", "prune-ofa-no-kd": "na"}[name]
        study.plan.methods[name] = replace(facts, transfer_kd=claimed, package="acme")
    found = {score.method: score.transfer_kd for score in collect_scores(study, {})}
    assert found == {"dense": "na", "prune-ofa-no-kd": "no"}


def test_a_cell_without_sparsity_whose_teacher_has_no_weight_is_no_dense_one(make_study: Make) -> None:
    study = make_study("transfer.kd_weight=0", "transfer.ce_weight=1", tasks=["sst2"], methods=["prune-ofa"])
    paths = {replace(cell, sparsity=0.0): path for cell, path in study.plan.paths.items()}
    unpruned = replace(study, plan=replace(study.plan, paths=paths))
    assert {score.transfer_kd for score in collect_scores(unpruned, {})} == {"no"}


# -- the verb


def test_missing_cells_are_printed_as_missing_and_end_with_4(
    store: Store, make_study: Make, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(methods=["dense", "prune-ofa"], tasks=["sst2"])
    publish(study, {"sst2": {"accuracy": 0.9}}, method="dense", zeros=0.0)
    assert main(["tables", "--store", str(store.root)]) == 4
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| dense", "| prune-ofa"))]
    assert len(lines) == 2
    assert "90.00" in lines[0]
    assert "missing" in lines[1]
    publish(study, {"sst2": {"accuracy": 0.8}}, method="prune-ofa")
    assert main(["tables", "--store", str(store.root)]) == 0
    printed = capsys.readouterr().out
    assert "missing" not in printed
    assert "80.00" in printed


def test_a_seed_that_is_missing_is_counted_and_ends_with_4(
    store: Store, make_study: Make, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"], seeds=(0, 1))
    publish(study, {"sst2": {"accuracy": 0.9}}, seed=0)
    assert main(["tables", "--store", str(store.root)]) == 4
    assert "90.00 (1 of 2)" in capsys.readouterr().out


def test_the_json_of_a_table_leads_back_to_the_records(
    store: Store, make_study: Make, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(methods=["dense"], tasks=["sst2"], seeds=(0, 1))
    publish(study, {"sst2": {"accuracy": 0.75}}, seed=0, zeros=0.0)
    publish(study, {"sst2": {"accuracy": 0.25}}, seed=1, zeros=0.0)
    assert main(["tables", "--store", str(store.root), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["value"], row["n"], row["missing"], row["difference"]) == (50.0, 2, 0, None)
    assert [seed["stage_id"] for seed in row["seeds"]] == [study.plan.endpoint(cell) for cell in study.plan.paths]
    # 75 and 25 stand 25 from their mean: sqrt((625 + 625) / 1).
    assert row["spread"] == pytest.approx(35.3553390593)


def test_a_study_with_sparsities_that_nearly_agree_shows_them_apart(
    store: Store, make_study: Make, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an earlier version made it, which trained both; the page has a row for each."""
    sparsities = (0.85, 0.8500000001, 0.8500000000000001, 1e-300)
    cell = next(c for c in make_study(methods=["prune-ofa"], tasks=["sst2"], sparsities=[0.85]).plan.paths)
    chosen = load_preset(str(SLICE))
    found = Inputs(models={"tiny": ModelIdentity(weights="w", tokenizer="t")}, data={split: split for split in SPLITS})
    plan = plan_cells([replace(cell, sparsity=sparsity) for sparsity in sparsities], chosen.recipe, found)
    write_study(store, merged(store, "mine", chosen, plan))
    study = read_study(store, "mine")
    for number, sparsity in enumerate(sparsities):
        publish(study, {"sst2": {"accuracy": 0.5 + number / 10}}, sparsity=sparsity)
    assert main(["tables", "--store", str(store.root)]) == 0
    lines = [line.strip("| ").split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| prune")]
    assert [(line[1].strip(), line[-1].strip()) for line in lines] == [
        ("1e-300", "80.00"),
        ("0.85", "50.00"),
        ("0.8500000000000001", "70.00"),
        ("0.8500000001", "60.00"),
    ]
    assert main(["plots", "--store", str(store.root), "--out", str(tmp_path)]) == 0
    assert len(harness.records(store.root)) == 4
    assert "0.8500000001" in harness.tables(store.root)
