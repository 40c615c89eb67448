"""From which budget of pre-training on pruning once pays: found of differences by hand, and of made studies."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from figure_data import numbers_of

from harness.specs import Cell
from harness.store.store import Store
from harness.studies.study import Study
from paper_tables.claims.budget import NO_SHARED_TASK, Budget, budget_curve, compared, finding, range_text, tokens_text
from paper_tables.claims.differences import Above
from paper_tables.claims.side import Side
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.statistics.paired import difference_of

TIGHT, WIDE = (-0.1, 0.0, 0.1), (-5.0, 0.0, 5.0)  # round a mean; t(2) is 4.3: half widths of 0.25 and 12.4


def at(tokens: float, mean: float | None, around: tuple[float, ...] = WIDE, **fields: Any) -> Budget:
    found = None if mean is None else difference_of([mean + each for each in around])
    made = {"study": f"s{tokens:g}", "n": len(around), "tasks": ("sst2",), "why_not": "" if found else "lacking"}
    return Budget(tokens=tokens, value=90.0, difference=found, **{**made, **fields})


def test_it_pays_from_the_smallest_budget_from_which_on_every_interval_is_above_zero() -> None:
    found = finding([at(3e5, 1.0, TIGHT), at(1e6, 1.0), at(2e6, 1.0, TIGHT), at(5e6, 2.0, TIGHT)])
    assert (found.kind, found.tokens) == ("shown", 2e6)  # and not 3e5: of 1e6 the interval holds zero
    assert found.words == "pays from 2 million tokens on: the intervals there are above zero"


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        (
            [at(3e5, 1.0, TIGHT), at(5e6, 1.0, TIGHT)],
            "pays from 0.3 million tokens on, the smallest budget tried: the intervals there are above zero",
        ),
        (
            [at(3e5, -1.0, TIGHT), at(5e6, 1.0, TIGHT)],
            "pays at 5 million tokens, the largest budget tried: its interval is above zero",
        ),
        ([at(3e5, 1.0, TIGHT)], "pays at 0.3 million tokens, the one budget tried: its interval is above zero"),
        (
            [at(3e5, -1.0), at(5e6, -0.5)],
            "not shown to pay within the budgets tried (0.3 to 5 million tokens): the mean difference is not above "
            "zero at the largest; no interval excludes zero",
        ),
        (
            [at(3e5, 1.0, TIGHT), at(5e6, -1.0, TIGHT)],
            "not shown to pay within the budgets tried (0.3 to 5 million tokens): the mean difference is not above "
            "zero at the largest; intervals exclude zero at 0.3 million tokens (above), 5 million tokens (below)",
        ),
        (
            [at(3e5, 1.0, TIGHT), at(5e6, 1.0)],
            "not shown to pay within the budgets tried (0.3 to 5 million tokens): the mean difference is above zero "
            "at every one; an interval excludes zero at 0.3 million tokens (above)",
        ),
        (
            [at(1000, 1.0, (0.0,))],
            "not shown to pay within the one budget tried (1,000 tokens): the mean difference is above zero; no "
            "interval excludes zero",
        ),
    ],
)
def test_what_else_is_found_is_said_in_words(budgets: list[Budget], words: str) -> None:
    assert finding(budgets).words == words


def test_a_crossing_is_linear_in_the_logarithm_of_tokens() -> None:
    """From -1 at 1e5 to +3 at 1e9 zero is a quarter of four decades away: at 1e6."""
    found = finding([at(1e5, -1.0), at(1e9, 3.0)])
    assert (found.kind, found.between) == ("crossing", (1e5, 1e9))
    assert found.tokens == pytest.approx(1e6)
    assert found.words == (
        "the mean difference crosses zero at about 1 million tokens, interpolated between 0.1 million tokens and 1 "
        "billion tokens; no interval excludes zero"
    )


def test_of_several_crossings_it_is_the_last_from_which_on_all_means_are_above() -> None:
    found = finding([at(1e5, -1.0), at(1e6, 1.0), at(1e7, -1.0), at(1e8, 1.0), at(1e9, 2.0)])
    assert found.between == (1e7, 1e8)
    assert found.tokens == pytest.approx(10**7.5)
    assert "crosses zero, the last time, at about 32 million tokens" in found.words


def test_a_mean_of_exactly_zero_is_not_above_it_and_is_where_the_line_crosses() -> None:
    found = finding([at(1e5, -1.0), at(1e6, 0.0), at(1e7, 1.0)])
    assert found.between == (1e6, 1e7)
    assert found.tokens == pytest.approx(1e6)


def test_equal_budgets_of_two_studies_that_disagree_cross_at_that_budget() -> None:
    found = finding([at(1e6, -1.0, study="a"), at(1e6, 1.0, study="b")])
    assert found.tokens == pytest.approx(1e6)


def test_a_budget_without_a_difference_takes_no_part_and_without_any_nothing_is_said() -> None:
    assert finding([at(1e5, None), at(1e6, 1.0, TIGHT)]).tokens == 1e6
    found = finding([at(1e5, None), at(1e6, None)])
    assert (found.kind, found.words, found.tokens) == ("not compared", "lacking", None)


def test_averages_over_different_tasks_make_no_finding() -> None:
    found = finding([at(1e5, 1.0, TIGHT), at(1e6, 1.0, TIGHT, tasks=("qqp",))])
    assert (found.kind, found.words) == ("not compared", NO_SHARED_TASK)


def test_a_curve_orders_its_budgets_by_tokens_and_is_plain_data() -> None:
    curve = budget_curve("tiny", 0.9, "prune-ofa", "finetune-pruning", [at(1e6, 2.0, TIGHT), at(3e5, 1.0, TIGHT)])
    assert [each.tokens for each in curve.budgets] == [3e5, 1e6]
    assert curve.finding.tokens == 3e5
    assert json.loads(json.dumps(asdict(curve)))["finding"]["kind"] == "shown"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (1000, "1,000 tokens"),
        (12_345, "12,300 tokens"),
        (335_410, "0.335 million tokens"),
        (5e6, "5 million tokens"),
        (13.1e9, "13.1 billion tokens"),
    ],
)
def test_tokens_read_as_people_say_them(tokens: float, text: str) -> None:
    assert tokens_text(tokens) == text


def test_a_range_names_one_unit_once() -> None:
    assert range_text(3e5, 5e6, "to") == "0.3 to 5 million tokens"
    assert range_text(1000, 3e5, "to") == "1,000 tokens to 0.3 million tokens"


# -- compared with what prunes on the task

METHODS = ["dense", "finetune-pruning", "prune-ofa", "prune-ofa-no-kd"]
SIDES = [Side(model="tiny", method=name, sparsity=0.85, bits=32) for name in ("prune-ofa", "finetune-pruning")]
NO_KD = Side(model="tiny", method="prune-ofa-no-kd", sparsity=0.85, bits=32)
MADE = Budget(study="mine", tokens=1e6, value=90.0, n=3, tasks=("sst2",))


def score(_: Study, cell: Cell) -> float:
    """By hand: prune-ofa is 1, 2 and 6 points above on the seeds 0, 1 and 2."""
    return 0.5 + cell.seed / 10 + (0.01, 0.02, 0.06)[cell.seed] * (cell.method == "prune-ofa")


def test_the_difference_is_paired_by_seed_and_conditional_on_one_pruning(make_study: Callable[..., Study]) -> None:
    study = make_study(methods=METHODS, tasks=["sst2"], sparsities=[0.85], seeds=[0, 1, 2])
    found = compared(numbers_of(study, score, {}), MADE, *SIDES)
    assert {seed: round(points, 9) for seed, points in found.by_seed.items()} == {0: 1.0, 1: 2.0, 2: 6.0}
    assert found.difference is not None
    # By hand: mean 3, s^2 = (4 + 1 + 9) / 2 = 7, t(2) = 4.3027: 3 -+ 4.3027 sqrt(7 / 3).
    assert found.difference.interval is not None
    assert found.difference.interval[:2] == pytest.approx((3 - 6.5724, 3 + 6.5724), abs=1e-3)
    assert (found.condition, found.why_not, found.no_interval) == ("one pruning", "", "")
    assert len(found.stage_ids) == 6


def test_without_equal_terms_a_task_or_seeds_the_reason_stands_in_its_place(make_study: Callable[..., Study]) -> None:
    study = make_study(methods=METHODS, tasks=["sst2"], sparsities=[0.85], seeds=[0, 1])
    numbers = numbers_of(study, score, {})
    assert compared(numbers, MADE, NO_KD, SIDES[1]).why_not == "not on equal terms (distillation)"
    lacking = Budget(study="mine", tokens=1e6, value=90.0, n=3, tasks=("sst2", "qqp"))
    assert compared(numbers, lacking, *SIDES).why_not == "nothing to compare with on qqp"
    assert compared(numbers, MADE, SIDES[0], Side(model="tiny", method="x", sparsity=0.85, bits=32)).difference is None
    assert compared(numbers, MADE, *SIDES).no_interval == "n = 2: three seeds are needed"


def test_at_one_budget_it_is_what_a_claim_about_that_model_and_sparsity_says() -> None:
    """By another road: the committed study, asked as a claim of one's own."""
    numbers = read_numbers(Store(Path(__file__).parents[3] / "results" / "quick"), "quick")
    tasks = tuple(dict.fromkeys(row.task for row in numbers.rows))
    of = {"model": "tiny-wide", "sparsity": 0.9, "bits": 32}
    one, other = (Side(method=name, **of) for name in ("prune-ofa", "finetune-pruning"))  # type: ignore[arg-type]
    found = compared(numbers, Budget(study="quick", tokens=1e6, value=90.0, n=5, tasks=tasks), one, other)
    claimed = Above(one=one, other=other).measure(numbers)
    assert found.difference == claimed.average
    assert found.by_seed == claimed.by_seed
    assert found.condition == claimed.condition
