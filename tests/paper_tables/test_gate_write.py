"""From records to an expected file and back: seeds, zeros, losses, conditions; what is kept and what is left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.specs import Cell
from harness.store.store import Store
from harness.studies.study import Study
from paper_tables.gate.check import check
from paper_tables.gate.expected import OPENING, NumberKey, RowKey, StageKey
from paper_tables.gate.expected_file import parse
from paper_tables.gate.expected_text import to_text
from paper_tables.gate.measured import measured
from paper_tables.gate.verdict import Verdict
from paper_tables.gate.write import expected_of, left_out
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers

RESULTS = Path(harness.__file__).parents[1] / "results"
Make = Callable[..., Study]


@pytest.fixture(scope="module")
def quick() -> StudyNumbers:
    return read_numbers(Store(RESULTS / "quick"), "quick")


@pytest.fixture
def finish(store: Store) -> Callable[..., None]:
    """finish(study, value, **cell) writes records of the cells' evaluations and of the models they score."""

    def write(study: Study, values: Mapping[int, float], zeros: int = 90, loss: float = 0.5, **cell: object) -> None:
        plan = study.plan
        for found, path in plan.paths.items():
            if any(getattr(found, name) != value for name, value in cell.items()):
                continue
            for stage_id in path:
                if store.stage(stage_id).has_record():
                    continue
                spec = plan.stages[stage_id]
                curve = [{"step": step, "loss": loss + found.seed + step / 10} for step in (1, 2, 3)]
                result: dict[str, Any] = {
                    "sparsity": {"encoder_zeros": zeros, "encoder_numel": 100},
                    "training": {"loss_curve": curve, "tokens_seen": 1},
                    "metrics": dict.fromkeys(("mlm_accuracy", "mlm_correct", "mlm_positions"), 0),
                }
                if spec.kind == "evaluation":
                    result = {"metrics": {"sst2": {"accuracy": values[found.seed]}}, "cell_sparsity": zeros / 100}
                digests = {role: store.stage(parent).read_record()["digest"] for role, parent in spec.parents.items()}
                record = {**spec.fingerprint_fields(), "parent_digests": digests, "result": result}
                store.stage(stage_id).publish_record(record)

    return write


def test_the_committed_study_is_expected_as_it_is_and_passes_its_own_gate(quick: StudyNumbers) -> None:
    wanted = expected_of(quick)
    report = check(wanted, measured(quick))
    assert report.exit_code == 0
    assert {finding.verdict for finding in report.findings} == {Verdict.OK}
    assert (len(quick.rows), report.unlisted) == (28, 0)
    assert report.num_measured == len(wanted.zeros) + len(wanted.losses) + len(wanted.means) + len(wanted.numbers)
    assert left_out(quick) == []


def test_its_figures_are_those_of_the_records(quick: StudyNumbers) -> None:
    """Against the committed table's CSV and the recipe: 0.9 of 12 matrices of 96 x 96 and 6 of 96 x 192, floored."""
    wanted = expected_of(quick)
    table = (RESULTS / "quick" / "quick.csv").read_text().splitlines()
    row = next(line for line in table if ",tiny-narrow,dense,0.00,na,32,sst2," in line).split(",")
    number = next(
        entry
        for entry in wanted.numbers
        if entry.key == NumberKey("tiny-narrow", "dense", 0.0, "none", "sst2", "accuracy")
    )
    assert sum(number.seeds.values()) / 5 == pytest.approx(float(row[8]), abs=0.005)
    counts = {entry.key: (entry.zeros, entry.of) for entry in wanted.zeros}
    assert counts[RowKey("tiny-narrow", "prune-ofa", 0.9, "int8")] == (199_056, 221_184)
    assert len(counts) == 7
    assert {entry.key.kind for entry in wanted.losses} == {"teacher_preparation", "student_pruning"}
    assert StageKey("student_pruning", "tiny-narrow", 0.9) in {entry.key for entry in wanted.losses}


def test_a_file_reads_back_as_it_was_written_and_writes_the_same_text(quick: StudyNumbers) -> None:
    wanted = expected_of(quick)
    text = to_text(wanted)
    assert parse(text, "e.toml") == wanted
    assert to_text(parse(text, "e.toml")) == text
    assert to_text(expected_of(quick, wanted)) == text


def test_a_changed_score_is_a_change_of_one_line(quick: StudyNumbers) -> None:
    wanted = expected_of(quick)
    number = wanted.numbers[0]
    changed = replace(wanted, numbers=(replace(number, seeds={**number.seeds, "0": 12.5}), *wanted.numbers[1:]))
    before, after = to_text(wanted).splitlines(), to_text(changed).splitlines()
    assert [(a, b) for a, b in zip(before, after, strict=True) if a != b] == [
        (f"seeds.0 = {number.seeds['0']}", "seeds.0 = 12.5")
    ]


def test_what_was_set_by_hand_stays_when_the_file_is_written_again(quick: StudyNumbers) -> None:
    wanted = expected_of(quick)
    edited = replace(
        wanted,
        false_alarms=0.05,
        between_runs=0.9,
        numbers=(replace(wanted.numbers[0], tolerance=1.5), *wanted.numbers[1:]),
        means=(*wanted.means[:-1], replace(wanted.means[-1], tolerance=0.25)),
        losses=(replace(wanted.losses[0], tolerance=0.5), *wanted.losses[1:]),
    )
    assert expected_of(quick, edited) == edited


