"""8-bit Linears: hand-worked grids, torch's operators, exact integer loops and whole models in double precision."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toy_training import BERT_LAYER
from transformers import BertConfig, BertForSequenceClassification

from harness.compression.mask import magnitude_mask
from harness.compression.quantization import (
    FrozenQuantizedLinear,
    QuantizedLinear,
    RangeObserver,
    ScaleRule,
    activate_fake_quantization,
    affine_parameters,
    dequantize,
    dequantize_linears,
    dyadic_multiplier,
    fake_quantize,
    freeze,
    int8_zero_counts,
    load_frozen,
    observed_as_one_batch,
    quantize_linears,
    quantize_weight,
    weight_scale,
)
from harness.compression.sparsify import attach_masks, lock_pattern, remove_masks, update_masks, zero_counts

BERT_FP32_OUTPUT = ("value", "output.dense", "classifier")


@pytest.mark.oracle("O29")
def test_weight_scale_and_codes_by_hand() -> None:
    weight = torch.tensor([-1.0, 0.0, 0.5, 1.27])
    scale = weight_scale(weight)
    assert scale.item() == pytest.approx(0.01, rel=1e-6)
    codes = quantize_weight(weight, scale)
    assert codes.dtype == torch.int8
    assert codes.tolist() == [-100, 0, 50, 127]
    assert torch.allclose(dequantize(codes, scale), weight, rtol=1e-6)


@pytest.mark.oracle("O29")
def test_the_released_scale_clamps_the_largest_positive_weight_and_stops_its_gradient() -> None:
    weight = torch.tensor([-1.0, 0.0, 0.5, 1.27], requires_grad=True)
    scale = weight_scale(weight, rule="ref_max127_5")
    assert scale.item() == pytest.approx(1.27 / 127.5, rel=1e-6)
    codes = quantize_weight(weight, scale, rule="ref_max127_5")
    assert codes.tolist() == [-100, 0, 50, 127]
    assert dequantize(codes, scale)[3].item() == pytest.approx(1.26502, abs=5e-6)
    fake_quantize(weight, scale, 0, -128, 127).sum().backward()
    assert weight.grad.tolist() == [1, 1, 1, 0]


def layer_of(weight: list[float], rule: ScaleRule) -> QuantizedLinear:
    """One output; inputs of ones are exact codes, so that the output is the sum of the rounded weights."""
    linear = nn.Linear(len(weight), 1, bias=False)
    linear.weight.data.copy_(torch.tensor([weight]))
    return QuantizedLinear.from_linear(linear, requantize_output=False, scale_rule=rule)


@pytest.mark.oracle("O29")
@pytest.mark.parametrize(("rule", "gradient"), [("max127", [1.0, 1, 1, 1]), ("ref_max127_5", [1.0, 1, 1, 0])])
def test_a_layer_has_the_scale_the_codes_and_the_gradient_of_its_rule(rule: ScaleRule, gradient: list[float]) -> None:
    """The oracle's weights in a layer: SPEC sums to .77 exactly, REF to .77 with its own scale of 1.27 / 127.5."""
    layer = layer_of([-1.0, 0.0, 0.5, 1.27], rule)
    output = layer(torch.ones(1, 4))
    scale = 0.01 if rule == "max127" else 1.27 / 127.5
    assert output.item() == pytest.approx((-100 + 50 + 127) * scale, rel=1e-6)
    output.sum().backward()
    assert layer.weight.grad.tolist() == [gradient]
    frozen = freeze(nn.Sequential(layer))
    assert frozen["0.codes"].tolist() == [[-100, 0, 50, 127]]
    assert frozen["0.weight_scale"].item() == pytest.approx(scale, rel=1e-6)
    lowest = layer_of([-1.27, 0.0], rule)  # -127 under SPEC, and -127.5, half to even -128, under REF
    lowest(torch.ones(1, 2)).sum().backward()
    assert freeze(nn.Sequential(lowest))["0.codes"].tolist() == [[-127 if rule == "max127" else -128, 0]]
    assert lowest.weight.grad.tolist() == [[1, 1]]


