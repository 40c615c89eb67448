"""Verdicts of the gate on small tables by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from noisy_tables import STAGE, expected, measured

from harness.planning.graph import Plan
from harness.specs import StageSpec
from paper_tables.gate.check import check
from paper_tables.gate.expected import (
    OPENING,
    Expected,
    ExpectedLoss,
    ExpectedZeros,
    NumberKey,
    StageKey,
)
from paper_tables.gate.measured import Measured, MeasuredLoss, MeasuredNumber, independent
from paper_tables.gate.verdict import Finding, Report, Verdict

SST2 = NumberKey("tiny", "prune-ofa", 0.9, "none", "sst2", "accuracy")
QNLI = SST2._replace(task="qnli")
SEEDS = (78.0, 79.0, 80.0, 81.0, 82.0)  # mean 80, standard deviation sqrt(2.5)


def held(now: Sequence[float], *, before: Sequence[float] = SEEDS, key: NumberKey = SST2, **changed: Any) -> Finding:
    """What the gate finds of one number alone."""
    wanted = expected([key], np.array([before]))
    wanted = replace(wanted, numbers=(replace(wanted.numbers[0], **changed),))
    (finding,) = check(wanted, measured([key], np.array([now]))).findings
    return finding


def test_a_number_that_did_not_change_is_ok_with_its_figures() -> None:
    found = held(SEEDS)
    assert (found.verdict, found.expected, found.measured, found.difference) == (Verdict.OK, 80.0, 80.0, 0.0)
    assert (found.n_expected, found.n_measured) == (5, 5)
    assert found.p_value == pytest.approx(0.5)


def test_a_fall_beyond_the_tolerance_is_a_regression_and_one_inside_it_is_not() -> None:
    tolerance = held(SEEDS).tolerance
    assert tolerance is not None
    fallen = [value - tolerance for value in SEEDS]
    assert held([value + 1e-6 for value in fallen]).verdict is Verdict.OK
    assert held([value - 1e-6 for value in fallen]).verdict is Verdict.REGRESSED


def test_a_rise_is_improved_and_no_failure() -> None:
    found = held([99.0] * 5)
    assert found.verdict is Verdict.IMPROVED
    assert found.p_value is not None
    assert found.p_value > 0.99
    wanted = expected([SST2], np.array([SEEDS]))
    assert check(wanted, measured([SST2], np.full((1, 5), 99.0))).exit_code == 0


def test_a_loss_may_move_neither_way() -> None:
    key = SST2._replace(metric=OPENING)
    losses = (0.50, 0.51, 0.52, 0.53, 0.54)
    for moved in (0.2, 0.8):
        assert held([moved] * 5, before=losses, key=key).verdict is Verdict.REGRESSED
    assert held(losses, before=losses, key=key).verdict is Verdict.OK


def test_of_a_loss_the_seeds_that_both_sides_have_count() -> None:
    """0.9 is the fifth seed's own; where no seed is on both sides all count."""
    key, losses = SST2._replace(metric=OPENING), (0.50, 0.51, 0.49, 0.50, 0.90)
    found = held(losses[:3], before=losses, key=key)
    assert (found.verdict, found.expected, found.measured) == (Verdict.OK, 0.50, 0.50)
    assert (found.n_expected, found.n_measured) == (3, 3)
    scores = held(SEEDS[:3])
    assert (scores.expected, scores.measured, scores.n_expected) == (80.0, 79.0, 5)
    wanted, other = expected([key], np.array([losses])), measured([key], np.array([losses[:3]]))
    seeds = {str(seed): value for seed, value in enumerate(losses[:3], start=7)}
    other = replace(other, numbers={key: replace(other.numbers[key], seeds=seeds)})
    (apart,) = check(wanted, other).findings
    assert (apart.expected, apart.n_expected, apart.n_measured) == (pytest.approx(0.58), 5, 3)


def test_other_seeds_of_the_same_distribution_are_ok_whatever_their_bits() -> None:
    assert held([79.3, 80.2]).verdict is Verdict.OK


def test_fewer_seeds_have_a_wider_tolerance() -> None:
    two, five = held(SEEDS[:2]).tolerance, held(SEEDS).tolerance
    assert two is not None
    assert five is not None
    assert two > five
    assert held(SEEDS[:2]).n_measured == 2


