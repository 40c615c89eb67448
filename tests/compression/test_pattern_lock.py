"""The lock multiplies nothing in the forward pass, and is the product form bit for bit, whatever trains the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.compression.quantization import quantize_linears
from harness.compression.sparsify import attach_masks, lock_pattern, pattern_digest, remove_masks, update_masks

NAMES = ["0", "2"]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": lambda parameters, decay: torch.optim.AdamW(parameters, lr=0.01, weight_decay=decay),
    "fused adamw": lambda parameters, decay: torch.optim.AdamW(parameters, lr=0.01, weight_decay=decay, fused=True),
    "momentum": lambda parameters, decay: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=decay),
    "nesterov": lambda p, decay: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=decay),
}


class ProductForm(nn.Linear):
    """The lock as it is defined: W = V * M in the forward pass, the gradient of V by the chain rule."""

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


def sparse(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4))
    attach_masks(model, NAMES)
    update_masks(model, 0.6, names=["0"])
    update_masks(model, 0.25, names=["2"])  # so that every hidden unit keeps a way out
    remove_masks(model)
    return model


def locked(seed: int = 0) -> nn.Sequential:
    model = sparse(seed)
    lock_pattern(model, NAMES)
    return model


def product_form(seed: int = 0) -> nn.Sequential:
    model = sparse(seed)
    for name in NAMES:
        linear: Any = model.get_submodule(name)
        linear.__class__ = ProductForm
        linear.register_buffer("mask", (linear.weight.detach() != 0).float())
    return model


def batch(number: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(number)
    return torch.randn(16, 20, generator=draw), torch.randint(0, 4, (16,), generator=draw)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int = 12,
    accumulate: int = 1,
    max_norm: float | None = None,
    precision: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> list[float]:
    """The losses; each step sums the gradients of `accumulate` batches, is clipped, and is made with the scaler."""
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        for part in range(accumulate):
            x, y = batch(step * accumulate + part)
            with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None):
                loss = 10 * nn.functional.cross_entropy(model(x), y) / accumulate
            (loss if scaler is None else scaler.scale(loss)).backward()
            losses.append(float(loss.detach()))
        if scaler is not None:
            scaler.unscale_(optimizer)
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
    return losses


def nodes(tensor: Tensor) -> Iterator[str]:
    """The names of all nodes of a result's autograd graph."""
    seen, open_nodes = set(), [tensor.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node.name()
        open_nodes += [parent for parent, _ in node.next_functions]


class Operations(TorchDispatchMode):
    """What is computed inside, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_graph_of_a_locked_model_is_that_of_a_plain_one() -> None:
    x, _ = batch(0)
    plain, lock = sparse(), locked()
    assert sorted(nodes(lock(x))) == sorted(nodes(plain(x)))
    for name in NAMES:
        module: Any = lock.get_submodule(name)
        assert module.weight is module.parametrizations.weight.original  # the leaf itself
    assert "MulBackward0" in list(nodes(product_form()(x)))  # what is not there above


def test_a_locked_forward_pass_computes_what_a_plain_one_does() -> None:
    x, _ = batch(0)
    plain, lock = sparse(), locked()
    with Operations() as of_plain:
        expected = plain(x)
    with Operations() as of_locked:
        found = lock(x)
    assert of_locked.names == of_plain.names
    assert torch.equal(found, expected)


@pytest.mark.oracle("O25")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("max_norm", [None, 1.0])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_any_training_has_the_bits_of_the_product_form(
    optimizer: str, decay: float, max_norm: float | None, accumulate: int, precision: torch.dtype | None
) -> None:
    lock, product, start = locked(), product_form(), sparse()
    losses = {}
    for name, model in (("lock", lock), ("product", product)):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12) if precision == torch.float16 else None
        made = OPTIMIZERS[optimizer](model.parameters(), decay)
        losses[name] = train(model, made, accumulate=accumulate, max_norm=max_norm, precision=precision, scaler=scaler)
    assert losses["lock"] == losses["product"]
    remove_masks(lock)
    for name in NAMES:
        weight, wanted, before = (model.get_submodule(name).weight.detach() for model in (lock, product, start))
        assert torch.equal(weight, wanted)
        assert torch.equal(weight == 0, before == 0)
        assert not weight[weight == 0].signbit().any()  # every zero is +0.0
        assert (weight != before)[before != 0].float().mean() > 0.9
    assert all(torch.equal(a, b) for a, b in zip(lock.state_dict().values(), _plain_state(product), strict=True))


def _plain_state(model: nn.Module) -> list[Tensor]:
    return [tensor for name, tensor in model.state_dict().items() if not name.endswith("mask")]


@pytest.mark.oracle("O28")
@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_a_gradient_that_is_not_finite_under_the_mask_stays_so_for_the_step_to_be_skipped(bad: float) -> None:
    """inf * 0 is NaN, as in the product form; a fill would have hidden it."""
    model = locked()
    shadow: Any = model.get_submodule("0").parametrizations.weight.original
    at = tuple((shadow == 0).nonzero()[0].tolist())
    shadow.register_hook(lambda gradient: gradient.index_put(tuple(map(torch.tensor, at)), torch.tensor(bad)))
    x, y = batch(0)
    nn.functional.cross_entropy(model(x), y).backward()
    assert shadow.grad[at].isnan()
    assert not torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), 1.0))


@pytest.mark.oracle("O28")
def test_the_scaler_skips_a_step_that_is_not_finite_under_the_mask() -> None:
    model = locked()
    shadow: Any = model.get_submodule("0").parametrizations.weight.original
    at = tuple((shadow == 0).nonzero()[0].tolist())
    hook = shadow.register_hook(lambda g: g.index_put(tuple(map(torch.tensor, at)), torch.tensor(torch.inf)))
    optimizer, scaler = OPTIMIZERS["adamw"](model.parameters(), 0.1), torch.amp.GradScaler("cpu", init_scale=16.0)
    before = copy.deepcopy(model.state_dict())
    train(model, optimizer, steps=1, scaler=scaler)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert scaler.get_scale() == 8.0
    hook.remove()
    train(model, optimizer, steps=1, scaler=scaler)
    assert not torch.equal(before["0.bias"], model.state_dict()["0.bias"])
    assert shadow[at] == 0


def test_negative_zeros_of_a_checkpoint_become_positive_at_the_lock() -> None:
    model = sparse()
    with torch.no_grad():
        weight: Any = model.get_submodule("0").weight
        weight[weight == 0] = -0.0
    parameter, kept = weight, weight.detach().clone()
    lock_pattern(model, NAMES)
    now: Any = model.get_submodule("0").weight
    assert now is parameter
    assert torch.equal(now, kept)
    assert not now[now == 0].signbit().any()


def test_a_checkpoint_of_the_product_form_goes_on_under_the_lock() -> None:
    """Its names and tensors are today's: V, 0 wherever M is, and M as bools. So are an optimizer's moments."""
    product = product_form()
    optimizer = OPTIMIZERS["adamw"](product.parameters(), 0.1)
    train(product, optimizer, steps=3)
    written = {name: tensor.clone() for name, tensor in product.state_dict().items() if name.endswith("bias")}
    for name in NAMES:
        linear: Any = product.get_submodule(name)
        written[f"{name}.parametrizations.weight.original"] = linear.weight.detach().clone()
        written[f"{name}.parametrizations.weight.0.mask"] = linear.mask.bool()
    moments = copy.deepcopy(optimizer.state_dict())
    whole = train(product, optimizer, steps=4)

    resumed = locked(seed=0)
    assert set(resumed.state_dict()) == set(written)
    resumed.load_state_dict(written)
    by_name = [name for name, _ in product.named_parameters()]
    names = [name.replace("parametrizations.weight.original", "weight") for name, _ in resumed.named_parameters()]
    order = [by_name.index(name) for name in names]
    moments["state"] = {number: moments["state"][place] for number, place in enumerate(order)}
    going_on = OPTIMIZERS["adamw"](resumed.parameters(), 0.1)
    going_on.load_state_dict(moments)
    assert train(resumed, going_on, steps=4) == whole
    for name in NAMES:
        assert torch.equal(resumed.get_submodule(name).weight, product.get_submodule(name).weight)


@pytest.mark.parametrize("change", ["a copy", "another Parameter", "double precision", "after loading"])
def test_the_lock_follows_its_weight(change: str) -> None:
    model = locked()
    if change == "a copy":
        model = copy.deepcopy(model)
    elif change == "another Parameter":
        parameters: Any = model.get_submodule("0").parametrizations.weight
        parameters.original = nn.Parameter(parameters.original.detach().clone())
    elif change == "double precision":
        model.double()
    else:
        model.load_state_dict(copy.deepcopy(locked(seed=1).state_dict()))
    before = pattern_digest(model, NAMES)
    dtype = next(model.parameters()).dtype
    optimizer = OPTIMIZERS["adamw"](model.parameters(), 0.1)
    for step in range(3):
        optimizer.zero_grad()
        x, y = batch(step)
        nn.functional.cross_entropy(model(x.to(dtype)), y).backward()
        optimizer.step()
    assert pattern_digest(model, NAMES) == before


def test_a_weight_is_free_again_without_its_mask() -> None:
    model = locked()
    remove_masks(model)
    x, y = batch(0)
    nn.functional.cross_entropy(model(x), y).backward()
    weight: Any = model.get_submodule("0").weight
    assert (weight.grad[weight == 0] != 0).float().mean() > 0.9


def test_a_weight_frozen_at_the_lock_is_masked_once_it_is_trained() -> None:
    model = sparse()
    weight: Any = model.get_submodule("0").weight
    weight.requires_grad_(False)
    lock_pattern(model, NAMES)
    x, y = batch(0)
    nn.functional.cross_entropy(model(x), y).backward()
    assert weight.grad is None
    weight.requires_grad_(True)
    nn.functional.cross_entropy(model(x), y).backward()
    assert not weight.grad[weight == 0].any()
    assert weight.grad[weight != 0].any()


def test_a_quantised_weight_is_locked_all_the_same() -> None:
    model = sparse()
    quantize_linears(model, NAMES, fp32_output_names=NAMES)
    lock_pattern(model, NAMES)
    before = pattern_digest(model, NAMES)
    train(model, OPTIMIZERS["adamw"](model.parameters(), 0.1))
    assert pattern_digest(model, NAMES) == before
