"""Ratios of two forms: medians and verdicts by hand, forms in turn, and the peers' model beside ours."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from benchmarks import __main__ as command
from benchmarks import ratios
from benchmarks.peer_quantization import PEERS, PeerLinear, quantize_with_peer
from benchmarks.ratios import Ratio, interleaved
from benchmarks.report import Report
from harness.compression.mask import magnitude_mask
from harness.compression.quantization import quantize_linears


def ratio(form: tuple[float, ...], other: tuple[float, ...], **options: object) -> Ratio:
    names = {"what": "step", "form": "ours", "other": "theirs"}
    return Ratio(**names, form_seconds=form, other_seconds=other, **options)  # type: ignore[arg-type]


def test_the_median_of_each_rounds_own_ratio_counts() -> None:
    """A slow round of both is a ratio like any other: 2/1, 30/10, 4/4. The medians alone would give 4/4."""
    found = ratio((2.0, 30.0, 4.0), (1.0, 10.0, 4.0), goal=2.0)
    assert found.value == 2.0
    assert found.verdict == "at most 2: met"
    assert ratio((2.0, 30.0, 4.0), (1.0, 10.0, 4.0), goal=1.9).verdict == "at most 1.9: not met"
    fast = ratio((1.0, 1.0, 1.0), (8.0, 9.0, 7.0), goal=8.0, bound="least")
    assert (fast.value, fast.verdict) == (8.0, "at least 8: met")
    assert ratio((1.0,), (7.9,), goal=8.0, bound="least").verdict == "at least 8: not met"
    assert ratio((1.0,), (2.0,)).verdict == ""


def test_forms_take_turns_and_the_first_round_does_not_count() -> None:
    called, now = [], [0.0]

    def form(name: str, seconds: list[float]) -> None:
        called.append(name)
        now[0] += seconds.pop(0)

    times = {"a": [9.0, 1.0, 2.0], "b": [9.0, 3.0, 4.0]}
    forms = {name: lambda name=name: form(name, times[name]) for name in times}
    assert interleaved(forms, 2, lambda: now[0]) == {"a": (1.0, 2.0), "b": (3.0, 4.0)}
    assert called == ["a", "b"] * 3


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratios, "LAYERS", 1)
    monkeypatch.setattr(ratios, "HIDDEN", 32)
    monkeypatch.setattr(ratios, "BATCH", 2)
    monkeypatch.setattr(ratios, "BERT_BASE", ((8, 8), (8, 32)))


def test_every_goal_of_the_page_is_measured(small: None) -> None:
    found = ratios.measure(1)
    goals = [(each.form, each.other, each.goal, each.bound) for each in found if each.goal is not None]
    quantized = [("QAT step", f"torch.ao {peer}", 0.8, "most") for peer in PEERS]
    assert goals == [
        ("locked step", "plain step", 1.02, "most"),
        ("pruning step, shadow weights", "plain step", 1.08, "most"),
        *quantized,
        *quantized,
        ("mask update, local ranking", "torch.kthvalue and a comparison", 8.0, "least"),
        ("mask update, global ranking", "torch.kthvalue and a comparison", 8.0, "least"),
    ]
    assert {each.what for each in found[2:10]} == {
        "step, 1 layers of 32, 2 x 32 tokens",
        "step, 1 layers of 32, 2 x 12 tokens",
    }
    assert found[-1].what == "masks of BERT-Base, 2 matrices, 90%"


def test_the_shapes_are_those_of_bert_base() -> None:
    assert len(ratios.BERT_BASE) == 72
    assert sum(rows * columns for rows, columns in ratios.BERT_BASE) == 84_934_656


def test_the_road_to_beat_gives_the_same_mask_where_nothing_ties() -> None:
    weight = torch.randperm(6000, generator=torch.Generator().manual_seed(0)).reshape(60, 100) - 6000.5
    assert torch.equal(ratios._kthvalue_mask(weight).reshape(60, 100), magnitude_mask(weight, ratios.SPARSITY))


@pytest.mark.parametrize("peer", PEERS)
def test_the_peers_model_rounds_where_ours_does_and_gives_nearly_its_numbers(peer: str) -> None:
    def made() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))

    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    ours, theirs, plain = made(), made(), made()
    quantize_linears(ours, ["0", "2"], fp32_output_names=["2"])
    quantize_with_peer(theirs, ["0", "2"], fp32_output_names=["2"], peer=peer)
    assert [type(module) for module in theirs] == [PeerLinear, nn.Tanh, PeerLinear]
    assert [module.output_rounding is None for module in theirs if isinstance(module, PeerLinear)] == [False, True]
    exact = plain(x)
    error = (ours(x) - exact).abs().max()
    assert 0 < error < 0.05
    assert 0 < (theirs(x) - ours(x)).abs().max() <= 2 * error


def test_the_page_shows_ratios_with_goals_and_the_record_has_every_round() -> None:
    found = [
        ratio((0.2, 0.3), (0.1, 0.1), goal=3.0),
        ratio((0.1, 0.1), (0.5, 0.7), goal=8.0, bound="least"),
        ratio((1.0, 1.0), (2.0, 2.0)),
    ]
    report = Report(data="synthetic", rounds=3, throughputs=[], fixed_costs=[], ratios=found)
    text = report.as_text()
    assert text.startswith("what recurs, beside the form to beat")
    assert "at most 3: met" in text
    assert "6.0 times as fast  at least 8: not met" in " ".join(text.split("\n")).replace("   ", "  ")
    assert "medians of 2 rounds; met: 1 of 2" in text
    data = json.loads(json.dumps(report.as_json()))["ratios"]
    assert [each["value"] for each in data] == pytest.approx([2.5, 6.0, 0.5])
    assert data[0]["form_seconds"] == [0.2, 0.3]


def test_ratios_can_be_measured_alone(small: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "ratios", "--rounds", "1"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("what recurs")
    assert "medians of 3 rounds" in page