@pytest.mark.oracle("O29")
def test_the_released_range_is_the_largest_so_far_and_the_specified_one_that_of_now() -> None:
    """|W| of at most 1.27, .5, 2.54: the release's range never shrinks, and is one update behind at the end."""
    ends = {}
    for rule in ("ref_max127_5", "max127"):
        layer = layer_of([-1.0, 1.27], rule)  # type: ignore[arg-type]
        model, found = nn.Sequential(layer), []
        for weight in ([-1.0, 1.27], [-0.5, 0.25], [0.1, -2.54], [0.1, 5.0]):
            layer.weight.data.copy_(torch.tensor([weight]))
            if weight[1] != 5.0:  # the last weights are those after the last update: no training forward sees them
                model(torch.ones(1, 2))
                found.append(freeze(model)["0.weight_scale"].item())
        ends[rule] = [*found, freeze(model)["0.weight_scale"].item()]
        assert freeze(model)["0.codes"].tolist() == [[3 if rule == "max127" else 5, 127]]  # .1 / (5/127), .1 / .01992
    assert ends["ref_max127_5"] == pytest.approx([largest / 127.5 for largest in (1.27, 1.27, 2.54, 2.54)])
    assert ends["max127"] == pytest.approx([largest / 127 for largest in (1.27, 0.5, 2.54, 5.0)])


def test_the_released_range_is_saved_loaded_and_left_alone_by_evaluation() -> None:
    layer, other = layer_of([-1.0, 1.27], "ref_max127_5"), layer_of([0.3, 0.2], "ref_max127_5")
    with pytest.raises(RuntimeError, match="the range of a weight was never observed: run at least one batch"):
        other.eval()(torch.ones(1, 2))
    with pytest.raises(RuntimeError, match="the range of a weight was never observed"):
        freeze(nn.Sequential(other))
    layer(torch.ones(1, 2))
    layer.weight.data.mul_(100)
    layer.eval()(torch.ones(1, 2))
    layer.train().weight.data[0, 0] = float("nan")
    layer(torch.ones(1, 2))
    assert layer.weight_observer is not None
    assert layer.weight_observer.largest.item() == pytest.approx(1.27)
    layer.weight.data[0, 0] = 1.0
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.eval()(torch.ones(1, 2)), layer.eval()(torch.ones(1, 2)))
    assert layer_of([1.0], "max127").state_dict().keys() == {
        "weight",
        *(f"input_observer.{name}" for name in ("minimum", "maximum", "initialised")),
    }


def test_a_layer_at_rest_is_the_plain_linear_and_observes_nothing() -> None:
    layer = layer_of([-1.0, 0.3], "ref_max127_5")
    model, x = nn.Sequential(layer), torch.tensor([[0.123, 0.456]])
    assert activate_fake_quantization(model, False) == 1
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight))
    assert not layer.input_observer.initialised
    assert not layer.weight_observer.initialised  # type: ignore[union-attr]
    activate_fake_quantization(model, True)
    assert not torch.equal(layer(x), nn.functional.linear(x, layer.weight))
    assert layer.input_observer.initialised


def test_the_largest_weight_keeps_its_gradient_under_the_default_scale() -> None:
    for seed in range(50):
        weight = torch.randn(40, generator=torch.Generator().manual_seed(seed), requires_grad=True)
        fake_quantize(weight, weight_scale(weight), 0, -127, 127).sum().backward()
        assert weight.grad.tolist() == [1.0] * 40


def test_zero_and_tiny_weights_have_a_usable_scale() -> None:
    assert weight_scale(torch.zeros(2, 2)).item() == 1.0
    assert quantize_weight(torch.zeros(2, 2), torch.tensor(1.0)).tolist() == [[0, 0], [0, 0]]
    assert weight_scale(torch.tensor([1e-45])).item() > 0
    assert weight_scale(torch.tensor([1.27], dtype=torch.float64)).dtype == torch.float32


@pytest.mark.oracle("O30")
def test_affine_grid_by_hand() -> None:
    scale, zero_point = affine_parameters(torch.tensor(-1.0), torch.tensor(3.0))
    assert scale.item() == pytest.approx(4 / 255)
    assert zero_point.item() == 64
    x = torch.tensor([-1.0, 0.0, 3.0, 1.5])
    codes = fake_quantize(x, scale, zero_point, 0, 255) / scale + zero_point
    assert codes.round().tolist() == [0, 64, 255, 160]
    assert fake_quantize(x, scale, zero_point, 0, 255)[1].item() == 0.0