def test_a_tolerance_by_hand_takes_the_place_of_the_noise() -> None:
    assert held([79.0] * 5, tolerance=0.5).verdict is Verdict.REGRESSED
    assert held([79.0] * 5, tolerance=1.5).verdict is Verdict.OK
    assert held([79.0], before=[80.0], tolerance=0.5).verdict is Verdict.REGRESSED  # one seed: by hand alone


def test_a_number_of_one_seed_is_not_checked_and_says_so() -> None:
    found = held([10.0], before=[80.0])
    assert (found.verdict, found.tolerance, found.p_value) == (Verdict.NO_TOLERANCE, None, None)
    report = check(expected([SST2], np.array([[80.0]])), measured([SST2], np.array([[10.0]])))
    assert (report.num_measured, report.exit_code) == (0, 3)


def test_what_the_study_does_not_have_is_missing() -> None:
    report = check(expected([SST2, QNLI], np.array([SEEDS, SEEDS])), measured([SST2], np.array([SEEDS])))
    by_name = {finding.name: finding for finding in report.findings}
    assert by_name[str(QNLI)].verdict is Verdict.MISSING
    assert by_name[str(QNLI)].reason == "not in the study"
    assert by_name["tiny prune-ofa 0.9, mean score"].verdict is Verdict.MISSING
    assert report.exit_code == 4


def with_number(number: MeasuredNumber, stages: Plan | None = None) -> Measured:
    found = measured([SST2], np.array([SEEDS]))
    return replace(found, numbers={SST2: number}, stages=stages or found.stages)


def test_planned_seeds_without_a_result_are_missing_unless_the_others_fell() -> None:
    wanted = expected([SST2], np.array([SEEDS]))
    for value, verdict in ((80.0, Verdict.MISSING), (95.0, Verdict.MISSING), (20.0, Verdict.REGRESSED)):
        (found,) = check(wanted, with_number(MeasuredNumber({"0": value, "1": value}, 1, (STAGE.stage_id,)))).findings
        assert (found.verdict, found.measured) == (verdict, value)
        assert found.reason == ("1 seed without a result" if verdict is Verdict.MISSING else "")


def test_another_recipe_is_not_comparable_and_the_setting_is_named() -> None:
    other = StageSpec(kind="evaluation", parameters={"batch": 8})
    plan = Plan(stages={other.stage_id: other})
    report = check(
        expected([SST2], np.array([SEEDS])), with_number(MeasuredNumber({"0": 1.0}, 0, (other.stage_id,)), plan)
    )
    (found,) = report.findings
    assert (found.verdict, found.reason) == (Verdict.NOT_COMPARABLE, "evaluation.batch 8 (was none)")
    assert (report.num_measured, report.exit_code) == (0, 3)


def test_other_data_are_not_comparable_and_another_code_version_is() -> None:
    wanted = expected([SST2], np.array([SEEDS]))
    for spec, verdict in (
        (replace(STAGE, inputs={"validation": "other"}), Verdict.NOT_COMPARABLE),
        (replace(STAGE, versions={"kind": 2}), Verdict.OK),
    ):
        number = MeasuredNumber(dict(zip("01234", SEEDS, strict=True)), 0, (spec.stage_id,))
        (found,) = check(wanted, with_number(number, Plan(stages={spec.stage_id: spec}))).findings
        assert found.verdict is verdict


def zeros(counts: Sequence[tuple[int, int]]) -> Report:
    wanted = replace(expected([SST2], np.array([SEEDS])), zeros=(ExpectedZeros(key=SST2.row, zeros=55_700, of=65_536),))
    return check(wanted, replace(measured([SST2], np.array([SEEDS])), zeros={SST2.row: counts}))


def test_one_zero_less_is_a_regression_and_so_is_one_matrix_less() -> None:
    assert zeros([(55_700, 65_536)]).exit_code == 0
    for count in ((55_699, 65_536), (55_701, 65_536), (55_700, 61_440)):
        report = zeros([(55_700, 65_536), count])
        assert (report.exit_code, report.findings[0].verdict) == (1, Verdict.REGRESSED)
        assert f"{count[0]} of {count[1]} are zero, expected 55700 of 65536" in report.findings[0].reason
    assert zeros([]).exit_code == 4


