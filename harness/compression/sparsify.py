"""Masks inside a model: dense shadow weights, mask updates, the pattern lock, and making masks permanent.

A masked Linear computes with W = V * M, where V (the shadow weight, the only Parameter) stays dense and M is a bool
buffer. The gradient of V is that of W times M, no straight-through estimate: a masked entry receives none, but keeps
its shadow value and returns if a later update ranks it among the kept (Prune OFA). In a state_dict the two
are "<name>.parametrizations.weight.original" and "<name>.parametrizations.weight.0.mask".

Under the lock V is 0 wherever M is, so that V * M is V: the Linear computes with V itself, and M multiplies V's
gradient once a backward pass has added to it, before anything clips it or steps on it. Same bits, one product less.

Which modules are masked is always an explicit list of names. `schedule` decides when masks are updated, `mask` ranks
the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from harness.compression.mask import TieRule, global_magnitude_masks, magnitude_mask, num_kept, num_zeros
from harness.errors import require

Scope = Literal["local", "global"]


class Mask(nn.Module):
    """Parametrization of a weight: forward(V) = V * mask, and under the lock V, whose gradient is masked instead.

    mask: bool buffer of the weight's shape, True = kept. locked: set by `lock_pattern`; `update_masks` then refuses.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, *, locked: bool = False) -> None:
        super().__init__()
        self.register_buffer("mask", mask.to(torch.bool))
        self.locked = locked
        self._factor: _Factor | None = None
        self._guarded: _Guarded | None = None

    def forward(self, shadow: Tensor) -> Tensor:
        if not self.locked:
            return shadow * self.factor(shadow.dtype)
        if shadow.requires_grad and (self._guarded is None or self._guarded.parameter is not shadow):
            self.release()
            self._guarded = _Guarded(shadow, shadow.register_post_accumulate_grad_hook(self._mask_gradient))
        return shadow

    def factor(self, dtype: torch.dtype) -> Tensor:
        """The mask as it is now, as ones and zeros of this type."""
        if self._factor is None or not self._factor.is_of(self.mask, dtype):
            self._factor = _Factor(self.mask, self.mask._version, self.mask.to(dtype))
        return self._factor.values

    def release(self) -> None:
        """No longer masks the gradient of a locked weight."""
        if self._guarded is not None:
            self._guarded.hook.remove()
        self._guarded = None

    @torch.no_grad()
    def _mask_gradient(self, shadow: Tensor) -> None:
        """A product, not a fill: what is not finite under the mask stays so (inf * 0 is NaN): the step is skipped."""
        if shadow.grad is not None:
            shadow.grad.mul_(self.factor(shadow.grad.dtype))

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the module makes its own: its mask begins with a version, its weight without a hook."""
        return {**self.__dict__, "_factor": None, "_guarded": None}


class _Guarded(NamedTuple):
    """The Parameter whose gradient a lock masks, and the hook that does it."""

    parameter: Tensor
    hook: RemovableHandle


class _Factor(NamedTuple):
    """A mask as ones and zeros of a weight's type, made once for each version of the mask.

    A product with the bool tensor has the same bits, at four times the time: it makes these numbers anew each time.
    """

    mask: Tensor
    version: int
    values: Tensor

    def is_of(self, mask: Tensor, dtype: torch.dtype) -> bool:
        """Whether it is this mask as it is now: every change in place raises a tensor's version."""
        return self.mask is mask and self.version == mask._version and self.values.dtype == dtype


def attach_masks(model: nn.Module, names: Sequence[str]) -> None:
    """Puts an all-ones Mask on the weight of every named Linear; nothing changes in what the model computes.

    The weight Parameter itself becomes the shadow weight, so an optimizer made before still holds it.
    Raises ValueError, leaving the model untouched, that lists every name that is missing, repeated, not an nn.Linear
    (subclasses are), already masked, or tied to another module (a tied mask would act on one use only), and when
    `names` is empty.
    """
    linears = _plain_linears(model, names)
    for linear in linears.values():
        _register(linear, torch.ones_like(linear.weight, dtype=torch.bool), locked=False)


@torch.no_grad()
def lock_pattern(model: nn.Module, names: Sequence[str]) -> None:
    """Fixes the zero pattern of every named Linear for the training to come: M = [W != 0], V = W.

    Lock after the weights are loaded (and after Linears are replaced by quantised ones), before the first optimizer
    step. V is +0.0 where M is 0 and its gradient is exactly 0 there, so a fresh AdamW or momentum optimizer, weight
    decay and gradient clipping included, leaves these entries at +0.0 (Prune OFA). A gradient that is not finite at
    such an entry stays so, and its step is to be skipped. Gradients that `torch.autograd.grad` returns are not masked,
    as they are added to no Parameter. A dense Linear gets an all-ones mask. Raises ValueError as `attach_masks` does.
    """
    linears = _plain_linears(model, names)
    for linear in linears.values():
        linear.weight.add_(0.0)  # -0.0 becomes 0.0; no other number changes
        _register(linear, linear.weight.detach() != 0, locked=True)