@pytest.mark.oracle("O30")
def test_observed_range_is_the_first_batch_then_moves_by_a_hundredth() -> None:
    observer = RangeObserver()
    observer(torch.tensor([-1.0, 0.5, 3.0]))
    assert (observer.minimum.item(), observer.maximum.item()) == (-1.0, 3.0)
    _, zero_point = observer(torch.tensor([[-2.0, 5.0]]))
    assert observer.minimum.item() == pytest.approx(-1.01)
    assert observer.maximum.item() == pytest.approx(3.02)
    assert zero_point.item() == 64


def test_a_batch_observed_in_parts_moves_the_range_as_the_whole_batch_does() -> None:
    """First batch [-1, 3]; then -2 and 5 arrive in two parts: one step of a tenth towards [-2, 5], not two steps."""
    observer = RangeObserver(momentum=0.1)
    with observed_as_one_batch(observer):
        observer(torch.tensor([-1.0, 0.5]))
        assert (observer.minimum.item(), observer.maximum.item()) == (-1.0, 0.5)
        observer(torch.tensor([0.0, 3.0]))
    assert (observer.minimum.item(), observer.maximum.item()) == (-1.0, 3.0)
    with observed_as_one_batch(observer):
        observer(torch.tensor([-2.0, 1.0]))
        observer(torch.tensor([0.0, 5.0]))
    assert observer.minimum.item() == pytest.approx(-1.1)
    assert observer.maximum.item() == pytest.approx(3.2)
    observer(torch.tensor([-1.1, 4.2]))  # the block is over: a batch by itself
    assert observer.maximum.item() == pytest.approx(3.3)


def test_one_part_that_is_not_finite_leaves_the_range_as_it_was_before_the_batch() -> None:
    observer = RangeObserver(momentum=0.1)
    observer(torch.tensor([-1.0, 3.0]))
    with observed_as_one_batch(observer):
        for part in ([-9.0, 9.0], [0.0, float("nan")], [-9.0, 9.0]):
            observer(torch.tensor(part))
    assert (observer.minimum.item(), observer.maximum.item()) == (-1.0, 3.0)
    fresh = RangeObserver()
    with observed_as_one_batch(fresh):
        fresh(torch.tensor([0.0, 1.0]))
        fresh(torch.tensor([float("inf")]))
    assert not fresh.initialised


def test_momentum_one_follows_the_last_batch_and_reaches_every_observer() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    quantize_linears(model, ["0"], fp32_output_names=[], range_momentum=1.0)
    model(torch.tensor([-9.0, 9.0]))
    model(torch.tensor([-0.5, 0.25]))
    assert (model[0].input_observer.minimum.item(), model[0].input_observer.maximum.item()) == (-0.5, 0.25)
    assert model[0].output_observer.momentum == 1.0
    with pytest.raises(ValueError, match=r"momentum=0: expected a share in \(0, 1\]"):
        RangeObserver(momentum=0)


@pytest.mark.oracle("O30")
@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"), [(1, 3, 3 / 255, 0), (-3, -1, 3 / 255, 255), (0, 0, 1, 0)]
)
def test_a_range_is_widened_to_contain_zero(low: float, high: float, scale: float, zero_point: int) -> None:
    found = affine_parameters(torch.tensor(float(low)), torch.tensor(float(high)))
    assert found[0].item() == pytest.approx(scale)
    assert found[1].item() == zero_point


@pytest.mark.oracle("O31")
def test_halves_round_to_even() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert fake_quantize(x, torch.tensor(1.0), 0, -127, 127).tolist() == [0, 2, 2, 0, -2]
    assert quantize_weight(x, torch.tensor(1.0)).tolist() == [0, 2, 2, 0, -2]


@pytest.mark.oracle("O32")
def test_gradient_passes_only_inside_the_range_of_unclipped_codes() -> None:
    x = torch.tensor([-2.0, 0.0, 300.0, 255.4, 255.6, -0.4, -0.6], requires_grad=True)
    (3 * fake_quantize(x, torch.tensor(1.0), 0, 0, 255)).sum().backward()
    assert x.grad.tolist() == [0, 3, 0, 3, 0, 3, 0]