def test_zeros_of_another_model_are_not_comparable_and_of_another_recipe_they_still_count() -> None:
    other = replace(STAGE, inputs={"model": "another"})
    wanted = replace(expected([SST2], np.array([SEEDS])), zeros=(ExpectedZeros(key=SST2.row, zeros=55_700, of=65_536),))
    found = with_number(MeasuredNumber({"0": 80.0}, 0, (other.stage_id,)), Plan(stages={other.stage_id: other}))
    for counts, verdict in (((55_700, 98_304), Verdict.NOT_COMPARABLE), ((55_700, 65_536), Verdict.OK)):
        report = check(wanted, replace(found, zeros={SST2.row: [counts]}))
        zeros = next(finding for finding in report.findings if finding.kind == "zeros")
        assert zeros.verdict is verdict
        assert ("the model" in zeros.reason) == (verdict is Verdict.NOT_COMPARABLE)
        assert report.exit_code == 3


def loss(now: Sequence[float], missing: int = 0) -> Finding:
    key = StageKey("student_pruning", "tiny", 0.9)
    entry = ExpectedLoss(key=key, loss=2.0, tolerance=0.02, stage=STAGE.stage_id)
    wanted = replace(expected([SST2], np.array([SEEDS])), losses=(entry,))
    found = replace(
        measured([SST2], np.array([SEEDS])), losses={key: MeasuredLoss(now, missing, (STAGE.stage_id,))} if now else {}
    )
    return next(finding for finding in check(wanted, found).findings if finding.kind == "loss")


def test_a_pre_training_loss_may_move_by_its_share() -> None:
    for now, verdict in (
        (2.039, Verdict.OK),
        (1.961, Verdict.OK),
        (2.041, Verdict.REGRESSED),
        (1.95, Verdict.REGRESSED),
    ):
        assert loss([now]).verdict is verdict
    assert loss([2.0, 2.03]).measured == pytest.approx(2.015)
    assert loss([]).verdict is Verdict.MISSING
    assert loss([2.0], missing=1).verdict is Verdict.MISSING


def table(rows: int) -> tuple[list[NumberKey], np.ndarray]:
    keys = [SST2._replace(model=f"m{i}", task=task) for i in range(rows) for task in ("sst2", "qnli")]
    return keys, np.array([np.array(SEEDS) + i for i in range(len(keys))])


def test_a_small_fall_of_every_number_shows_in_the_mean_alone() -> None:
    """Of 12 numbers none falls by its tolerance; their mean has a smaller one."""
    keys, values = table(6)
    wanted = expected(keys, values)
    whole = next(mean for mean in check(wanted, measured(keys, values)).findings if "all rows" in mean.name)
    assert whole.tolerance is not None
    report = check(wanted, measured(keys, values - 1.2 * whole.tolerance))
    fell = [finding for finding in report.findings if finding.verdict is Verdict.REGRESSED]
    assert [finding.name for finding in fell] == ["prune-ofa, all rows, mean score"]
    assert report.exit_code == 1


def test_the_level_of_an_entry_is_its_share_of_the_tables_false_alarms() -> None:
    keys, values = table(6)
    wanted = expected(keys, values)
    assert wanted.level(wanted.numbers[0]) == pytest.approx(0.01 / 3 / 12)
    assert wanted.level(wanted.means[0]) == pytest.approx(0.01 / 3 / 7)  # six rows and the method
    losses = [key._replace(metric=OPENING) for key in keys]
    both = expected([*keys, *losses], np.vstack([values, values / 100]))
    assert both.level(both.numbers[0]) == pytest.approx(0.01 / 3 / 12)
    assert both.level(both.numbers[-1]) == pytest.approx(0.01 / 3 / 12 / 2)  # it can fail on two sides
    sides = sum(wanted.level(entry) for entry in (*wanted.numbers, *wanted.means))
    assert sides <= wanted.false_alarms


