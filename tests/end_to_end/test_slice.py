"""One grid on the tiny world, from `harness grid` to a table, and the rules its records and artifacts must keep."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tiny_world
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer

from harness.cli import main as cli
from harness.compression.quantization import FrozenQuantizedLinear
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import FolderData
from harness.inputs.families import BERT
from harness.inputs.models import find_models
from harness.specs import StageSpec
from harness.stages.context import Resources, Sources
from harness.stages.evaluation import load_for_scoring
from harness.store.store import Store
from harness.studies.study import Study, read_study
from harness.tasks import get_task
from harness.worker.run import run_stage

ENCODER = BERT.encoder_matrices(tiny_world.NUM_LAYERS)


class Finished(NamedTuple):
    store: Store
    study: Study
    arguments: list[str]

    def stage(self, kind: str, **parameters: Any) -> str:
        found = [
            stage_id
            for stage_id, spec in self.study.plan.stages.items()
            if spec.kind == kind and all(spec.parameters.get(k) == v for k, v in parameters.items())
        ]
        assert len(found) == 1, f"{len(found)} stages of kind {kind} with {parameters}"
        return found[0]

    def record(self, stage_id: str) -> dict[str, Any]:
        return self.store.stage(stage_id).read_record()

    def artifact(self, stage_id: str) -> Path:
        return self.store.stage(stage_id).artifact_path

    def weights(self, stage_id: str) -> dict[str, torch.Tensor]:
        return load_file(self.artifact(stage_id) / "model.safetensors")

    def records(self) -> list[dict[str, Any]]:
        return [self.record(stage_id) for stage_id in self.study.plan.stages]


@pytest.fixture(scope="module")
def finished(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("store")
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, root)
    assert cli.main(arguments) == 0
    store = Store(root)
    return Finished(store, read_study(store, tiny_world.STUDY), arguments)


def test_the_grid_has_the_presets_rows_and_shares_its_stages(finished: Finished) -> None:
    # 5 rows (dense, finetune-pruning, prune-ofa-no-kd, prune-ofa fp32 and int8) x 2 tasks; one model, one seed.
    assert len(finished.study.plan.paths) == 10
    assert finished.study.plan.counts() == {
        "dense": 2,
        "evaluation": 10,
        "task_pruning": 2,
        "corpus": 1,
        "pairs": 1,
        "teacher_preparation": 1,
        "student_pruning": 1,
        "transfer": 4,
        "quantization": 2,
    }


def test_every_cell_has_its_numbers_in_the_table(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tables", "--store", str(finished.store.root), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    # A number each: sst2 accuracy and squad EM, F1 for five rows.
    assert len(rows) == 15
    assert all(row["n"] == "1" and 0 <= float(row["value"]) <= 100 for row in rows)
    assert {(row["method"], row["transfer_kd"], row["bits"]) for row in rows} == {
        ("dense", "na", "32"),
        ("finetune-pruning", "yes", "32"),
        ("prune-ofa-no-kd", "no", "32"),
        ("prune-ofa", "yes", "32"),
        ("prune-ofa", "yes", "8"),
    }


def test_dense_learns_the_tiny_task(finished: Finished) -> None:
    dense = finished.stage("dense", task="sst2")
    (evaluation,) = [r for r in finished.records() if r["kind"] == "evaluation" and r["parents"] == {"model": dense}]
    score = evaluation["result"]["metrics"]["sst2"]
    assert score["accuracy"] >= 0.9
    assert score["accuracy"] == score["num_correct"] / score["num_examples"]


def test_every_example_and_question_is_scored_exactly_once(finished: Finished) -> None:
    for record in finished.records():
        if record["kind"] == "evaluation":
            ((task, score),) = record["result"]["metrics"].items()
            expected = {"sst2": tiny_world.SST2_VALIDATION, "squad": tiny_world.SQUAD_VALIDATION}[task]
            assert score["num_examples"] == expected  # 37 is no multiple of the batch of 16


def test_pruning_leaves_exactly_the_asked_zeros_in_every_matrix(finished: Finished) -> None:
    for stage_id in (finished.stage("student_pruning"), finished.stage("task_pruning", task="sst2")):
        weights = finished.weights(stage_id)
        zeros = {name: int((weights[f"{name}.weight"] == 0).sum()) for name in ENCODER}
        # floor(.85 * 1024) = 870 and floor(.85 * 2048) = 1740
        assert sorted(set(zeros.values())) == [870, 1740]
        assert sum(zeros.values()) == tiny_world.NUM_LAYERS * (4 * 870 + 2 * 1740)
        assert finished.record(stage_id)["result"]["sparsity"]["zeros_by_matrix"] == zeros
        assert (
            f"masked {tiny_world.MATRICES} of {tiny_world.MATRICES} encoder matrices"
            in finished.record(stage_id)["result"]["did"]
        )


@pytest.mark.oracle("O44")
@pytest.mark.parametrize("task", ["sst2", "squad"])
def test_the_zero_pattern_after_transfer_is_the_pruned_one_bit_for_bit(finished: Finished, task: str) -> None:
    pruned = finished.weights(finished.stage("student_pruning"))
    for kd_weight in (None, 0.5):  # without and with distillation
        moved = finished.weights(finished.stage("transfer", task=task, kd_weight=kd_weight))
        for name in ENCODER:
            before, after = pruned[f"{name}.weight"], moved[f"{name}.weight"]
            assert torch.equal(before == 0, after == 0), name
            assert not torch.equal(before, after), f"{name} did not train"


@pytest.mark.oracle("O34", "O44")
@pytest.mark.parametrize("task", ["sst2", "squad"])
def test_quantization_keeps_the_fp32_pattern_and_counts_the_extra_int8_zeros(finished: Finished, task: str) -> None:
    fp32 = finished.weights(finished.stage("transfer", task=task, kd_weight=0.5))
    stage_id = finished.stage("quantization", task=task)
    result = finished.record(stage_id)["result"]
    int8 = load_file(finished.artifact(stage_id) / "int8.safetensors")
    extra = 0
    for name in ENCODER:
        locked, codes = fp32[f"{name}.weight"] == 0, int8[f"{name}.codes"]
        assert codes.dtype == torch.int8
        assert bool((codes[locked] == 0).all()), f"{name}: a locked zero came back"
        assert bool((codes != 0).any()), f"{name}: everything is zero"
        extra += int((codes == 0).sum() - locked.sum())
    assert result["int8"]["extra_zeros"] == extra >= 0
    # The trained fp32 weights are gone after export; their pattern's digest stands in the record.
    assert result["sparsity"]["pattern_sha256"] == _pattern_of(finished, "transfer", task)
    assert _pattern_of(finished, "transfer", task) == _pattern_of(finished, "student_pruning", None)


def _pattern_of(finished: Finished, kind: str, task: str | None) -> str:
    parameters = {"task": task, "kd_weight": 0.5} if task else {}
    result = finished.record(finished.stage(kind, **parameters))["result"]
    return str(result["sparsity"]["pattern_sha256"])


def test_no_weight_file_holds_a_negative_zero(finished: Finished) -> None:
    for stage_id in (finished.stage("student_pruning"), finished.stage("transfer", task="sst2", kd_weight=0.5)):
        for name, tensor in finished.weights(stage_id).items():
            if name.removesuffix(".weight") in ENCODER:
                assert not bool(((tensor == 0) & torch.signbit(tensor)).any()), name


def test_the_artifact_of_every_stage_loads_with_automodel(finished: Finished) -> None:
    with_model = [
        (stage_id, spec)
        for stage_id, spec in finished.study.plan.stages.items()
        if spec.kind not in ("corpus", "pairs", "evaluation")
    ]
    assert len(with_model) == 12
    for stage_id, spec in with_model:
        folder = finished.artifact(stage_id)
        assert AutoModel.from_pretrained(folder).config.num_hidden_layers == tiny_world.NUM_LAYERS
        assert AutoTokenizer.from_pretrained(folder).vocab_size == len(tiny_world.WORDS) + 5
        loader = {
            "sst2": AutoModelForSequenceClassification,
            "squad": AutoModelForQuestionAnswering,
        }.get(spec.parameters.get("task"))
        if loader is not None:
            _, info = loader.from_pretrained(folder, output_loading_info=True)
            assert not info["missing_keys"], stage_id
            assert not info["unexpected_keys"], stage_id


def test_dequantised_weights_of_the_artifact_are_codes_times_scale(finished: Finished) -> None:
    stage_id = finished.stage("quantization", task="sst2")
    weights, int8 = finished.weights(stage_id), load_file(finished.artifact(stage_id) / "int8.safetensors")
    names = [key.removesuffix(".codes") for key in int8 if key.endswith(".codes")]
    assert len(names) == tiny_world.MATRICES + 2  # and the pooler and the classifier
    for name in names:
        expected = int8[f"{name}.codes"].float() * int8[f"{name}.weight_scale"]
        assert torch.equal(weights[f"{name}.weight"], expected), name


def test_an_int8_cell_is_scored_from_its_integers_not_from_fp32(finished: Finished) -> None:
    """What the evaluation stage loads: its logits differ from fp32's and equal the integer path (exact in float64)."""
    folder = finished.artifact(finished.stage("quantization", task="sst2"))
    fp32_folder = finished.artifact(finished.stage("transfer", task="sst2", kd_weight=0.5))
    sentences = ["the film was very good .", "the dish was awful .", "a very cold walk"]
    inputs = AutoTokenizer.from_pretrained(folder)(sentences, padding=True, return_tensors="pt")

    def loaded(path: Path, arithmetic: str) -> Any:
        parameters = {"attention": "sdpa", "arithmetic": arithmetic}
        model, _ = load_for_scoring(path, get_task("sst2"), parameters)
        return model

    def logits(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model(**inputs).logits.double()

    scored = loaded(folder, "int8")
    frozen = [module for module in scored.modules() if isinstance(module, FrozenQuantizedLinear)]
    assert len(frozen) == tiny_world.MATRICES + 2
    assert not any(isinstance(module, torch.nn.Linear) for module in scored.modules())

    integer = loaded(folder, "int8").double()
    for module in integer.modules():
        if isinstance(module, FrozenQuantizedLinear):
            module.arithmetic = "integer"
    exact = logits(integer)
    assert torch.allclose(logits(loaded(folder, "int8").double()), exact, rtol=0, atol=1e-9)
    # In fp32 a rounding may move a code by one; that is little beside what quantization itself does.
    distance = (logits(scored) - exact).abs().max()
    for other in (loaded(fp32_folder, "fp32"), loaded(folder, "fp32")):  # before QAT; int8 weights, fp32 activations
        assert (logits(other) - exact).abs().max() > 10 * distance
        assert not torch.allclose(logits(other), logits(scored), atol=1e-4)


def test_the_record_of_an_int8_cell_says_how_it_was_scored(finished: Finished) -> None:
    quantised = finished.stage("quantization", task="sst2")
    (record,) = [r for r in finished.records() if r["kind"] == "evaluation" and r["parents"] == {"model": quantised}]
    assert record["parameters"]["arithmetic"] == "int8"
    assert record["result"]["did"] == [
        "loaded 14 Linear modules from int8.safetensors: int8 codes, frozen scales, stored activation ranges"
    ]
    pruned = finished.record(finished.stage("student_pruning"))["result"]["sparsity"]
    assert record["result"]["cell_sparsity"] == pruned["encoder"]  # the locked fp32 pattern's, not that of the codes


def test_training_records_say_what_was_done(finished: Finished) -> None:
    trained = [record for record in finished.records() if "training" in record["result"]]
    assert len(trained) == 12
    for record in trained:
        training = record["result"]["training"]
        assert len(training["loss_curve"]) >= 5
        assert training["loss_curve"][-1]["step"] == training["steps"]
        assert np.isfinite([point["loss"] for point in training["loss_curve"]]).all()
        assert training["tokens_seen"] > 0
        assert training["threads"] == 1
        assert record["result"]["sparsity"]["encoder_numel"] == tiny_world.ENCODER_WEIGHTS
        assert record["provenance"]["versions"]["torch"] == torch.__version__


def test_teacher_preparation_records_masked_lm_accuracy_before_pruning(finished: Finished) -> None:
    metrics = finished.record(finished.stage("teacher_preparation"))["result"]["metrics"]
    assert metrics["mlm_positions"] > 20
    assert metrics["mlm_accuracy"] == metrics["mlm_correct"] / metrics["mlm_positions"]
    assert metrics["mlm_accuracy"] > 1 / len(tiny_world.WORDS)  # above chance
    assert (
        finished.record(finished.stage("student_pruning"))["result"]["metrics"]["mlm_positions"]
        == metrics["mlm_positions"]
    )  # the same held-out masks


def test_records_name_their_parents_by_digest(finished: Finished) -> None:
    for record in finished.records():
        for role, parent in record["parents"].items():
            assert record["parent_digests"][role] == finished.record(parent)["digest"]


def test_the_metrics_of_every_evaluation_follow_from_its_predictions(finished: Finished) -> None:
    evaluations = [record for record in finished.records() if record["kind"] == "evaluation"]
    for record in evaluations:
        for name, metrics in record["result"]["metrics"].items():
            file = finished.artifact(record["stage_id"]) / "predictions" / f"{name}.csv"
            assert record["artifact"]["files"] == [f"predictions/{name}.csv"]
            with file.open(encoding="utf-8", newline="") as text:
                rows = list(csv.DictReader(text))
            assert len(rows) == metrics["num_examples"]
            if name == "squad":
                exact, f1 = (100 * sum(float(row[c]) for row in rows) / len(rows) for c in ("exact_match", "f1"))
                assert (exact, f1) == (metrics["exact_match"], metrics["f1"])
            else:
                right = sum(row["label"] == row["prediction"] for row in rows)
                assert right / len(rows) == metrics["accuracy"]
    assert len(evaluations) == 10


@pytest.mark.parametrize("task", ["sst2", "squad"])
def test_two_models_are_compared_by_what_they_said(
    finished: Finished, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    words = (f"method=dense,task={task}", f"method=prune-ofa,task={task},quantization=none")
    assert cli.main(["compare", *words, "--store", str(finished.store.root), "--json"]) == 0
    (each,) = json.loads(capsys.readouterr().out)["comparisons"]
    ends = [
        finished.record(finished.study.plan.endpoint(cell))["result"]["metrics"][task]
        for method in ("dense", "prune-ofa")
        for cell in finished.study.plan.paths
        if (cell.method, cell.task, cell.quantization) == (method, task, "none")
    ]
    for metric in each["metrics"]:
        scale = 1 if task == "squad" else 100
        assert [metric["first"], metric["second"]] == pytest.approx([scale * end[metric["metric"]] for end in ends])
    counts = [end["num_exact" if task == "squad" else "num_correct"] for end in ends]
    assert each["right"]["only_one"] - each["right"]["only_other"] == counts[0] - counts[1]


def test_a_scored_again_stage_keeps_the_same_predictions(finished: Finished, tiny: Any, tmp_path: Path) -> None:
    """Byte for byte: the artifact's digest is over them."""
    (spec, *_) = [s for s in finished.study.plan.stages.values() if s.kind == "evaluation"]
    assert _artifact_made_again(finished, tiny, tmp_path, spec) == finished.record(spec.stage_id)["artifact"]


def _artifact_made_again(finished: Finished, tiny: Any, folder: Path, spec: StageSpec) -> Any:
    """What the record of another run of the stage, in a store of its own, says of its artifact."""
    again = Store(folder)
    for parent in spec.parents.values():
        again.stage(parent).record_path.parent.mkdir(parents=True, exist_ok=True)
        again.stage(parent).record_path.write_bytes(finished.store.stage(parent).record_path.read_bytes())
        again.stage(parent).artifact_path.parent.mkdir(parents=True, exist_ok=True)
        again.stage(parent).artifact_path.symlink_to(finished.artifact(parent))
    models = find_models([("tiny", tiny.model)], ContentHashes()).models
    run_stage(spec, again, Sources(models=models, data=FolderData(tiny.data)), Resources(), lambda: False)
    return again.stage(spec.stage_id).read_record()["artifact"]


def test_the_same_stage_again_makes_the_same_artifact(finished: Finished, tiny: Any, tmp_path: Path) -> None:
    spec = finished.study.plan.stages[finished.stage("task_pruning", task="sst2")]
    assert _artifact_made_again(finished, tiny, tmp_path, spec) == finished.record(spec.stage_id)["artifact"]


def test_the_same_grid_again_starts_nothing(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    def files() -> dict[str, int]:
        found = [p for name in ("records", "attempts", "artifacts") for p in (finished.store.root / name).rglob("*")]
        return {str(path): path.stat().st_mtime_ns for path in found}

    before = files()
    assert cli.main(finished.arguments) == 0
    assert files() == before
    assert "0 to run" in capsys.readouterr().out


def test_status_and_the_dry_run_agree_that_all_is_done(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--store", str(finished.store.root), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["cells"] == {"total": 10, "done": 10}
    assert cli.main([*finished.arguments, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["counts"]["to_run"] == 0
    assert {stage["state"] for stage in plan["stages"]} == {"done"}


def test_a_change_downstream_reuses_everything_upstream(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    changed = [
        *finished.arguments,
        "--study",
        "other",
        "--set",
        "quantization.learning_rate=0.0005",
        "--dry-run",
        "--json",
    ]
    assert cli.main(changed) == 0
    plan = json.loads(capsys.readouterr().out)
    waiting = [stage["kind"] for stage in plan["stages"] if stage["state"] != "done"]
    assert sorted(waiting) == ["evaluation", "evaluation", "quantization", "quantization"]