@pytest.mark.oracle("O32")
def test_gradient_gate_is_that_of_torch() -> None:
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * 3
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    scale, zero_point = torch.tensor(4 / 255), torch.tensor(64, dtype=torch.int32)
    fake_quantize(ours, scale, zero_point, 0, 255).sum().backward()
    torch.fake_quantize_per_tensor_affine(theirs, scale, zero_point, 0, 255).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)
    assert 0.1 < ours.grad.mean() < 0.9


@pytest.mark.oracle("O33")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_fake_quantisation_is_torchs_quantise_then_dequantise() -> None:
    x = torch.randn(2_000_000, generator=torch.Generator().manual_seed(1))
    scale = weight_scale(x)
    ours = fake_quantize(x, scale, 0, -127, 127)
    theirs = torch.quantize_per_tensor(x, scale.item(), 0, torch.qint8)
    assert torch.equal(ours, theirs.dequantize())
    assert torch.equal(quantize_weight(x, scale), theirs.int_repr())
    assert torch.equal(ours, dequantize(quantize_weight(x, scale), scale))
    assert not ((ours == 0) & ours.signbit()).any()


@pytest.mark.oracle("O33")
def test_integer_layer_is_a_loop_over_python_integers() -> None:
    model = _trained_stack(seed=2)
    tensors = freeze(model)
    load_frozen(model, tensors, arithmetic="integer")
    layer = model.double().get_submodule("0")
    x = _inputs(seed=3)[:5].double()
    s_x, s_w = float(tensors["0.input_scale"]), float(tensors["0.weight_scale"])
    s_y, z_y = float(tensors["0.output_scale"]), int(tensors["0.output_zero_point"])
    z_x, bias = int(tensors["0.input_zero_point"]), tensors["0.bias_codes"].tolist()
    n = math.floor(15 - math.log2(s_x * s_w / s_y))
    a = round(s_x * s_w / s_y * 2**n)
    for row, found in zip(x.tolist(), layer(x).tolist(), strict=True):
        q_x = [min(max(round(value / s_x) + z_x, 0), 255) for value in row]
        for q_w, b, y in zip(tensors["0.codes"].tolist(), bias, found, strict=True):
            accumulator = sum((q - z_x) * w for q, w in zip(q_x, q_w, strict=True)) + b
            code = min(max(round(accumulator * a / 2**n) + z_y, 0), 255)
            assert y == pytest.approx((code - z_y) * s_y, abs=1e-12)


@pytest.mark.oracle("O33")
def test_integer_and_dequantised_arithmetic_agree_on_a_stack_in_double() -> None:
    model = _trained_stack(seed=4)
    tensors = freeze(model)
    assert {key for key in tensors if "output" in key} == {"0.output_scale", "0.output_zero_point"}
    x = _inputs(seed=5).double()
    outputs = _both_arithmetics(model, tensors, lambda frozen: frozen(x))
    assert (outputs["integer"] - outputs["dequantised"]).abs().max() < 1e-9
    assert outputs["integer"].unique().numel() > 50


@pytest.mark.oracle("O33")
def test_integer_and_dequantised_arithmetic_agree_on_the_logits_of_a_small_bert_in_double() -> None:
    model, tokens = _quantised_bert(seed=6), _tokens(seed=7)
    tensors = freeze(model)
    assert sum(key.endswith(".codes") for key in tensors) == 14
    assert sum(key.endswith(".output_scale") for key in tensors) == 7  # query, key, intermediate of 2 layers; pooler
    outputs = _both_arithmetics(model, tensors, lambda frozen: frozen(**tokens).logits)
    assert (outputs["integer"] - outputs["dequantised"]).abs().max() < 1e-9
    assert outputs["integer"].dtype == torch.float64
    assert outputs["integer"].std() > 1e-2
    with torch.no_grad():
        trained = model.eval()(**tokens).logits
    assert (outputs["integer"] - trained).abs().max() < 0.2 * trained.std()


