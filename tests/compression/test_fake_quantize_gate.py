"""Which entries pass a gradient: exactly those whose unclipped code is in range, to the last float beside the edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.compression import quantization
from harness.compression.quantization import fake_quantize

RANGES = [(0, 255), (-127, 127), (-128, 127)]
CASES = [(draw, qmin, qmax) for draw in range(40) for qmin, qmax in RANGES]


def gradient(x: Tensor, scale: Tensor, zero_point: Tensor | int, qmin: int, qmax: int) -> list[float]:
    x = x.clone().requires_grad_(True)
    fake_quantize(x, scale, zero_point, qmin, qmax).backward(torch.full_like(x, -3.0))
    assert x.grad is not None
    return x.grad.tolist()


def expected(x: Tensor, scale: Tensor, zero_point: Tensor | int, qmin: int, qmax: int) -> list[float]:
    """By the definition: round(x * (1 / scale)) + zero_point, and two comparisons."""
    code = torch.round(x * (1 / scale.to(x.dtype))) + zero_point
    return torch.where((code >= qmin) & (code <= qmax), -3.0, 0.0).tolist()


def beside_the_edges(scale: float, zero_point: int, qmin: int, qmax: int, dtype: torch.dtype) -> Tensor:
    """The thirteen floats around each end of the range."""
    number = np.float64 if dtype == torch.float64 else np.float32
    found = []
    for end in (qmin - 0.5 - zero_point, qmax + 0.5 - zero_point):
        at = number(end * scale)
        for _ in range(6):
            at = np.nextafter(at, number(-np.inf))
        for _ in range(13):
            found.append(float(at))
            at = np.nextafter(at, number(np.inf))
    return torch.tensor(found, dtype=dtype)


@pytest.mark.oracle("O32")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gate_is_exact_to_the_last_float(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    sides = set()
    for _, qmin, qmax in CASES:
        scale = torch.exp(torch.rand((), generator=draw) * 30 - 20)
        low = 0 if qmin < 0 else int(torch.randint(0, 256, (), generator=draw))
        zero_point = torch.tensor(low, dtype=torch.int32)
        x = beside_the_edges(float(scale), low, qmin, qmax, dtype)
        wanted = expected(x, scale, zero_point, qmin, qmax)
        assert gradient(x, scale, zero_point, qmin, qmax) == wanted
        sides |= {(-3.0 in part, 0.0 in part) for part in (wanted[:13], wanted[13:])}
    assert sides == {(True, True)}  # each dozen lies on both sides of its edge


@pytest.mark.oracle("O33")
@pytest.mark.parametrize("zero_point", [0, 3, 128, 255])
def test_values_and_gate_are_those_of_torchs_operator(zero_point: int) -> None:
    x = torch.randn(50_000, generator=torch.Generator().manual_seed(zero_point)) * 4
    scale, zero = torch.tensor(0.0217), torch.tensor(zero_point, dtype=torch.int32)
    ours, theirs = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    values = fake_quantize(ours, scale, zero, 0, 255)
    other = torch.fake_quantize_per_tensor_affine(theirs, scale, zero, 0, 255)
    assert torch.equal(values, other)
    weights = torch.randn(50_000, generator=torch.Generator().manual_seed(1))
    values.backward(weights)
    other.backward(weights)
    assert ours.grad is not None
    assert torch.equal(ours.grad, theirs.grad)
    assert 0 < int((ours.grad == 0).sum()) < 50_000


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_are_gated_as_the_fp32_numbers_that_they_are(dtype: torch.dtype) -> None:
    x = (torch.randn(5_000, generator=torch.Generator().manual_seed(2)) * 4).to(dtype)
    scale, zero = torch.tensor(0.0217), torch.tensor(128, dtype=torch.int32)
    found = gradient(x, scale, zero, 0, 255)
    assert found == expected(x.float(), scale, zero, 0, 255)
    assert {0.0, -3.0} == set(found)


@pytest.mark.parametrize(
    ("scale", "inside"),
    [
        (1.2e-38, [False, False, True, False, False]),
        (2e36, [False, True, True, True, True]),  # the upper end is beyond every float
        (3e38, [True, True, True, True, True]),
        (float("inf"), [True, True, True, True, True]),
    ],
)
def test_scales_at_the_ends_of_the_floats(scale: float, inside: list[bool]) -> None:
    x = torch.tensor([-3e38, -1e35, 0.0, 1e35, 3e38])
    low, high = (0, 255) if scale == 2e36 else (-127, 127)
    assert [each != 0 for each in gradient(x, torch.tensor(scale), 0, low, high)] == inside


def test_a_clipped_entry_passes_nothing_even_of_an_infinite_gradient() -> None:
    x = torch.tensor([0.0, 300.0], requires_grad=True)
    fake_quantize(x, torch.tensor(1.0), 0, 0, 255).backward(torch.tensor([2.0, torch.inf]))
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 0.0]


def test_a_tensor_that_does_not_lie_in_one_piece_is_gated_entry_by_entry() -> None:
    x = torch.randn(30, 20, generator=torch.Generator().manual_seed(3)).T * 200
    assert gradient(x, torch.tensor(1.0), 100, 0, 255) == expected(x, torch.tensor(1.0), 100, 0, 255)
    assert not x.is_contiguous()


def test_evaluation_looks_for_no_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    edges = quantization._edges
    monkeypatch.setattr(quantization, "_edges", lambda *arguments: asked.append(1) or edges(*arguments))
    x = torch.tensor([0.4, 300.0])
    assert fake_quantize(x, torch.tensor(1.0), 0, 0, 255).tolist() == [0.0, 255.0]
    assert asked == []
    gradient(x, torch.tensor(1.0), 0, 0, 255)
    assert asked == [1]
