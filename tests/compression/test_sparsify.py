"""Masks in a model: shadow weights, updates, the lock; hand traces and an independent hand-masked training loop."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from toy_training import BERT_LAYER
from transformers import BertConfig, BertForPreTraining, DistilBertConfig, DistilBertForMaskedLM

from harness.compression.mask import magnitude_mask
from harness.compression.sparsify import (
    Mask,
    Scope,
    attach_masks,
    lock_pattern,
    masked_names,
    pattern_digest,
    remove_masks,
    update_masks,
    zero_counts,
)

DISTILBERT_LAYER = (*(f"attention.{part}_lin" for part in ("q", "k", "v", "out")), "ffn.lin1", "ffn.lin2")


@pytest.mark.oracle("O9")
def test_a_masked_weight_returns_with_its_shadow_value() -> None:
    model = _linear([[0.30, 0.32, 1.0, 2.0]])
    shadow = model[0].weight
    attach_masks(model, ["0"])
    assert update_masks(model, 0.25) == {"0": 1}
    assert torch.equal(model[0].weight, torch.tensor([[0.0, 0.32, 1.0, 2.0]]))
    with torch.no_grad():
        shadow[0, 1] = 0.1
    update_masks(model, 0.25)
    assert torch.equal(model[0].weight, torch.tensor([[0.30, 0.0, 1.0, 2.0]]))


@pytest.mark.parametrize("scope", ["local", "global"])
def test_without_regrowth_it_stays_masked_and_the_next_smallest_goes(scope: Scope) -> None:
    """The weights of the oracle above: the second shrinks to .1, below the shadow of the masked first."""
    model = _linear([[0.30, 0.32, 1.0, 2.0]])
    shadow = model[0].weight
    attach_masks(model, ["0"])
    update_masks(model, 0.25, regrowth=False, scope=scope)
    with torch.no_grad():
        shadow[0, 1] = 0.1
    update_masks(model, 0.25, regrowth=False, scope=scope)
    assert torch.equal(model[0].weight, torch.tensor([[0.0, 0.1, 1.0, 2.0]]))
    update_masks(model, 0.5, regrowth=False, scope=scope)
    assert torch.equal(model[0].weight, torch.tensor([[0.0, 0.0, 1.0, 2.0]]))
    with pytest.raises(ValueError, match="2 entries are pruned already, and 1 are to be"):
        update_masks(model, 0.25, regrowth=False, scope=scope)
    assert torch.equal(shadow, torch.tensor([[0.30, 0.1, 1.0, 2.0]]))


@pytest.mark.oracle("O10")
def test_gradient_of_the_shadow_is_the_input_times_the_mask() -> None:
    model = _linear([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    attach_masks(model, ["0"])
    update_masks(model, 0.5)
    x = torch.tensor([0.5, -7.0, 11.0])
    model(x).sum().backward()
    expected = torch.tensor([[0.0, 0.0, 0.0], [0.5, -7.0, 11.0]])
    assert torch.equal(model[0].parametrizations.weight.original.grad, expected)


@pytest.mark.oracle("O10")
def test_bert_base_has_73_masked_matrices_and_nothing_else_changes() -> None:
    model = BertForPreTraining(
        BertConfig(
            vocab_size=40,
            hidden_size=12,
            num_hidden_layers=12,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=8,
        )
    )
    names = [f"bert.encoder.layer.{layer}.{part}" for layer in range(12) for part in BERT_LAYER]
    _assert_only_these_change(model, [*names, "bert.pooler.dense"], 73)


@pytest.mark.oracle("O10")
def test_distilbert_has_36_masked_matrices_and_nothing_else_changes() -> None:
    model = DistilBertForMaskedLM(
        DistilBertConfig(vocab_size=40, dim=12, n_layers=6, n_heads=2, hidden_dim=24, max_position_embeddings=8)
    )
    names = [f"distilbert.transformer.layer.{layer}.{part}" for layer in range(6) for part in DISTILBERT_LAYER]
    _assert_only_these_change(model, names, 36)


@pytest.mark.oracle("O11")
def test_adamw_goes_on_moving_a_masked_shadow_by_momentum_and_decay() -> None:
    model = _linear([[1.0, 5.0]]).double()
    attach_masks(model, ["0"])
    shadow = model[0].parametrizations.weight.original
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.9, 0.999), eps=0.0, weight_decay=0.01)

    def step() -> float:
        optimizer.zero_grad()
        model(torch.ones(2, dtype=torch.float64)).sum().backward()
        optimizer.step()
        return shadow[0, 0].item()

    assert step() == pytest.approx(0.899, abs=1e-12)
    update_masks(model, 0.5)
    assert step() == pytest.approx(0.8310951746, abs=1e-10)
    assert model[0].weight[0, 0].item() == 0.0
    step()
    assert model[0].weight[0, 0].item() == 0.0
    assert 0 < shadow[0, 0].item() < 0.83


@pytest.mark.oracle("O25")
@pytest.mark.parametrize("precision", ["fp32", "bf16 autocast"])
@pytest.mark.parametrize("max_norm", [None, 1.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer_name", ["adamw", "momentum"])
def test_locked_training_is_training_with_weights_and_gradients_masked_by_hand(
    optimizer_name: str, weight_decay: float, max_norm: float | None, precision: str
) -> None:
    autocast = precision != "fp32"
    start = _sparse_mlp(seed=0)
    locked, by_hand = copy.deepcopy(start), copy.deepcopy(start)
    lock_pattern(locked, ["0", "2"])
    before = pattern_digest(start, ["0", "2"])

    optimizer = _optimizer(optimizer_name, locked, weight_decay)
    hand_optimizer = _optimizer(optimizer_name, by_hand, weight_decay)
    dead = {name: p == 0 for name, p in by_hand.named_parameters() if name.endswith("weight")}
    for batch in range(20):
        _train_step(locked, optimizer, batch, max_norm, autocast, dead={})
        _train_step(by_hand, hand_optimizer, batch, max_norm, autocast, dead=dead)

    for layer in ("0", "2"):
        module, hand = locked.get_submodule(layer), by_hand.get_submodule(layer)
        torch.testing.assert_close(module.weight, hand.weight, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(module.bias, hand.bias, rtol=1e-5, atol=1e-7)
        original = module.parametrizations.weight.original
        pattern = dead[f"{layer}.weight"]
        assert torch.equal(module.weight == 0, pattern)
        assert torch.equal(original == 0, pattern)
        assert (module.weight != start.get_submodule(layer).weight)[~pattern].float().mean() > 0.9
        for moment in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
            if moment in optimizer.state[original]:
                assert not optimizer.state[original][moment][pattern].any()
                assert optimizer.state[original][moment][~pattern].any()
    assert pattern_digest(locked, ["0", "2"]) == before


@pytest.mark.oracle("O26")
def test_without_the_lock_one_step_destroys_the_sparsity() -> None:
    model = _sparse_mlp(seed=1)
    zeros, numel = zero_counts(model, ["0"])["0"]
    assert zeros / numel == pytest.approx(0.9, abs=0.01)
    _train_step(model, _optimizer("adamw", model, 0.1), 0, None, False, dead={})
    assert zero_counts(model, ["0"])["0"][0] / numel < 0.01


@pytest.mark.oracle("O27")
def test_lock_save_load_lock_keeps_the_pattern_and_no_negative_zero(tmp_path: Path) -> None:
    model = _dense_mlp(seed=2)
    attach_masks(model, ["0", "2"])
    update_masks(model, 0.9)
    remove_masks(model)
    lock_pattern(model, ["0", "2"])
    first = [model.get_submodule(name).parametrizations.weight[0].mask.clone() for name in ("0", "2")]
    _train_step(model, _optimizer("adamw", model, 0.1), 0, 1.0, False, dead={})
    remove_masks(model)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    assert not any(((tensor == 0) & tensor.signbit()).any() for tensor in saved.values())

    loaded = _dense_mlp(seed=3)
    loaded.load_state_dict(saved)
    lock_pattern(loaded, ["0", "2"])
    for name, mask in zip(("0", "2"), first, strict=True):
        assert torch.equal(loaded.get_submodule(name).parametrizations.weight[0].mask, mask)


def test_masked_negatives_are_baked_as_positive_zero_into_the_same_parameter() -> None:
    model = _linear([[-0.1, -3.0, 2.0, 4.0]])
    parameter = model[0].weight
    parameter.requires_grad_(False)
    attach_masks(model, ["0"])
    update_masks(model, 0.25)
    assert model[0].weight[0, 0].signbit()  # -0.1 * 0
    remove_masks(model)
    assert model[0].weight is parameter
    assert not parameter.requires_grad
    assert type(model[0]) is nn.Linear
    assert list(model.state_dict()) == ["0.weight"]
    assert torch.equal(parameter, torch.tensor([[0.0, -3.0, 2.0, 4.0]]))
    assert not parameter[0, 0].signbit()
    remove_masks(model)
    assert torch.equal(model[0].weight, parameter)


def test_fresh_masks_change_no_output_and_keep_the_optimizers_parameter() -> None:
    model = _dense_mlp(seed=4)
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(5))
    before, parameter = model(x), model[0].weight
    attach_masks(model, ["0", "2"])
    assert torch.equal(model(x), before)
    assert model[0].parametrizations.weight.original is parameter
    assert masked_names(model) == ["0", "2"]
    assert sum(1 for _ in model.parameters()) == 4


def test_shadow_and_mask_survive_a_state_dict_round_trip(tmp_path: Path) -> None:
    model = _dense_mlp(seed=6)
    attach_masks(model, ["0", "2"])
    update_masks(model, 0.7)
    keys = {"0.parametrizations.weight.original", "0.parametrizations.weight.0.mask"}
    assert keys <= set(model.state_dict())
    torch.save(model.state_dict(), tmp_path / "state.pt")

    resumed = _dense_mlp(seed=7)
    attach_masks(resumed, ["0", "2"])
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert torch.equal(resumed[0].weight, model[0].weight)
    assert torch.equal(resumed[0].parametrizations.weight.original, model[0].parametrizations.weight.original)
    assert pattern_digest(resumed, ["0", "2"]) == pattern_digest(model, ["0", "2"])
    assert update_masks(resumed, 0.9) == update_masks(model, 0.9)
    assert torch.equal(resumed[2].weight, model[2].weight)


def test_masks_move_with_the_model_and_copies_are_independent() -> None:
    model = _dense_mlp(seed=8)
    attach_masks(model, ["0"])
    update_masks(model, 0.5)
    assert copy.deepcopy(model).to("meta")[0].parametrizations.weight[0].mask.device.type == "meta"
    twin = copy.deepcopy(model)
    digest = pattern_digest(twin, ["0"])
    update_masks(model, 0.9)
    assert pattern_digest(twin, ["0"]) == digest
    twin.double()
    assert twin[0].weight.dtype == torch.float64
    assert twin[0].parametrizations.weight[0].mask.dtype == torch.bool


def test_an_event_ranks_all_shadows_locally_or_globally() -> None:
    model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Linear(5, 4, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(1, 21).reshape(5, 4) / 100)
        model[1].weight.copy_(torch.arange(1, 21).reshape(4, 5).float())
    weights = [layer.weight.detach().clone() for layer in model]
    attach_masks(model, ["0", "1"])
    assert update_masks(model, 0.5) == {"0": 10, "1": 10}
    for layer, weight in zip(model, weights, strict=True):
        assert torch.equal(layer.weight != 0, magnitude_mask(weight, 0.5))
    assert update_masks(model, 0.5, scope="global") == {"0": 20, "1": 0}
    assert update_masks(model, 0.0, names=["0"]) == {"0": 0}
    assert torch.equal(model[0].weight, weights[0])


def test_the_threshold_rule_reports_the_extra_zeros_of_ties() -> None:
    model = _linear([[1.0, 1, 1, 1, 2, 3, 4, 5, 6, 7]])
    attach_masks(model, ["0"])
    assert update_masks(model, 0.2, tie_rule="threshold") == {"0": 4}
    assert zero_counts(model, ["0"]) == {"0": (4, 10)}


def test_a_dense_layer_is_locked_with_a_mask_of_ones() -> None:
    model = _dense_mlp(seed=9)
    lock_pattern(model, ["0"])
    assert model[0].parametrizations.weight[0].mask.all()


def test_a_frozen_event_clock_leaves_locked_masks_alone() -> None:
    model = _sparse_mlp(seed=10)
    lock_pattern(model, ["0", "2"])
    with pytest.raises(ValueError, match=r"locked, so fixed until remove_masks: \['0', '2'\]"):
        update_masks(model, 0.5)
    remove_masks(model)
    attach_masks(model, ["0"])
    assert update_masks(model, 0.5) == {"0": model[0].weight.numel() // 2}


def test_digest_tells_patterns_apart_and_ignores_values_and_order() -> None:
    model = _sparse_mlp(seed=11)
    digest = pattern_digest(model, ["0", "2"])
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        scaled[0].weight.mul_(-3)
    assert pattern_digest(scaled, ["2", "0"]) == digest
    one_more = copy.deepcopy(model)
    index = (one_more[2].weight != 0).nonzero()[0]
    with torch.no_grad():
        one_more[2].weight[tuple(index)] = 0
    assert pattern_digest(one_more, ["0", "2"]) != digest
    assert pattern_digest(model, ["0"]) != digest
    assert len(digest) == 64
    flat, tall = _linear([[1.0, 0.0, 0.0, 1.0]]), _linear([[1.0, 0.0], [0.0, 1.0]])
    assert pattern_digest(flat, ["0"]) != pattern_digest(tall, ["0"])


def test_every_name_that_cannot_be_masked_is_listed_and_nothing_is_masked() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    attach_masks(model, ["2"])
    words = r"4 of 5 modules cannot be masked: 1: a ReLU, expected an nn\.Linear; 2: already masked .*; 9: no such "
    with pytest.raises(ValueError, match=words + "module; 0: named twice"):
        attach_masks(model, ["0", "1", "2", "9", "0"])
    assert masked_names(model) == ["2"]
    with pytest.raises(ValueError, match="9: no such module"):
        lock_pattern(model, ["9"])
    with pytest.raises(ValueError, match="names is empty"):
        attach_masks(model, [])


def test_a_tied_matrix_is_refused() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "decoder": nn.Linear(3, 5)})
    model["decoder"].weight = model["embedding"].weight
    with pytest.raises(ValueError, match=r"decoder: its weight is tied to embedding\.weight"):
        attach_masks(model, ["decoder"])


def test_an_event_without_masks_or_with_the_wrong_rule_is_refused() -> None:
    model = _dense_mlp(seed=12)
    with pytest.raises(ValueError, match="call attach_masks first"):
        update_masks(model, 0.5)
    attach_masks(model, ["0"])
    with pytest.raises(ValueError, match=r"without a mask: \['2'\]"):
        update_masks(model, 0.5, names=["2"])
    with pytest.raises(ValueError, match="use tie_rule='exact'"):
        update_masks(model, 0.5, scope="global", tie_rule="threshold")


def _linear(weight: list[list[float]]) -> nn.Sequential:
    values = torch.tensor(weight)
    layer = nn.Linear(values.shape[1], values.shape[0], bias=False)
    layer.weight = nn.Parameter(values)
    return nn.Sequential(layer)


def _dense_mlp(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4))


def _sparse_mlp(seed: int) -> nn.Sequential:
    model = _dense_mlp(seed)
    with torch.no_grad():
        for layer, sparsity in ((model[0], 0.9), (model[2], 0.25)):  # every hidden unit keeps a way out
            layer.weight[~magnitude_mask(layer.weight, sparsity)] = 0
    return model


def _optimizer(name: str, model: nn.Module, weight_decay: float) -> torch.optim.Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=weight_decay)
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=weight_decay)


def _train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: int,
    max_norm: float | None,
    autocast: bool,
    dead: dict[str, Tensor],
) -> None:
    """One step; `dead` entries have gradient and weight zeroed by hand."""
    generator = torch.Generator().manual_seed(batch)
    x, y = torch.randn(16, 20, generator=generator), torch.randint(0, 4, (16,), generator=generator)
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = 10 * nn.functional.cross_entropy(model(x), y)
    loss.backward()
    parameters = dict(model.named_parameters())
    for name, pattern in dead.items():
        parameters[name].grad[pattern] = 0
    if max_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    with torch.no_grad():
        for name, pattern in dead.items():
            parameters[name][pattern] = 0


def _assert_only_these_change(model: nn.Module, names: list[str], count: int) -> None:
    before = {name: type(module) for name, module in model.named_modules()}
    attach_masks(model, names)
    after = {name: type(module) for name, module in model.named_modules() if name in before}
    changed = [name for name in before if after[name] is not before[name]]
    assert sorted(changed) == sorted(names)
    assert len(masked_names(model)) == count
    assert sum(isinstance(module, Mask) for module in model.modules()) == count