def test_frozen_layers_stay_close_to_the_trained_ones_in_fp32() -> None:
    model = _trained_stack(seed=8)
    x = _inputs(seed=9)
    with torch.no_grad():
        trained = model.eval()(x)
        for arithmetic in ("dequantised", "integer"):
            frozen = copy.deepcopy(model)
            load_frozen(frozen, freeze(model), arithmetic=arithmetic)  # type: ignore[arg-type]
            assert (frozen(x) - trained).abs().max() < 0.05 * trained.std()
            assert frozen(x).dtype == torch.float32


def test_frozen_layer_answers_in_the_dtype_of_its_input_and_ignores_autocast() -> None:
    model = _trained_stack(seed=10)
    load_frozen(model, freeze(model))
    x = _inputs(seed=11)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = model[0](x)
    assert torch.equal(inside, model[0](x))
    assert model[0](x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.oracle("O34")
def test_every_fp32_zero_is_an_int8_zero_and_right_after_pruning_there_are_no_others() -> None:
    torch.manual_seed(12)
    model = nn.Sequential(nn.Linear(256, 128))
    nn.init.normal_(model[0].weight, std=0.042)
    quantize_linears(model, ["0"], fp32_output_names=["0"])
    attach_masks(model, ["0"])
    update_masks(model, 0.9)
    model(torch.randn(4, 256))
    remove_masks(model)
    tensors = freeze(model)
    zero = model[0].weight == 0
    assert (tensors["0.codes"][zero] == 0).all()
    assert int8_zero_counts(tensors) == zero_counts(model, ["0"]) == {"0": (29_491, 32_768)}


@pytest.mark.oracle("O34")
def test_locked_and_quantised_training_learns_and_keeps_its_zeros() -> None:
    model, accuracy = _locked_quantised_classifier(seed=13)
    pattern = model[0].weight == 0
    remove_masks(model)
    assert torch.equal(model[0].weight == 0, pattern)
    tensors = freeze(model)
    assert (tensors["0.codes"][pattern] == 0).all()
    zeros, numel = int8_zero_counts(tensors)["0"]
    extra = zeros - int(pattern.sum())
    assert 0 <= extra <= 0.05 * numel  # survivors that training brought below half a code
    x, y = _classification_data(seed=14)
    load_frozen(model, tensors)
    assert accuracy > 0.85
    assert (model(x).argmax(dim=1) == y).float().mean().item() == pytest.approx(accuracy, abs=0.02)


@pytest.mark.oracle("O35")
def test_evaluation_leaves_every_range_as_it_was() -> None:
    model = _trained_stack(seed=15).eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    first = model(_inputs(seed=16))
    model(100 * _inputs(seed=17))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert torch.equal(model(_inputs(seed=16)), first)
    model.train()(100 * _inputs(seed=17))
    assert not torch.equal(model.state_dict()["0.input_observer.maximum"], before["0.input_observer.maximum"])


def test_ranges_survive_a_state_dict_round_trip() -> None:
    model, fresh = _trained_stack(seed=18), _stack(seed=19)
    fresh.load_state_dict(model.state_dict())
    x = _inputs(seed=20)
    assert torch.equal(fresh.eval()(x), model.eval()(x))


def test_an_unobserved_range_is_refused_in_evaluation_and_freezing() -> None:
    model = _stack(seed=21)
    with pytest.raises(RuntimeError, match="never observed: run at least one batch in training mode"):
        model.eval()(_inputs(seed=22))
    with pytest.raises(RuntimeError, match="never observed"):
        freeze(model)


def test_a_batch_that_is_not_finite_does_not_poison_the_range() -> None:
    observer = RangeObserver()
    observer(torch.tensor([1.0, float("nan")]))
    assert not observer.initialised
    observer(torch.tensor([-1.0, 3.0]))
    observer(torch.tensor([float("inf"), 0.0]))
    assert (observer.minimum.item(), observer.maximum.item()) == (-1.0, 3.0)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.25, 2.0, 3e-4, 0.999999, 0.0078125, 1e-9, 7.3, 65_536.0])