def test_seeds_losses_zeros_and_conditions_come_from_the_records(store: Store, make_study: Make, finish: Any) -> None:
    study = make_study(methods=["prune-ofa"], tasks=["sst2"], sparsities=[0.9], quantization=["none"], seeds=[0, 1])
    finish(study, {0: 0.80, 1: 0.82})
    wanted = expected_of(read_numbers(store, "mine"))
    score, loss = wanted.numbers
    assert score.key == NumberKey("tiny", "prune-ofa", 0.9, "none", "sst2", "accuracy")
    assert (score.seeds, score.direction) == ({"0": 80.0, "1": 82.0}, "higher")
    # Curves 0.6, 0.7, 0.8 and 1.6, 1.7, 1.8; that of the pruning 0.6, 0.7, 0.8, too.
    assert loss.key == score.key._replace(metric=OPENING)
    assert (loss.seeds, loss.direction) == ({"0": 0.6, "1": 1.6}, "equal")
    assert {str(entry.key): entry.loss for entry in wanted.losses}["student_pruning tiny 0.9 loss"] == 0.7
    assert [(entry.zeros, entry.of) for entry in wanted.zeros] == [(90, 100)]
    kinds = {spec.kind for spec in wanted.stages.stages.values()}
    assert {"transfer", "student_pruning", "evaluation"} <= kinds
    assert not any("seed" in spec.parameters for spec in wanted.stages.stages.values() if spec.kind == "transfer")


def test_other_seeds_are_comparable_and_another_learning_rate_is_not(
    store: Store, make_study: Make, finish: Any
) -> None:
    axes: dict[str, Any] = {"methods": ["dense"], "tasks": ["sst2"], "quantization": ["none"]}
    mine = make_study(seeds=[0, 1, 2], **axes)
    finish(mine, {0: 0.80, 1: 0.82, 2: 0.81}, zeros=0)
    wanted = expected_of(read_numbers(store, "mine"))
    other = make_study(seeds=[3, 4], name="other", **axes)
    finish(other, {3: 0.81, 4: 0.815}, zeros=0)
    found = check(wanted, measured(read_numbers(store, "other")))
    assert all(f.verdict is Verdict.OK for f in found.findings if f.kind in ("zeros",) or f.name.endswith("acc"))
    changed = make_study("dense.learning_rate=0.5", seeds=[0], name="changed", **axes)
    finish(changed, {0: 0.81}, zeros=0)
    report = check(wanted, measured(read_numbers(store, "changed")))
    score = next(finding for finding in report.findings if finding.name.endswith("acc"))
    assert score.verdict is Verdict.NOT_COMPARABLE
    assert "dense.learning_rate 0.5 (was " in score.reason
    assert report.exit_code == 3


def test_threads_and_the_evaluations_batch_do_not_count(store: Store, make_study: Make, finish: Any) -> None:
    axes: dict[str, Any] = {"methods": ["dense"], "tasks": ["sst2"], "quantization": ["none"], "seeds": [0, 1]}
    finish(make_study(**axes), {0: 0.80, 1: 0.82}, zeros=0)
    wanted = expected_of(read_numbers(store, "mine"))
    finish(make_study("common.threads=7", "evaluation.batch_size=3", name="other", **axes), {0: 0.8, 1: 0.82}, zeros=0)
    assert check(wanted, measured(read_numbers(store, "other"))).exit_code == 0


def test_what_is_missing_or_not_one_is_left_out_and_named(store: Store, make_study: Make, finish: Any) -> None:
    study = make_study(methods=["dense", "prune-ofa"], tasks=["sst2"], sparsities=[0.9], quantization=["none"])
    finish(study, dict.fromkeys(range(9), 0.8), method="dense", zeros=0)
    numbers = read_numbers(store, "mine")
    wanted = expected_of(numbers)
    assert {entry.key.method for entry in wanted.numbers} == {"dense"}
    assert any(text == "tiny prune-ofa 0.9 sst2 acc: no seed has a result" for text in left_out(numbers))
    assert check(wanted, measured(numbers)).exit_code in (0, 3)  # of one seed there is nothing but zeros to check


def test_a_scored_models_zeros_count_in_fp32_and_a_codes_zeros_in_int8_do_not(quick: StudyNumbers) -> None:
    """Rounding makes further zeros of int8 codes, not the same on every machine."""
    for quantization, counts in (("none", [(199_056, 221_184), (199_057, 221_184)]), ("int8", [(199_056, 221_184)])):
        key = RowKey("tiny-narrow", "prune-ofa", 0.9, quantization)
        cell = next(cell for cell in quick.study.plan.paths if RowKey(*_row(cell)) == key)
        records = dict(quick.records)
        end = quick.study.plan.endpoint(cell)
        scored = {"encoder_zeros": 199_057, "encoder_numel": 221_184}
        records[end] = {**records[end], "result": {**records[end]["result"], "artifact_sparsity": scored}}
        assert measured(replace(quick, records=records)).zeros[key] == counts


def _row(cell: Cell) -> tuple[str, str, float, str]:
    return cell.model, cell.method, cell.sparsity, cell.quantization


def test_a_loss_that_is_not_finite_is_no_loss(quick: StudyNumbers) -> None:
    records = json.loads(json.dumps(dict(quick.records)))
    cell, path = next(iter(quick.study.plan.paths.items()))
    model = quick.study.plan.stages[path[-1]].parents["model"]
    records[model]["result"]["training"]["loss_curve"][0]["loss"] = float("nan")
    found = measured(replace(quick, records=records))
    number = found.numbers[NumberKey(cell.model, cell.method, cell.sparsity, cell.quantization, cell.task, OPENING)]
    assert (number.missing, len(number.seeds)) == (1, 4)
