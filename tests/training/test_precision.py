"""Precision: what bf16 and tf32 change, what they leave, and where they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from method_bench import Bench, Made, with_values
from safetensors.torch import load_file
from torch import nn
from toy_training import toy_config
from transformers import BertForSequenceClassification

from harness.compression.quantization import quantize_linears
from harness.stages.evaluation import predict
from harness.training.precision import forward_in, in_precision, matrix_products

CPU = torch.device("cpu")
OBJECTIVE: Any = lambda model, inputs, full_batch=None: model(inputs["attention_mask"])  # noqa: E731
BAND = 0.001  # of the fp32 loss, four times what was measured (0.00025); one product is off by up to 2^-8 = 0.004


@pytest.fixture
def products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


# -- where a value is known without a run


def test_fp32_is_the_objective_itself() -> None:
    assert in_precision(OBJECTIVE, "fp32") is OBJECTIVE
    assert in_precision(OBJECTIVE, "tf32") is OBJECTIVE


def test_bf16_rounds_the_operands_of_a_product_and_leaves_weight_and_gradient_fp32() -> None:
    """1 + 2^-9 is the nearest fp32 to itself and 1.0 in bfloat16, by hand: 8 bits of significand."""
    linear = nn.Linear(1, 1, bias=False)
    nn.init.ones_(linear.weight)
    x = torch.tensor([[1 + 2**-9]])
    exact = in_precision(OBJECTIVE, "fp32")(linear, {"attention_mask": x})
    near = in_precision(OBJECTIVE, "bf16")(linear, {"attention_mask": x})
    assert (exact.item(), near.item()) == (1 + 2**-9, 1.0)
    near.float().sum().backward()
    assert linear.weight.dtype == linear.weight.grad.dtype == torch.float32  # type: ignore[union-attr]
    assert linear.weight.grad.item() == 1.0  # type: ignore[union-attr]


def test_what_was_set_before_comes_back(products: None) -> None:
    torch.set_float32_matmul_precision("medium")
    with matrix_products("fp32", CPU):
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "medium"


def test_a_quantised_layer_stays_on_its_grid_under_bf16() -> None:
    """Its product is of codes times scales, which bfloat16 cannot hold: the answer is that of fp32, bit for bit."""
    torch.manual_seed(0)
    linear, x = nn.Linear(16, 8), torch.randn(4, 16)
    answers = []
    for precision in ("fp32", "bf16"):
        model = nn.Sequential(nn.Linear(16, 8))
        model[0].load_state_dict(linear.state_dict())
        quantize_linears(model, ["0"], fp32_output_names=["0"])
        with forward_in(precision, CPU):
            answers.append(model(x))
    assert torch.equal(*answers)
    with forward_in("bf16", CPU):
        assert linear(x).dtype == torch.bfloat16


# -- where it is refused


def test_tf32_is_refused_on_a_cpu_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"precision=tf32 needs an NVIDIA GPU .* a CPU\. .*common\.precision=fp32"):
        matrix_products("tf32", CPU).__enter__()


@pytest.mark.parametrize(("capability", "is_refused"), [((7, 5), True), ((8, 0), False), ((9, 0), False)])
def test_tf32_needs_an_ampere(
    monkeypatch: pytest.MonkeyPatch, products: None, capability: tuple[int, int], is_refused: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    entered = matrix_products("tf32", torch.device("cuda"))
    if is_refused:
        with pytest.raises(ValueError, match=r"this stage runs on Card \(7\.5\)"):
            entered.__enter__()
    else:
        with entered:
            assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.parametrize("is_supported", [False, True])
def test_bf16_needs_a_card_that_has_it(monkeypatch: pytest.MonkeyPatch, products: None, is_supported: bool) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_supported)
    entered = matrix_products("bf16", torch.device("cuda"))
    if is_supported:
        with entered:
            return
    with pytest.raises(ValueError, match="precision=bf16 needs"):
        entered.__enter__()


# -- whole stages, each from the same fp32 parents


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.at(tmp_path_factory.mktemp("bench"), "bert")


def made(bench: Bench, kind: str, precision: str, **values: Any) -> Made:
    """What Prune OFA's stage of this kind makes."""
    plan = bench.plan("prune-ofa", quantization="none" if kind == "evaluation" else "int8")
    spec = next(spec for spec in plan.stages.values() if spec.kind == kind)
    return bench.make(with_values(spec, precision=precision, **values))


@pytest.mark.slow
def test_fifty_steps_of_pruning_in_bf16_are_within_a_band_of_fp32s(bench: Bench) -> None:
    exact, near = (made(bench, "student_pruning", each, steps=50) for each in ("fp32", "bf16"))
    curves = [[point["loss"] for point in stage.result.details["training"]["loss_curve"]] for stage in (exact, near)]
    assert len(curves[0]) == 10
    apart = [abs(a - b) / a for a, b in zip(*curves, strict=True)]
    print(apart)
    assert 0 < max(apart) < BAND


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["student_pruning", "transfer", "quantization"])
def test_zeros_are_counted_alike_and_locked_ones_stay_in_their_places(bench: Bench, kind: str) -> None:
    exact, near = (made(bench, kind, each) for each in ("fp32", "bf16"))
    assert near.sparsity["zeros_by_matrix"] == exact.sparsity["zeros_by_matrix"]
    assert near.sparsity["encoder_zeros"] > 0
    if kind != "student_pruning":
        assert near.sparsity["pattern_sha256"] == exact.sparsity["pattern_sha256"]
    if kind == "quantization":
        codes = load_file(near.artifact / "int8.safetensors")
        zeros = bench.pattern(made(bench, "transfer", "fp32").weights)
        assert all(not codes[f"{name}.codes"][~kept].any() for name, kept in zeros.items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["teacher_preparation", "student_pruning", "dense", "transfer"])
def test_what_is_saved_is_fp32_and_not_what_fp32_gives(bench: Bench, kind: str) -> None:
    exact, near = (made(bench, kind, each).weights for each in ("fp32", "bf16"))
    assert {weight.dtype for weight in near.values() if weight.is_floating_point()} == {torch.float32}
    assert not all(torch.equal(weight, exact[name]) for name, weight in near.items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["student_pruning", "transfer", "quantization"])
def test_a_stage_stopped_twice_ends_as_the_one_that_was_not_bit_for_bit(bench: Bench, kind: str) -> None:
    whole = made(bench, kind, "bf16")
    assert whole.steps >= 3
    assert bench.run(whole.spec, stops=[1, whole.steps - 1]).digest == whole.digest


def test_scoring_has_a_precision_of_its_own() -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(toy_config()).eval()
    rows = {"input_ids": torch.randint(5, 20, (6, 8)).tolist(), "attention_mask": [[1] * 8] * 6, "length": [8] * 6}

    def logits(precision: str) -> np.ndarray:
        return np.stack(predict(model, datasets.Dataset.from_dict(rows), _stacked, 4, precision=precision)["logits"])

    exact, near = logits("fp32"), logits("bf16")
    assert np.array_equal(exact, np.stack(predict(model, datasets.Dataset.from_dict(rows), _stacked, 4)["logits"]))
    assert 0 < np.abs(near - exact).max() < 0.05 * np.abs(exact).max()


def _stacked(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([row[name] for row in rows]) for name in ("input_ids", "attention_mask")}