def test_dyadic_multiplier_fits_sixteen_bits_and_is_close(ratio: float) -> None:
    a, n = dyadic_multiplier(ratio)
    assert n == math.floor(15 - math.log2(ratio))
    assert 2**14 <= a <= 65_535
    assert a * 2.0**-n == pytest.approx(ratio, rel=2**-15)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_broken_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="expected a finite number above 0"):
        dyadic_multiplier(ratio)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_training_forward_is_the_linear_of_quantised_operands() -> None:
    model = _stack(seed=23)
    layer, x = model[2], torch.rand(6, 24, generator=torch.Generator().manual_seed(24)) * 2 - 0.5
    output = layer(x)
    scale, zero_point = affine_parameters(x.min(), x.max())
    x_hat = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 255)
    w_scale = layer.weight.abs().max() / 127
    w_hat = torch.quantize_per_tensor(layer.weight.detach(), w_scale.item(), 0, torch.qint8).dequantize()
    torch.testing.assert_close(output, x_hat @ w_hat.T + layer.bias)
    output.sum().backward()
    torch.testing.assert_close(layer.weight.grad, x_hat.sum(dim=0).expand(16, 24))


def test_a_requantised_output_lies_on_a_grid_of_256_values() -> None:
    model = _stack(seed=25)
    output = model[0](torch.randn(200, 20, generator=torch.Generator().manual_seed(26)))
    assert 100 < output.unique().numel() <= 256
    assert model[0].requantize_output
    assert not model[2].requantize_output
    assert model[2](output).unique().numel() > 256


def test_quantising_keeps_the_parameter_objects_and_the_state_of_the_generator() -> None:
    torch.manual_seed(27)
    model = nn.Sequential(nn.Linear(4, 3), nn.ModuleDict({"inner": nn.Linear(3, 2, bias=False)}))
    parameters = [id(parameter) for parameter in model.parameters()]
    state = torch.get_rng_state()
    assert quantize_linears(model, ["0", "1.inner"], fp32_output_names=["1.inner"]) == ["0", "1.inner"]
    assert torch.equal(torch.get_rng_state(), state)
    assert [id(parameter) for parameter in model.parameters()] == parameters
    assert isinstance(model.get_submodule("1.inner"), QuantizedLinear)
    assert all(not tensor.is_meta for tensor in model.state_dict().values())


def test_a_lock_on_a_quantised_linear_holds_through_training() -> None:
    model, _ = _locked_quantised_classifier(seed=28)
    assert type(model[0]).__name__ == "ParametrizedQuantizedLinear"
    original = model[0].parametrizations.weight.original
    assert torch.equal(original == 0, ~model[0].parametrizations.weight[0].mask)
    with pytest.raises(ValueError, match="0: still masked; call remove_masks before freeze"):
        freeze(model)


def test_frozen_tensors_have_the_stored_types() -> None:
    tensors = freeze(_trained_stack(seed=29))
    expected = {
        "codes": (torch.int8, (24, 20)),
        "weight_scale": (torch.float32, ()),
        "bias_codes": (torch.int32, (24,)),
        "input_scale": (torch.float32, ()),
        "input_zero_point": (torch.int32, ()),
        "output_scale": (torch.float32, ()),
        "output_zero_point": (torch.int32, ()),
    }
    found = {key[2:]: (t.dtype, tuple(t.shape)) for key, t in tensors.items() if key.startswith("0.")}
    assert found == expected
    assert "4.bias_codes" not in tensors  # that Linear has no bias
    assert tensors["0.codes"].min() >= -127


def test_bias_codes_are_clipped_to_32_bits() -> None:
    model = _trained_stack(seed=30)
    with torch.no_grad():
        model[0].bias[0], model[0].bias[1] = 1e9, -1e9
    assert freeze(model)["0.bias_codes"][:2].tolist() == [2**31 - 1, -(2**31)]


def test_frozen_weight_is_the_fake_quantised_weight_bit_for_bit() -> None:
    model = _trained_stack(seed=31)
    fake = fake_quantize(model[0].weight, weight_scale(model[0].weight), 0, -127, 127)
    tensors = freeze(model)
    load_frozen(model, tensors)
    frozen = model[0]
    assert isinstance(frozen, FrozenQuantizedLinear)
    assert torch.equal(frozen.weight, fake)
    assert torch.equal(frozen.weight, tensors["0.codes"].float() * tensors["0.weight_scale"])
    assert zero_counts(model, ["0"]) == {"0": int8_zero_counts(tensors)["0"]}
    assert torch.allclose(frozen.bias, tensors["0.bias_codes"] * (tensors["0.input_scale"] * frozen.weight_scale))
    assert not list(model.parameters())


