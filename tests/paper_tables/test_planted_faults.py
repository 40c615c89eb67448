"""What the gate says of faults that were planted in the source, one line each, and of machines on which nothing was.

The numbers are those that the quick grid gave (`planted_faults.json`); docs/gate.md tells which lines were changed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean, variance

import numpy as np
import planted_faults
import pytest
from noisy_tables import OWN

import harness
from paper_tables.gate.check import check
from paper_tables.gate.expected import BETWEEN_RUNS, EQUAL, HIGHER
from paper_tables.gate.expected_file import read_expected
from paper_tables.gate.verdict import Finding, Report, Verdict

EXPECTED = read_expected(Path(harness.__file__).parents[1] / "results" / "quick" / "expected.toml")
MACHINES = ("unchanged", "avx2", "other-blas")


def gate(name: str) -> Report:
    return check(EXPECTED, planted_faults.run(name, EXPECTED))


def red(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.verdict is Verdict.REGRESSED]


def kinds(report: Report) -> set[tuple[str, str]]:
    return {(finding.kind, finding.direction) for finding in red(report)}


SCORES = {("number", HIGHER), ("mean", HIGHER)}


@pytest.mark.parametrize("name", MACHINES)
def test_without_a_fault_the_gate_is_green_whatever_the_kernels(name: str) -> None:
    report = gate(name)
    assert (red(report), report.exit_code) == ([], 0)


def test_another_machine_gives_other_scores_and_the_same_zeros() -> None:
    here, there = (planted_faults.run(name, EXPECTED) for name in ("unchanged", "avx2"))
    equal = sum(here.numbers[key].seeds == there.numbers[key].seeds for key in here.numbers)
    assert equal < len(here.numbers) / 2
    assert here.zeros == there.zeros


def test_what_runs_differ_by_is_no_more_than_the_tolerances_allow() -> None:
    """Seed by seed against the machine that wrote the file, for the method whose seeds share a pruning.

    A difference of means is the shift of the run and the luck of the seeds; the spread of the seeds' own differences
    says how much is luck, and what is left is the shift.
    """
    here = planted_faults.run("unchanged", EXPECTED)
    squares, luck = [], []
    for name in ("avx2", "other-blas"):
        there = planted_faults.run(name, EXPECTED)
        for number in EXPECTED.numbers:
            if number.key.method == "prune-ofa" and number.direction == HIGHER:
                assert number.noise is not None
                one, other = (run.numbers[number.key].seeds for run in (here, there))
                moved = [(other[seed] - one[seed]) / number.noise for seed in one]
                squares.append(fmean(moved) ** 2)
                luck.append(variance(moved) / len(moved))
    assert len(squares) == 2 * 16
    assert 0.3 < fmean(squares) - fmean(luck) <= 2 * BETWEEN_RUNS**2


def test_an_opening_loss_is_its_seeds_own_and_a_score_is_not() -> None:
    """Of the variance between seeds, how much comes anew with other kernels: of runs and seeds, crossed."""
    runs = [planted_faults.run(name, EXPECTED) for name in MACHINES]
    anew: dict[str, list[float]] = {EQUAL: [], HIGHER: []}
    for number in EXPECTED.numbers:
        if number.key.quantization == "none" and number.key.metric != "f1":
            seeds = np.array([list(run.numbers[number.key].seeds.values()) for run in runs])
            alone = seeds - seeds.mean(axis=0) - seeds.mean(axis=1, keepdims=True) + seeds.mean()
            freedom = (len(runs) - 1) * (seeds.shape[1] - 1)
            anew[number.direction].append((alone**2).sum() / freedom / seeds.var(axis=1, ddof=1).mean())
    assert {number.key.quantization for number in EXPECTED.numbers if number.direction == EQUAL} == {"none"}
    assert fmean(anew[EQUAL]) == pytest.approx(1 - OWN, abs=0.02)
    assert fmean(anew[HIGHER]) == pytest.approx(0.98, abs=0.02)


def test_dropping_distillation_from_transfer_is_seen_in_the_loss_and_in_no_score() -> None:
    report = gate("kd-dropped")
    assert report.exit_code == 1
    assert "prune-ofa, all rows, mean opening loss" in {finding.name for finding in red(report)}
    assert all("prune-ofa" in finding.name and "opening loss" in finding.name for finding in red(report))
    assert (kinds(report), len(red(report))) == ({("number", EQUAL), ("mean", EQUAL)}, 7)


def test_no_lock_trips_the_harness_own_guard_and_leaves_cells_missing() -> None:
    report = gate("no-lock")
    assert (red(report), report.exit_code) == ([], 4)
    missing = [finding.name for finding in report.findings if finding.verdict is Verdict.MISSING]
    assert missing
    assert all("prune-ofa" in name for name in missing)


def test_no_lock_and_no_guard_is_seen_in_every_count_of_zeros_and_in_no_score() -> None:
    report = gate("no-lock-no-guard")
    assert (kinds(report), len(red(report)), report.exit_code) == ({("zeros", EQUAL)}, 4, 1)
    assert {finding.measured for finding in red(report)} == {0}


@pytest.mark.parametrize("name", ["lr-times-10", "lr-over-10"])
def test_a_wrong_learning_rate_is_seen_in_scores_and_losses(name: str) -> None:
    report = gate(name)
    assert report.exit_code == 1
    assert {*SCORES, ("mean", EQUAL)} <= kinds(report)
    means = {finding.name for finding in red(report) if finding.kind == "mean"}
    assert {"tiny-narrow dense, mean score", "finetune-pruning, all rows, mean score"} <= means


def test_no_rewinding_is_seen_in_the_pre_training_loss_and_in_no_score() -> None:
    report = gate("rewinding-dropped")
    assert (kinds(report), report.exit_code) == ({("loss", EQUAL)}, 1)
    assert [finding.name for finding in red(report)] == ["student_pruning tiny-narrow 0.9 loss"]


def test_one_matrix_unmasked_is_seen_in_every_count_of_zeros_and_in_no_score() -> None:
    report = gate("one-matrix-unmasked")
    assert (kinds(report), len(red(report)), report.exit_code) == ({("zeros", EQUAL)}, 6, 1)
    # Of 96 x 96 entries 0.85 were zero, floored: 7,833; at 0.9: 8,294.
    assert {finding.difference for finding in red(report)} == {-7833, -8294}


def test_one_matrix_unlisted_has_the_right_share_of_zeros_and_not_their_count() -> None:
    report = gate("one-matrix-unlisted")
    assert (kinds(report), len(red(report)), report.exit_code) == ({("zeros", EQUAL)}, 5, 1)
    reason = next(f.reason for f in red(report) if f.name == "tiny-narrow prune-ofa 0.85 zeros")
    assert reason == "180165 of 211968 are zero, expected 187998 of 221184"
    assert round(180_165 / 211_968, 4) == 0.8500


def test_scores_alone_would_let_most_of_the_faults_pass() -> None:
    scores = replace(
        EXPECTED,
        zeros=(),
        losses=(),
        means=tuple(mean for mean in EXPECTED.means if mean.direction == HIGHER),
        numbers=tuple(number for number in EXPECTED.numbers if number.direction == HIGHER),
    )
    passed = {
        name
        for name in planted_faults.names()
        if check(scores, planted_faults.run(name, EXPECTED)).exit_code == 0 and name not in MACHINES
    }
    assert passed == {"kd-dropped", "no-lock-no-guard", "rewinding-dropped", "one-matrix-unmasked"}
