"""What is measured becomes numbers and a page: best of rounds, the bound, ratios and goals, worked by hand."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
import torch
from pages import commands, pieces

from benchmarks import __main__ as command
from benchmarks import gpu
from benchmarks.fixed_cost import FixedCost
from benchmarks.matmul_rates import MatmulRates, operands
from benchmarks.matrix_product import MatrixProduct, Products
from benchmarks.observed import Observation, Step, best_of, spread
from benchmarks.report import Report
from benchmarks.throughput import ORDINARY, PADDED_NAME, STORED_KD, WITHOUT_KD, WORKLOADS, Throughput

SMALL = MatrixProduct(rows=5, inner=3, columns=7, layout="NT")  # 210 FLOPs
LARGE = MatrixProduct(batch=4, rows=5, inner=3, columns=7, layout="NN")  # 840


class FixedRates(MatmulRates):
    """A second for every product."""

    def _measure(self, product: MatrixProduct) -> float:
        return 1.0


def step(seconds: float, *products: MatrixProduct, live: int = 30, padded: int = 40) -> Step:
    return Step(seconds, examples=2, live_tokens=live, padded_tokens=padded, products=Products(products))


def rounds(*seconds: tuple[float, ...]) -> list[Observation]:
    return [Observation(lambda: 0.0, [step(each, SMALL) for each in one]) for one in seconds]


def throughput(name: str = ORDINARY, seconds: float = 5.0) -> Throughput:
    steps = [step(seconds - 1, SMALL, SMALL, LARGE), step(1.0, SMALL)]
    return Throughput.of(name, steps, FixedRates())


def fixed(kind: str, seconds: float) -> FixedCost:
    return FixedCost(kind=kind, seconds=seconds, training=1.0, scoring=0.5)


def test_the_bound_is_the_time_of_the_products_alone() -> None:
    found = throughput()
    assert (found.tokens, found.examples, found.steps) == (60, 4, 2)
    assert found.flops == 3 * 210 + 840
    assert found.bound_seconds == 4.0
    assert found.share_of_bound == pytest.approx(4 / 5)
    assert found.tokens_per_second == pytest.approx(60 / 5)
    assert found.bound_tokens_per_second == pytest.approx(60 / 4)
    assert found.seconds_per_example == pytest.approx(5 / 4)
    assert found.padding == pytest.approx(1 - 60 / 80)


def test_of_each_step_its_fastest_round_counts() -> None:
    assert [each.seconds for each in best_of(rounds((3.0, 1.0, 5.0), (2.0, 4.0, 6.0)))] == [2.0, 1.0, 5.0]


def test_rounds_that_met_other_batches_are_refused() -> None:
    other = Observation(lambda: 0.0, [step(1.0, live=31)])
    with pytest.raises(ValueError, match="the rounds met other batches"):
        best_of([Observation(lambda: 0.0, [step(1.0)]), other])


def test_batches_are_spread_over_the_epoch() -> None:
    """50 rows in batches of 4: twelve whole ones and a rest of 2; three of them from the middles of three thirds."""
    order = [row * 7 % 50 for row in range(50)]
    assert spread(order, 4, 3) == [*order[8:12], *order[24:28], *order[40:44]]
    assert spread(order, 4, 12) == order
    assert spread(order, 4, 99) == order


@pytest.mark.parametrize("layout", ["NN", "NT", "TN"])
def test_operands_lie_in_memory_as_the_layout_says(layout: Any) -> None:
    left, right = operands(MatrixProduct(batch=2, rows=5, inner=3, columns=7, layout=layout))
    assert (left.shape, right.shape) == ((2, 5, 3), (2, 3, 7))
    assert (left.is_contiguous(), right.is_contiguous()) == (layout != "TN", layout != "NT")
    assert torch.equal(left.mT.contiguous().mT, left)


def test_a_rate_is_the_best_try_of_one_product() -> None:
    """The clock ticks a second at every look: a run of R products takes 1 s, so that one takes 1 / R."""
    ticks = count()
    rates = MatmulRates(tries=3, try_seconds=4.0, clock=lambda: float(next(ticks)))
    assert rates.seconds({SMALL: 2, LARGE: 1}) == pytest.approx(3 / 4)
    asked = next(ticks)
    rates.seconds({SMALL: 5})
    assert next(ticks) == asked + 1  # a shape is measured once


def test_the_page_names_shares_ratio_goals_and_versions() -> None:
    report = Report(
        data="synthetic",
        rounds=3,
        throughputs=[throughput(), throughput(PADDED_NAME, seconds=20.0)],
        fixed_costs=[fixed("dense", 1.6), fixed("evaluation", 1.7), fixed("pairs", 9.0)],
    )
    assert report.padding_ratio == pytest.approx(4.0)
    text = report.as_text()
    assert "goal: 85% of the bound; met by 0 of 2" in text
    assert f"{PADDED_NAME}: 4.00 times the seconds per example; goal 3, met" in text
    assert "goal: 0.15 s beside steps and scoring; met by 1 of 2 kinds that have them" in text
    assert f"torch {torch.__version__.partition('+')[0]}" in text
    data = json.loads(json.dumps(report.as_json()))
    assert data["throughput"][0]["share_of_bound"] == pytest.approx(0.8)
    assert [cost["fixed"] for cost in data["fixed_cost"]] == pytest.approx([0.1, 0.2, 7.5])
    assert {"processor", "cores", "torch"} <= set(data["machine"])
    assert data["code"]["versions"]["torch"]


@pytest.mark.parametrize(("seconds", "verdict"), [(5.2, "met"), (5.3, "not met")])
def test_the_page_says_what_distilling_from_stored_logits_costs(seconds: float, verdict: str) -> None:
    """Of 5 s for the same examples without distillation: 1.04 and 1.06."""
    measured = [throughput(STORED_KD, seconds=seconds), throughput(WITHOUT_KD)]
    report = Report(data="synthetic", rounds=1, throughputs=measured, fixed_costs=[])
    assert report.stored_kd_ratio == pytest.approx(seconds / 5)
    line = f"{STORED_KD}: {seconds / 5:.3f} times the seconds per example of {WITHOUT_KD}; goal at most 1.05, {verdict}"
    assert line in report.as_text()
    assert report.as_json()["stored_kd_ratio"] == report.stored_kd_ratio
    assert Report(data="", rounds=1, throughputs=measured[:1], fixed_costs=[]).stored_kd_ratio is None


def test_the_page_does_not_name_a_ratio_that_was_not_measured() -> None:
    report = Report(data="synthetic", rounds=1, throughputs=[throughput()], fixed_costs=[])
    assert report.padding_ratio is None
    assert "times the seconds per example" not in report.as_text()


def test_data_that_are_not_there_and_names_of_nothing_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    assert command.main(["--only", "throughput", "--names", "no such training"]) == 2
    assert "There are: teacher preparation, " in capsys.readouterr().err
    assert command.main(["--only", "throughput", "--data", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["--rounds", "0"])


def test_the_programs_take_the_commands_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Of docs/benchmarks.md; what they would measure for minutes is made up."""
    monkeypatch.chdir(tmp_path)
    names: list[str] = []
    monkeypatch.setattr(command.throughput, "prepare", lambda folder, data, name: names.append(name))
    monkeypatch.setattr(command.throughput, "measure", lambda prepared, rounds, rates: [throughput()])
    monkeypatch.setattr(command.ratios, "measure", lambda rounds: [])
    programs = {"benchmarks": command.main, "benchmarks.gpu": gpu.main}
    lines = [piece.text for piece in pieces("docs/benchmarks.md") if piece.text.startswith("python -m ")]
    for line in lines:
        ((_, _, program, *words),) = commands(line)
        if "--help" in words:
            with pytest.raises(SystemExit, match="^0$"):
                programs[program](words)
        else:
            assert programs[program](words) == 0, line
    assert len(lines) == 3
    assert [any(name in workload.name for workload in WORKLOADS) for name in names] == [True]
    assert (tmp_path / "ratios.json").is_file()