def test_a_baked_model_is_plain_again_and_saves_without_extra_keys(tmp_path: Path) -> None:
    model = _quantised_bert(seed=32)
    plain_keys = set(BertForSequenceClassification(model.config).state_dict())
    assert set(model.state_dict()) > plain_keys
    biases = {key: tensor.clone() for key, tensor in model.state_dict().items() if key.endswith(".bias")}
    tensors = freeze(model)
    dequantize_linears(model, tensors)
    assert set(model.state_dict()) == plain_keys
    model.save_pretrained(tmp_path)
    loaded = BertForSequenceClassification.from_pretrained(tmp_path).state_dict()
    assert set(loaded) == plain_keys
    for key in (key for key in tensors if key.endswith(".codes")):
        name = key.removesuffix(".codes")
        weight = tensors[key].float() * tensors[f"{name}.weight_scale"]
        assert torch.equal(loaded[f"{name}.weight"].view(torch.int32), weight.view(torch.int32))
        assert torch.equal(loaded[f"{name}.bias"], biases[f"{name}.bias"])
    assert load_frozen(BertForSequenceClassification.from_pretrained(tmp_path), tensors)[0].endswith("self.query")


def test_a_frozen_state_dict_restores_the_layer() -> None:
    model = _trained_stack(seed=33)
    load_frozen(model, freeze(model))
    twin = _trained_stack(seed=34)
    load_frozen(twin, freeze(twin))
    twin.load_state_dict(model.state_dict())
    x = _inputs(seed=35)
    assert torch.equal(twin(x), model(x))


def test_names_that_cannot_be_quantised_are_listed_and_nothing_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    attach_masks(model, ["2"])
    with pytest.raises(ValueError, match=r"1: a ReLU, expected a plain Linear; 2: a ParametrizedLinear.*9: no such"):
        quantize_linears(model, ["0", "1", "2", "9"], fp32_output_names=[])
    with pytest.raises(ValueError, match="2: in fp32_output_names but not in names"):
        quantize_linears(model, ["0"], fp32_output_names=["2"])
    with pytest.raises(ValueError, match="0: named twice"):
        quantize_linears(model, ["0", "0"], fp32_output_names=[])
    with pytest.raises(ValueError, match="names is empty"):
        quantize_linears(model, [], fp32_output_names=[])
    assert type(model[0]) is nn.Linear