def masked_names(model: nn.Module) -> list[str]:
    """Names of all modules whose weight carries a Mask, in the model's own order."""
    return [name for name, module in model.named_modules() if _mask_of(module) is not None]


@torch.no_grad()
def update_masks(
    model: nn.Module,
    sparsity: float,
    *,
    tie_rule: TieRule = "exact",
    scope: Scope = "local",
    regrowth: bool = True,
    names: Sequence[str] | None = None,
) -> dict[str, int]:
    """One mask update: recomputes masks from |V| of all entries, masked ones included, and returns zeros per name.

    sparsity: fraction removed, in [0, 1). scope "local": every matrix gets that sparsity on its own, as in Prune OFA;
    "global": one ranking over all of them. regrowth: False ranks masked entries below all others, so that none returns.
    names: default all masked modules. Shadow weights are not touched.
    Raises ValueError on a name without a Mask, a locked one, nothing to update, the tie rule "threshold" with the
    global scope, or a sparsity below that of the masks without regrowth; IntegrityError if a count of zeros is not the
    requested one.
    """
    chosen = masked_names(model) if names is None else list(names)
    if not chosen:
        raise ValueError("no module carries a mask: call attach_masks first, or nothing is pruned.")
    masks = {name: _mask_of(model.get_submodule(name)) for name in chosen}
    unmasked = [name for name, mask in masks.items() if mask is None]
    locked = [name for name, mask in masks.items() if mask is not None and mask.locked]
    if unmasked or locked:
        raise ValueError(f"cannot update: without a mask: {unmasked}; locked, so fixed until remove_masks: {locked}.")
    if scope == "global" and tie_rule != "exact":
        raise ValueError(f"tie_rule={tie_rule!r} is defined for scope='local' only; use tie_rule='exact'.")

    shadows = [_shadow(model.get_submodule(name)) for name in chosen]
    pruned = None if regrowth else [~mask.mask for mask in masks.values() if mask is not None]
    if scope == "global":
        new_masks = global_magnitude_masks(shadows, sparsity, pruned=pruned)
    else:
        new_masks = [
            magnitude_mask(shadow, sparsity, tie_rule=tie_rule, pruned=None if pruned is None else pruned[i])
            for i, shadow in enumerate(shadows)
        ]
    zeros: dict[str, int] = {}
    for name, new_mask in zip(chosen, new_masks, strict=True):
        mask = masks[name]
        assert mask is not None
        mask.mask.copy_(new_mask)
        zeros[name] = new_mask.numel() - num_kept(new_mask)
    _require_counts(zeros, shadows, sparsity, tie_rule, scope)
    return zeros


