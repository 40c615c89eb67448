"""Claims that one row is above another: verdicts on scores chosen by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from harness.studies.study import Study
from paper_tables.claims.comparison import compare, judged
from paper_tables.claims.differences import Differences
from paper_tables.claims.side import Side
from paper_tables.claims.verdicts import ClaimVerdict
from paper_tables.numbers.rows import Row, aggregate
from paper_tables.numbers.score import Score

Make = Callable[..., Study]
Verdict = Callable[..., ClaimVerdict]
ABOVE = "above-finetune-pruning"


@pytest.mark.parametrize(
    ("ofa", "finetune", "verdict", "reason"),
    [
        # Differences 2, 3, 4: mean 3, s = 1, half width 4.303 / sqrt(3) = 2.48: from 0.52 to 5.48.
        ((82, 83, 84), (80, 80, 80), "held", "On average over 1 comparison; 1 of 1 are shown for it alone, none"),
        ((80, 80, 80), (82, 83, 84), "not held", "1 of 1 comparisons are shown against it: tiny 0.85 sst2."),
        # Differences 1, 2, 3: from -0.48 to 4.48.
        ((81, 82, 83), (80, 80, 80), "cannot say", "The interval of the average holds 0."),
        ((90, 91), (80, 80), "cannot say", "No test: n = 2: three seeds are needed."),
        ((90,), (80,), "cannot say", "No test: n = 1: three seeds are needed."),
        ((85, 85, 85), (80, 80, 80), "cannot say", "No test: its seeds all give one difference"),
        ((None,), (80,), "cannot say", "No test: no seed has a result on both sides."),
        ((90, None), (None, 80), "cannot say", "No test: no seed has a result on both sides."),
    ],
)
def test_the_verdict_follows_from_the_interval(
    make_scored: Make,
    verdict_on: Verdict,
    ofa: tuple[float | None, ...],
    finetune: tuple[float | None, ...],
    verdict: str,
    reason: str,
) -> None:
    found = verdict_on(make_scored(ofa, finetune), ABOVE)
    assert (found.verdict, found.reasons[0][: len(reason)]) == (verdict, reason)


def test_effect_interval_n_and_p_are_worked_by_hand(make_scored: Make, verdict_on: Verdict) -> None:
    # Differences 2, 3, 4: t = 3 / (1 / sqrt(3)), p = 1 - t / sqrt(2 + t^2) with two degrees of freedom.
    found = verdict_on(make_scored((82, 83, 84), (80, 80, 80)), ABOVE)
    (only,) = found.found.comparisons
    p = 1 - math.sqrt(27 / 29)
    for each in (found.found, only):
        assert each.effect == pytest.approx(3.0)
        assert each.interval[:2] == pytest.approx((3 - 4.302653 / math.sqrt(3), 3 + 4.302653 / math.sqrt(3)))
        assert (each.n, each.p_value) == (3, pytest.approx(p))
    assert (found.p_adjusted, only.p_adjusted) == (pytest.approx(p), pytest.approx(p))
    assert dict(only.differences) == pytest.approx({0: 2.0, 1: 3.0, 2: 4.0})
    assert len(found.found.stage_ids) == 6


def test_missing_seeds_are_said_and_the_others_count(make_scored: Make, verdict_on: Verdict) -> None:
    found = verdict_on(make_scored((82, 83, 84, None), (80, 80, 80, 80)), ABOVE)
    (only,) = found.found.comparisons
    assert (found.verdict, found.missing, only.n) == ("held", 1, 3)
    assert only.missing == ("tiny prune-ofa fp32: seed 3",)


def test_a_pruning_that_one_side_lacks_shows_nothing(make_study: Make, score: Any, verdict_on: Verdict) -> None:
    """Without distillation the second pruning is there and 10 points worse; with it, it is not done yet."""
    study = make_study(tasks=["sst2"], methods=["prune-ofa", "prune-ofa-no-kd"], seeds=range(3), pruning_seeds=[0, 1])
    score(study, (85.1, 85, 84.9), method="prune-ofa", quantization="none", pruning_seed=0)
    score(study, (85, 85, 85), method="prune-ofa-no-kd", pruning_seed=0)
    score(study, (75, 75, 75), method="prune-ofa-no-kd", pruning_seed=1)
    found = verdict_on(study, "kd-in-transfer-helps")
    assert (found.verdict, found.found.effect) == ("cannot say", pytest.approx(0.0))
    assert found.found.condition == "one pruning"


@pytest.mark.parametrize(
    ("assignment", "setting"), [("transfer.epochs=4", "epochs"), ("transfer.kd_weight=0.9", "distillation")]
)
def test_rows_on_unequal_terms_are_not_compared(
    make_scored: Make, verdict_on: Verdict, assignment: str, setting: str
) -> None:
    found = verdict_on(make_scored((82, 83, 84), (80, 80, 80), assignment), ABOVE)
    (only,) = found.found.comparisons
    assert (found.verdict, only.verdict, only.apart) == ("cannot say", "cannot say", (setting,))
    assert found.reasons == (f"Its rows are not on equal terms: {setting}.",)
    assert (found.found.effect, found.p_adjusted, only.p_adjusted) == (None, None, None)


def test_a_setting_that_the_claim_is_about_may_differ(make_study: Make, score: Any, verdict_on: Verdict) -> None:
    study = make_study(tasks=["sst2"], methods=["prune-ofa", "prune-ofa-no-kd"], seeds=range(3))
    score(study, (82, 83, 84), method="prune-ofa", quantization="none")
    score(study, (80, 80, 80), method="prune-ofa-no-kd")
    assert verdict_on(study, "kd-in-transfer-helps").verdict == "held"
    strict = TOML.format(other="prune-ofa-no-kd", more="")
    assert verdict_on(study, toml=strict).found.comparisons[0].apart == ("distillation",)


TOML = """
[[claims]]
id = "mine"
sentence = "Prune OFA is better."
source = "a guess"
kind = "above"
one = {{ method = "prune-ofa", bits = 32 }}
other = {{ method = "{other}", bits = 32 }}
{more}
"""


def test_a_study_without_the_rows_cannot_say(make_study: Make, verdict_on: Verdict) -> None:
    found = verdict_on(make_study(tasks=["sst2"], methods=["dense"]), ABOVE)
    assert (found.verdict, found.missing, found.found.n, found.scale) == ("cannot say", 0, 0, None)
    assert found.reasons == ("The study has no cell of prune-ofa fp32 with one of finetune-pruning fp32 beside it.",)


def test_the_average_is_of_each_seeds_mean_over_tasks_by_one_metric_a_task(
    make_study: Make, publish: Any, verdict_on: Verdict
) -> None:
    """squad counts by F1: differences 1, 2, 3 of sst2 and 3, 6, 9 of F1 have the means 2, 4, 6. EM counts alone."""
    study = make_study(tasks=["sst2", "squad"], methods=["prune-ofa", "finetune-pruning"], seeds=range(3))
    for seed in range(3):
        ofa, finetune = {"method": "prune-ofa", "quantization": "none"}, {"method": "finetune-pruning"}
        publish(study, {"sst2": {"accuracy": (81 + seed) / 100}}, seed=seed, task="sst2", **ofa)
        publish(study, {"sst2": {"accuracy": 0.8}}, seed=seed, task="sst2", **finetune)
        squad = {"f1": 63.0 + 3 * seed, "exact_match": 10.0}
        publish(study, {"squad": squad}, seed=seed, task="squad", **ofa)
        publish(study, {"squad": {"f1": 60.0, "exact_match": 50.0 - seed}}, seed=seed, task="squad", **finetune)
    found = verdict_on(study, ABOVE)
    assert found.found.as_json()["by_seed"] == pytest.approx({0: 2.0, 1: 4.0, 2: 6.0})
    assert found.found.effect == pytest.approx(4.0)
    assert {(each.metric, each.is_primary) for each in found.found.comparisons} == {
        ("accuracy", True),
        ("f1", True),
        ("exact_match", False),
    }
    # EM is 39 points below, in every seed: a counterexample, though no metric of the average.
    assert (found.verdict, found.reasons) == (
        "not held",
        ("1 of 3 comparisons are shown against it: tiny 0.85 squad.",),
    )


def test_comparisons_are_corrected_by_holm_over_all_metrics(
    make_study: Make, publish: Any, verdict_on: Verdict
) -> None:
    """Two tasks alike, p = 1 - sqrt(27 / 29) = 0.035 each: 0.070 after correction, so neither is shown alone."""
    study = make_study(tasks=["sst2", "squad"], methods=["prune-ofa", "finetune-pruning"], seeds=range(3))
    for seed in range(3):
        ofa, finetune = {"method": "prune-ofa", "quantization": "none"}, {"method": "finetune-pruning"}
        publish(study, {"sst2": {"accuracy": (82 + seed) / 100}}, seed=seed, task="sst2", **ofa)
        publish(study, {"sst2": {"accuracy": 0.8}}, seed=seed, task="sst2", **finetune)
        publish(study, {"squad": {"f1": 62.0 + seed, "exact_match": 50.0}}, seed=seed, task="squad", **ofa)
        publish(study, {"squad": {"f1": 60.0, "exact_match": 50.0}}, seed=seed, task="squad", **finetune)
    found = verdict_on(study, ABOVE)
    adjusted = {(each.task, each.metric): each.p_adjusted for each in found.found.comparisons}
    doubled = pytest.approx(2 * (1 - math.sqrt(27 / 29)))
    # Exact match never differs, so there is no test of it, and none to correct for.
    assert adjusted == {("sst2", "accuracy"): doubled, ("squad", "f1"): doubled, ("squad", "exact_match"): None}
    assert [each.reason for each in found.found.comparisons if each.metric != "exact_match"] == [
        "shown alone, not after correction"
    ] * 2
    assert (found.verdict, found.p_adjusted) == ("held", pytest.approx(1 - math.sqrt(27 / 29)))


def test_the_averages_of_several_claims_are_corrected_too(make_study: Make, score: Any, verdict_on: Verdict) -> None:
    """Two claims on the same scores, p = 0.035 each: neither holds after correction, either does when asked alone."""
    study = make_study(tasks=["sst2"], methods=["prune-ofa", "prune-ofa-no-kd", "finetune-pruning"], seeds=range(3))
    score(study, (82, 83, 84), method="prune-ofa", quantization="none")
    for method in ("prune-ofa-no-kd", "finetune-pruning"):
        score(study, (80, 80, 80), method=method)
    for claim in (ABOVE, "kd-in-transfer-helps"):
        found = verdict_on(study, claim)
        assert (found.verdict, found.reasons) == (
            "cannot say",
            ("The average is shown alone, not after correction.",),
        )
    assert verdict_on(study, toml=TOML.format(other="finetune-pruning", more="")).verdict == "held"


@pytest.mark.parametrize(
    ("int8", "verdict"),
    [
        # Against 80, 81, 82. A loss of 0.1, 0.2, 0.3: mean -0.2, half width 4.303 * 0.1 / sqrt(3) = 0.248.
        ((79.9, 80.8, 81.7), "held"),
        # A loss of 2.9, 3.0, 3.1: shown, and above a point.
        ((77.1, 78.0, 78.9), "not held"),
        # A loss of 0.7, 0.9, 1.1: a loss for certain, of a point or not: from 0.40 to 1.40.
        ((79.3, 80.1, 80.9), "cannot say"),
    ],
)
def test_quantization_costs_less_than_a_point_where_the_whole_interval_does(
    make_study: Make, score: Any, verdict_on: Verdict, int8: tuple[float, ...], verdict: str
) -> None:
    both = ["none", "int8"]
    study = make_study(
        "quantization.epochs=9", tasks=["sst2"], methods=["prune-ofa"], seeds=range(3), quantization=both
    )
    score(study, (80, 81, 82), quantization="none")
    score(study, int8, quantization="int8")
    assert verdict_on(study, "qat-under-one-point").verdict == verdict


def test_a_cost_is_tested_against_the_point_and_not_against_zero(
    make_study: Make, score: Any, verdict_on: Verdict
) -> None:
    """Differences -0.1, -0.2, -0.3 against -1: t = 0.8 / (0.1 / sqrt(3)) with two degrees of freedom."""
    study = make_study(tasks=["sst2"], methods=["prune-ofa"], seeds=range(3), quantization=["none", "int8"])
    score(study, (80, 81, 82), quantization="none")
    score(study, (79.9, 80.8, 81.7), quantization="int8")
    found = verdict_on(study, "qat-under-one-point")
    (only,) = found.found.comparisons
    p = 1 - math.sqrt(192 / 194)  # 1 - t / sqrt(2 + t^2), t^2 = 192
    assert (found.found.p_value, only.p_value) == (pytest.approx(p), pytest.approx(p))
    assert only.interval is not None
    assert only.interval.high == pytest.approx(-0.2 + 4.302653 * 0.1 / math.sqrt(3))


def test_an_int8_model_is_compared_with_the_model_it_was_made_from_alone(
    make_study: Make, score: Any, verdict_on: Verdict
) -> None:
    study = make_study(
        tasks=["sst2"], methods=["prune-ofa", "prune-ofa-no-kd"], seeds=range(3), quantization=["none", "int8"]
    )
    score(study, (80, 81, 82), quantization="none", method="prune-ofa-no-kd")
    score(study, (80.1, 81, 81.9), quantization="int8", method="prune-ofa")
    text = TOML.replace("above", "cost-of-quantization").replace("bits = 32 }}\nother", "bits = 8 }}\nother")
    (only,) = verdict_on(study, toml=text.format(other="prune-ofa-no-kd", more="")).found.comparisons
    assert (only.apart, only.verdict) == (("the fp32 model that was quantized",), "cannot say")


FEWER = """
[[claims]]
id = "mine"
sentence = "Sparse beats dense."
source = "a guess"
kind = "above-with-fewer-weights"
one = { method = "prune-ofa", sparsity = 0.85, bits = 32 }
other = { method = "dense", sparsity = 0.0, bits = 32 }
may_differ = ["distillation", "modules"]
"""


@pytest.mark.parametrize(
    ("zeros", "verdict", "weights"),
    [(850, "held", (150, 1000)), (0, "not held", (1000, 1000)), (None, "cannot say", None)],
)
def test_a_better_model_must_also_have_fewer_weights(
    make_study: Make,
    score: Any,
    verdict_on: Verdict,
    record_models: Any,
    zeros: int | None,
    verdict: str,
    weights: tuple[int, int] | None,
) -> None:
    study = make_study(tasks=["sst2"], methods=["prune-ofa", "dense"], seeds=range(3), quantization=["none"])
    record_models(study, "dense", {"sparsity": {"encoder_numel": 1000, "encoder_zeros": 0}})
    if zeros is not None:
        record_models(study, "transfer", {"sparsity": {"encoder_numel": 1000, "encoder_zeros": zeros}})
    score_with_parents(study, score, record_models)
    found = verdict_on(study, toml=FEWER)
    (only,) = found.found.comparisons
    assert (found.verdict, only.weights) == (verdict, weights)


def score_with_parents(study: Study, score: Any, record_models: Any) -> None:
    """82, 83, 84 against 80: evaluations whose models have records, so that digests agree."""
    by_method = {"prune-ofa": (82, 83, 84), "dense": (80, 80, 80)}
    for cell in study.plan.paths:
        value = by_method[cell.method][cell.seed] / 100
        spec = study.plan.stages[study.plan.endpoint(cell)]
        record_models(study, spec, {"metrics": {"sst2": {"accuracy": value}}, "cell_sparsity": 0.85})


def row(method: str, sparsity: float, values: Sequence[float]) -> Row:
    common = {"study": "s", "model": "tiny", "transfer_kd": "yes", "bits": 32, "task": "sst2", "metric": "accuracy"}
    scores = [
        Score(method=method, sparsity=sparsity, seed=seed, value=value, **common)  # type: ignore[arg-type]
        for seed, value in enumerate(values)
    ]
    return aggregate(scores)[0]


@pytest.mark.parametrize(("effect", "expected"), [(0.0, (0.0, 0.05)), (3.0, (0.9, 1.0))])
def test_how_often_a_claim_is_held_where_it_is_true_and_where_nothing_is(
    effect: float, expected: tuple[float, float]
) -> None:
    """Six comparisons of five seeds, of which a seed moves all alike: were they taken for independent, a difference
    of nothing would be held or not in a third of the studies. By right: held at most 2.5 %, not held at most 5 %.
    """
    generator = np.random.default_rng(12)
    verdicts = []
    for _ in range(400):
        seeds = generator.normal(size=5)
        comparisons = [
            compare(
                row("a", share, 80 + effect + seeds + generator.normal(size=5)),
                row("b", share, [80.0] * 5),
                0.0,
                (),
                None,
            )
            for share in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
        ]
        found = Differences("a", "b", 0.0, judged(comparisons))
        verdicts.append(found.verdict(found.p_value)[0])
    assert expected[0] <= verdicts.count("held") / 400 <= expected[1]
    assert verdicts.count("not held") / 400 <= 0.08


def test_intervals_of_one_pruning_say_so(make_scored: Make, verdict_on: Verdict) -> None:
    found = verdict_on(make_scored((82, 83, 84), (80, 80, 80)), ABOVE)
    assert found.found.condition == "one pruning"


def test_a_side_has_rows_whose_sparsity_was_computed() -> None:
    assert Side(method="a", sparsity=0.85).has(row("a", 17 * 0.05, [80.0]))
    assert not Side(method="a", sparsity=0.85).has(row("a", 0.9, [80.0]))