def test_the_worst_stands_first() -> None:
    keys, values = table(2)
    now = values.copy()
    now[1] -= 30
    now[2] -= 60
    report = check(expected(keys, values), measured(keys[:-1], now[:-1]))
    verdicts = [finding.verdict for finding in report.findings]
    assert verdicts == sorted(verdicts, key=list(Verdict).index)
    numbers = [finding.name for finding in report.findings if finding.kind == "number"]
    assert numbers[:2] == [str(keys[2]), str(keys[1])]


def test_a_regression_counts_more_than_what_could_not_be_checked_and_that_more_than_what_is_missing() -> None:
    def report(*verdicts: Verdict) -> int:
        made = [Finding(kind="number", name="n", verdict=verdict, direction="higher") for verdict in verdicts]
        return Report("s", "s", made, 0.01).exit_code

    assert report(Verdict.OK, Verdict.REGRESSED, Verdict.NOT_COMPARABLE, Verdict.MISSING) == 1
    assert report(Verdict.OK, Verdict.NOT_COMPARABLE, Verdict.MISSING) == 3
    assert report(Verdict.OK, Verdict.MISSING) == 4
    assert report(Verdict.MISSING) == 3  # 0 measured
    assert report(Verdict.OK, Verdict.NO_TOLERANCE, Verdict.IMPROVED) == 0
    assert report() == 3


def test_several_prunings_count_as_one_draw_each() -> None:
    assert independent({"0": 80.0, "1": 82.0}) == [80.0, 82.0]
    assert independent({"0": 80.0, "1": 82.0, "0 pruning 1": 70.0, "1 pruning 1": 74.0}) == [81.0, 72.0]


def test_one_pruning_is_one_draw_against_a_noise_of_prunings() -> None:
    """Of three prunings the noise is what prunings differ by: five seeds of one pruning tell it once."""
    seeds = {f"{seed}{f' pruning {p}' if p else ''}": 80.0 + 2 * p for p in range(3) for seed in range(5)}
    wanted = expected([SST2], np.array([[80.0, 82.0, 84.0]]))
    wanted = replace(wanted, numbers=(replace(wanted.numbers[0], seeds=seeds),))
    one = MeasuredNumber({str(seed): 80.0 for seed in range(5)}, 0, (STAGE.stage_id,))
    (found,) = check(wanted, with_number(one)).findings
    assert (found.n_expected, found.n_measured) == (3, 1)
    (same,) = check(wanted, with_number(replace(one, seeds={"0": 80.0}))).findings
    assert found.tolerance == same.tolerance


def test_rows_of_one_model_and_task_move_together_in_a_mean_and_models_do_not() -> None:
    rows = [SST2._replace(sparsity=sparsity) for sparsity in (0.8, 0.9)]
    models = [SST2._replace(model=model) for model in ("one", "other")]
    values = np.array([SEEDS, SEEDS])
    for keys, share in ((rows, 1.0), (models, 0.5**0.5)):
        wanted = expected(keys, values)
        (mean,) = wanted.means
        one, whole = wanted.noise(wanted.numbers[0]), wanted.noise(mean)
        assert one is not None
        assert whole is not None
        assert whole.spread == pytest.approx(share * one.spread, rel=1e-3)


def test_where_no_possible_fall_would_be_found_there_is_no_smallest_one() -> None:
    noisy = held([80.0], before=[60.0, 100.0])
    assert noisy.tolerance is not None
    assert noisy.tolerance > 80
    assert (noisy.detectable, noisy.is_blind) == (None, True)
    assert not held(SEEDS).is_blind
    assert not held([10.0], before=[80.0]).is_blind  # it has no tolerance and was not checked


def test_numbers_that_the_file_does_not_have_are_counted() -> None:
    found = check(expected([SST2], np.array([SEEDS])), measured([SST2, QNLI], np.array([SEEDS, SEEDS])))
    assert (found.unlisted, found.exit_code) == (1, 0)


def test_a_mean_of_no_number_of_the_file_is_missing() -> None:
    keys, values = table(1)
    wanted: Expected = expected(keys, values)
    report = check(replace(wanted, numbers=()), measured(keys, values))
    assert [finding.verdict for finding in report.findings] == [Verdict.MISSING] * len(wanted.means)