def kept_entries(model: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """The masks of the named modules, True = kept. Raises ValueError on a name without a Mask."""
    masks = {name: _mask_of(model.get_submodule(name)) for name in names}
    if unmasked := [name for name, mask in masks.items() if mask is None]:
        raise ValueError(f"without a mask: {unmasked}: call attach_masks first, or nothing is pruned.")
    return {name: mask.mask for name, mask in masks.items() if mask is not None}


def shadow_weights(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Parameter]:
    """The dense shadow weights of masked modules. Raises as `kept_entries`."""
    kept_entries(model, names)
    return {name: cast(nn.Parameter, _shadow(model.get_submodule(name))) for name in names}


@torch.no_grad()
def prune_further(model: nn.Module, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """One pruning step without regrowth: the named modules get these masks, and these weights as shadow weights.

    weights, masks: by name, of the weight's shape; True = kept. A masked entry stays zero until `remove_masks`,
    whatever an optimizer makes of its shadow. Raises ValueError on a name without a Mask or a locked one,
    IntegrityError where an entry that was pruned would return.
    """
    before, shadows = kept_entries(model, list(masks)), shadow_weights(model, list(masks))
    for name, mask in masks.items():
        if cast(Mask, _mask_of(model.get_submodule(name))).locked:
            raise ValueError(f"{name} is locked, so fixed until remove_masks.")
        returned = int((mask & ~before[name]).sum())
        require(not returned, f"{name}: {returned} entries that were pruned would return")
    for name, mask in masks.items():
        shadows[name].copy_(weights[name])
        before[name].copy_(mask)


@torch.no_grad()
def remove_masks(model: nn.Module) -> None:
    """Makes the masks permanent: every masked weight becomes the plain Parameter W = V * M, the same object as V.

    Masked negatives would be -0.0; they and any other zero become +0.0, so equal weights have equal bytes.
    requires_grad is kept. A model without masks is left as it is.
    """
    for name in masked_names(model):
        linear = model.get_submodule(name)
        shadow, mask = _shadow(linear), _mask_of(linear)
        shadow.copy_(_weight(linear) + 0.0)
        assert mask is not None
        mask.release()
        parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)


@torch.no_grad()
def zero_counts(model: nn.Module, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """(exact zeros, number of entries) of the weight each named module computes with."""
    weights = {name: _weight(model.get_submodule(name)) for name in names}
    return {name: (int(torch.eq(weight, 0).sum()), weight.numel()) for name, weight in weights.items()}


def total_zeros(counts: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """(exact zeros, number of entries) over all modules of `zero_counts`."""
    return sum(zeros for zeros, _ in counts.values()), sum(numel for _, numel in counts.values())


@torch.no_grad()
def pattern_digest(model: nn.Module, names: Iterable[str]) -> str:
    """SHA-256, as hex, of where the named weights are non-zero; equal exactly when the zero patterns are.

    Covers, in sorted order of the names, each name, its weight's shape and the packed bits of W != 0; neither values
    nor the order of `names` count.
    """
    digest = hashlib.sha256()
    for name in sorted(set(names)):
        weight = _weight(model.get_submodule(name))
        digest.update(f"{name}\n{list(weight.shape)}\n".encode())
        digest.update(np.packbits((weight != 0).cpu().numpy()).tobytes())
    return digest.hexdigest()


def _plain_linears(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Linear]:
    """The named Linears, all of them free to take a mask; one ValueError with every problem otherwise."""
    if not names:
        raise ValueError("names is empty: no module would be masked. Name the modules to prune or lock.")
    owners: dict[int, list[str]] = {}
    for parameter_name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(parameter_name)

    modules = dict(model.named_modules())
    linears: dict[str, nn.Linear] = {}
    problems = []
    for name in names:
        module = modules.get(name)
        if module is None:
            problems.append(f"{name}: no such module")
        elif name in linears:
            problems.append(f"{name}: named twice")
        elif not isinstance(module, nn.Linear):
            problems.append(f"{name}: a {type(module).__name__}, expected an nn.Linear")
        elif parametrize.is_parametrized(module):
            problems.append(f"{name}: already masked ({type(module).__name__}); call remove_masks first")
        elif len(owners[id(module.weight)]) > 1:
            others = [owner for owner in owners[id(module.weight)] if owner != f"{name}.weight"]
            problems.append(f"{name}: its weight is tied to {', '.join(others)}")
        else:
            linears[name] = module
    if problems:
        raise ValueError(f"{len(problems)} of {len(names)} modules cannot be masked: " + "; ".join(problems) + ".")
    return linears


def _register(linear: nn.Linear, mask: Tensor, *, locked: bool) -> None:
    parametrize.register_parametrization(linear, "weight", Mask(mask, locked=locked))


def _weight(module: nn.Module) -> Tensor:
    """The weight the module computes with: V * M for a masked Linear."""
    return cast(Tensor, module.weight)


def _mask_of(module: nn.Module) -> Mask | None:
    if not parametrize.is_parametrized(module, "weight"):
        return None
    (parametrization,) = _parametrizations(module)
    return parametrization if isinstance(parametrization, Mask) else None


def _shadow(module: nn.Module) -> Tensor:
    return _parametrizations(module).original


def _parametrizations(module: nn.Module) -> parametrize.ParametrizationList:
    by_tensor = cast(nn.ModuleDict, module.parametrizations)
    return cast(parametrize.ParametrizationList, by_tensor["weight"])


def _require_counts(
    zeros: dict[str, int], shadows: Sequence[Tensor], sparsity: float, tie_rule: TieRule, scope: Scope
) -> None:
    """Zeros found against zeros requested; the threshold rule may prune more, never fewer than its own floor."""
    if scope == "global":
        found, wanted = sum(zeros.values()), num_zeros(sparsity, sum(shadow.numel() for shadow in shadows))
        require(found == wanted, f"global ranking: {found} zeros, expected {wanted}")
        return
    for (name, found), shadow in zip(zeros.items(), shadows, strict=True):
        if tie_rule == "exact":
            wanted = num_zeros(sparsity, shadow.numel())
            require(found == wanted, f"{name}: {found} zeros, expected {wanted}")
        else:
            wanted = int(sparsity * shadow.numel())
            require(found >= wanted, f"{name}: {found} zeros, expected at least {wanted}")