def test_frozen_tensors_that_do_not_fit_the_model_are_refused() -> None:
    tensors = freeze(_trained_stack(seed=36))
    small = nn.Sequential(nn.Linear(20, 24, bias=False), nn.ReLU(), nn.Linear(24, 15))
    words = r"4: no such module.*0: bias in one of.*2: codes \[16, 24\], weight \[15, 24\]"
    with pytest.raises(ValueError, match=words):
        load_frozen(small, tensors)
    with pytest.raises(ValueError, match="4: no such module"):
        dequantize_linears(small, tensors)
    assert type(small[0]) is nn.Linear
    with pytest.raises(ValueError, match="0: without weight_scale, input_scale, input_zero_point"):
        load_frozen(small, {"0.codes": tensors["0.codes"]})
    with pytest.raises(ValueError, match=r"unknown key 'embeddings\.weight'"):
        load_frozen(small, {"embeddings.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="there are none"):
        load_frozen(small, {})
    with pytest.raises(ValueError, match="arithmetic='float': expected one of dequantised, integer"):
        load_frozen(small, tensors, arithmetic="float")  # type: ignore[arg-type]


def test_baking_only_part_of_a_quantised_model_is_refused() -> None:
    model = _trained_stack(seed=37)
    part = {key: tensor for key, tensor in freeze(model).items() if not key.startswith("2.")}
    with pytest.raises(ValueError, match="2: a QuantizedLinear without frozen tensors"):
        dequantize_linears(model, part)


def test_a_plain_or_diverged_model_cannot_be_frozen() -> None:
    with pytest.raises(ValueError, match="no QuantizedLinear: call quantize_linears"):
        freeze(nn.Sequential(nn.Linear(2, 2)))
    model = _trained_stack(seed=38)
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="2: the weight has entries that are not finite"):
        freeze(model)


def test_broken_scales_and_rules_are_refused() -> None:
    parts = {key[2:]: tensor for key, tensor in freeze(_trained_stack(seed=39)).items() if key.startswith("0.")}
    with pytest.raises(ValueError, match=r"input_scale=-.*: expected one finite number above 0"):
        FrozenQuantizedLinear(**{**parts, "input_scale": torch.tensor(-1e-33)})
    with pytest.raises(ValueError, match="expected both or neither"):
        FrozenQuantizedLinear(**{**parts, "output_scale": None})
    with pytest.raises(ValueError, match=r"expected torch\.int8 \[out, in\]"):
        FrozenQuantizedLinear(**{**parts, "codes": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match="rule='max128': expected one of max127, ref_max127_5"):
        weight_scale(torch.ones(2), rule="max128")  # type: ignore[arg-type]


def _stack(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 12, bias=False))
    quantize_linears(model, ["0", "2", "4"], fp32_output_names=["2", "4"])
    return model


def _inputs(seed: int) -> Tensor:
    return torch.randn(64, 20, generator=torch.Generator().manual_seed(seed))


def _trained_stack(seed: int) -> nn.Sequential:
    model = _stack(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for batch in range(5):
        optimizer.zero_grad()
        model(_inputs(1000 + batch)).square().mean().backward()
        optimizer.step()
    return model


def _tokens(seed: int) -> dict[str, Tensor]:
    ids = torch.randint(0, 50, (6, 10), generator=torch.Generator().manual_seed(seed))
    attention_mask = torch.ones_like(ids)
    attention_mask[:3, 7:] = 0
    return {"input_ids": ids, "attention_mask": attention_mask}


def _quantised_bert(seed: int) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=16,
        initializer_range=0.2,
        num_labels=3,
    )
    model = BertForSequenceClassification(config)
    names = [f"bert.encoder.layer.{layer}.{part}" for layer in range(2) for part in BERT_LAYER]
    names += ["bert.pooler.dense", "classifier"]
    quantize_linears(model, names, fp32_output_names=[name for name in names if name.endswith(BERT_FP32_OUTPUT)])
    model.train()
    for batch in range(3):
        model(**_tokens(2000 + batch))
    return model


def _both_arithmetics(
    model: nn.Module, tensors: dict[str, Tensor], run: Callable[[nn.Module], Tensor]
) -> dict[str, Tensor]:
    """Outputs of the frozen model in float64, per arithmetic."""
    outputs = {}
    for arithmetic in ("integer", "dequantised"):
        frozen = copy.deepcopy(model).eval()
        load_frozen(frozen, tensors, arithmetic=arithmetic)  # type: ignore[arg-type]
        with torch.no_grad():
            outputs[arithmetic] = run(frozen.double())
    return outputs


def _classification_data(seed: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(400, 20, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] + x[:, 1] * x[:, 2].sign() > 0).long()


def _locked_quantised_classifier(seed: int) -> tuple[nn.Sequential, float]:
    """A two-layer classifier, half of its first matrix locked at zero, trained under fake quantisation."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2))
    with torch.no_grad():
        model[0].weight[~magnitude_mask(model[0].weight, 0.5)] = 0
    quantize_linears(model, ["0", "2"], fp32_output_names=["2"])
    lock_pattern(model, ["0"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for batch in range(150):
        x, y = _classification_data(3000 + batch)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    x, y = _classification_data(seed=14)
    return model, (model.eval()(x).argmax(dim=1) == y).float().mean().item()


def test_bias_codes_are_rounded_to_the_nearest() -> None:
    """Weight scale 1.27 / 127 = .01, input scale 2.55 / 255 = .01: a bias of 1.7e-4 is 1.7 units of 1e-4, so 2."""
    model = nn.Sequential(nn.Linear(2, 4))
    quantize_linears(model, ["0"], fp32_output_names=["0"])
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.27, 0.0]] * 4))
        model[0].bias.copy_(torch.tensor([1.7e-4, -1.7e-4, 1.2e-4, -3.9e-4]))
    model.train()(torch.tensor([[0.0, 2.55]]))
    assert freeze(model)["0.bias_codes"].tolist() == [2, -2, 1, -4]
