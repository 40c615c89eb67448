"""Stage sparse_checkpoint: imports an encoder that was pruned elsewhere, instead of student_pruning.

Nothing is trained. The weights are read as tensors and nothing else, compared with the base model's architecture, their
zeros counted as student_pruning counts its own, and refused where they differ from the claim. The artifact holds
the encoder (and its pooler) under the same names, with the base model's tokenizer: teacher, dense model and sparse
model must read the same tokens. Heads are left behind; transfer makes its own.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.errors import HarnessError, UsageError
from harness.identity import file_sha256
from harness.inputs.family import Family
from harness.inputs.sparse_checkpoints import (
    CHECKPOINT_FILES,
    TOLERANCE,
    SparseCheckpoint,
    architecture_problems,
)
from harness.inputs.weight_files import PICKLED, SAFETENSORS, encoder_tensors, without_place
from harness.progress import StopFlag
from harness.stages.context import StageContext, StageResult
from harness.stages.loading import base_model_folder, family_of, library_config, load_tokenizer, one_line, quiet
from harness.training.modifiers import Matrices, sparsity_details


class RefusedCheckpointError(HarnessError):
    """A sparse checkpoint that differs from what was claimed, or a pickle that holds more than tensors."""


def sparse_checkpoint(context: StageContext) -> StageResult:
    """Loads, checks, counts and saves the encoder. Raises RefusedCheckpointError with every problem found."""
    quiet()
    base = base_model_folder(context)
    checkpoint, folder = _on_this_machine(context)
    family, config = _checked_configuration(checkpoint, folder, base)
    tokenizer = _base_tokenizer(checkpoint, folder, base)
    file = next((folder / name for name in CHECKPOINT_FILES if (folder / name).is_file()), None)
    if file is None:
        raise RefusedCheckpointError(f"{checkpoint.source}: none of {', '.join(CHECKPOINT_FILES)} in {folder}.")
    weights = encoder_tensors(read_tensors(file), family)
    with_pooler = family.pooler is not None and f"{family.pooler}.weight" in weights
    encoder = _encoder(checkpoint, config, family, weights, context.stops, with_pooler=with_pooler)
    model = nn.Module()  # under the backbone's name, as in every model with a head
    model.config = config
    model.add_module(family.backbone, encoder)
    matrices = Matrices.of(model, family)
    details = sparsity_details(model, matrices)
    claimed = context.parameters["sparsity"]
    _check_sparsity(checkpoint, details["sparsity"], claimed)
    _save(context, model, matrices, config, tokenizer)
    return StageResult(
        did=_summary(file, details["sparsity"], claimed),
        details={
            **details,
            "checkpoint": {
                "source": checkpoint.source,
                "file": file.name,
                "file_sha256": file_sha256(file),
                "claimed_sparsity": claimed,
                "with_pooler": with_pooler,
            },
        },
    )


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors by name of a safetensors file, or of a pickled one through the reader that builds tensors and no more.

    Raises RefusedCheckpointError when the file is damaged, or when a pickle names anything else; nothing it names is
    called.
    """
    if file.name == SAFETENSORS:
        try:
            return load_file(file)
        except SafetensorError as error:
            raise RefusedCheckpointError(f"{file} cannot be read: {one_line(error)}.") from None
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RefusedCheckpointError(
            f"{file} was refused: as a pickle it asks for more than tensors, and loading never executes "
            f"({one_line(error)}). Expected weights alone, best as {SAFETENSORS}."
        ) from None
    except (RuntimeError, EOFError, ValueError) as error:
        raise RefusedCheckpointError(f"{file} cannot be read: {one_line(error)}.") from None
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise RefusedCheckpointError(
            f"{file} was refused: it holds a {type(content).__name__}, expected named tensors."
        )
    return dict(content)


def _on_this_machine(context: StageContext) -> tuple[SparseCheckpoint, Path]:
    checkpoint = context.sources.checkpoints.get(context.spec.inputs["checkpoint"])
    if checkpoint is None or checkpoint.folder is None:
        source = checkpoint.source if checkpoint else "the sparse checkpoint of the plan"
        raise RefusedCheckpointError(f"{source} is not on this machine. Run harness fetch, or name its folder again.")
    try:
        checkpoint.check_unchanged(context.sources.hashes)
    except UsageError as error:
        raise RefusedCheckpointError(str(error)) from None
    return checkpoint, checkpoint.folder


def _checked_configuration(checkpoint: SparseCheckpoint, folder: Path, base: Path) -> tuple[Family, Any]:
    """The checkpoint's family and configuration, both read by the library, so that defaults are compared too."""
    config, base_config = (library_config(place) for place in (folder, base))
    family, base_family = family_of(folder), family_of(base)
    problems = architecture_problems(
        family, _plain(family, config), _plain(family, base_config), base_family=base_family
    )
    if problems:
        raise RefusedCheckpointError(f"{checkpoint.source} does not fit the base model: {' '.join(problems)}")
    return family, config


def _plain(family: Family, config: Any) -> dict[str, Any]:
    return {key: getattr(config, key) for key in family.architecture if hasattr(config, key)}


def _base_tokenizer(checkpoint: SparseCheckpoint, folder: Path, base: Path) -> Any:
    """The base model's tokenizer, once the checkpoint's own, if it brings one, is found to have the same vocabulary."""
    tokenizer = load_tokenizer(base)
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        own, wanted = load_tokenizer(folder).get_vocab(), tokenizer.get_vocab()
        moved = sorted(token for token in {*own, *wanted} if own.get(token) != wanted.get(token))
        if moved:
            raise RefusedCheckpointError(
                f"{checkpoint.source} does not fit the base model: {len(moved)} tokens of its vocabulary are absent or "
                f"have another number ({', '.join(moved[:3])} ..)."
            )
    return tokenizer


def _encoder(
    checkpoint: SparseCheckpoint,
    config: Any,
    family: Family,
    weights: Mapping[str, Tensor],
    stops: StopFlag,
    *,
    with_pooler: bool,
) -> nn.Module:
    """The bare encoder with these weights in fp32.

    Without a pooler where the weights have none: transfer draws one with its own seed. Raises RefusedCheckpointError
    with every tensor that is lacking, without a place, of another shape, no floats or not finite.
    """
    options = {"add_pooling_layer": with_pooler} if family.pooler else {}
    config.dtype = torch.float32
    encoder: nn.Module = transformers.AutoModel.from_config(config, dtype=torch.float32, **options)
    wanted = encoder.state_dict()
    lacking = sorted(wanted.keys() - weights.keys())
    problems = []
    if lacking:
        problems.append(
            f"it lacks {len(lacking)} of {len(wanted)} tensors ({', '.join(lacking[:3])} ..). If it was saved "
            "during pruning, its masks were never made permanent."
        )
    problems += [f"{told}." for told in without_place(weights, wanted, f"a {family.name} with its config.json")]
    for name in stops.over(sorted(wanted.keys() & weights.keys()), "tensors checked"):
        if wanted[name].shape != weights[name].shape:
            problems.append(f"{name} is {list(weights[name].shape)}, expected {list(wanted[name].shape)}.")
        elif not weights[name].is_floating_point():
            problems.append(f"{name} is {weights[name].dtype}, expected floats.")
        elif not bool(torch.isfinite(weights[name]).all()):
            problems.append(f"{name} has entries that are not finite.")
    if problems:
        raise RefusedCheckpointError(f"{checkpoint.source} was refused: {' '.join(problems)}")
    encoder.load_state_dict({name: weights[name] for name in wanted})
    return encoder


def _check_sparsity(checkpoint: SparseCheckpoint, counted: Mapping[str, Any], claimed: float) -> None:
    if abs(counted["encoder"] - claimed) > TOLERANCE:
        raise RefusedCheckpointError(
            f"{checkpoint.source} was refused: {counted['encoder_zeros']:,} of the {counted['encoder_numel']:,} "
            f"weights in its {counted['encoder_matrices']} encoder matrices are zero, "
            f"a sparsity of {counted['encoder']:.4f}; claimed is {claimed:g}, and half a point is allowed. "
            "A file saved during pruning, or under another's name, looks like this."
        )


@torch.no_grad()
def _save(context: StageContext, model: nn.Module, matrices: Matrices, config: Any, tokenizer: Any) -> None:
    """As student_pruning's artifact, without heads. A zero is +0.0, so that equal weights have equal bytes."""
    folder = context.artifact
    for name in context.checked((*matrices.encoder, *matrices.pooler), "matrices to save"):
        model.get_submodule(name).weight.add_(0.0)  # type: ignore[operator]
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / SAFETENSORS, {"format": "pt"})
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _summary(file: Path, counted: Mapping[str, Any], claimed: float) -> list[str]:
    converted = f", converted to {SAFETENSORS}" if file.name == PICKLED else ""
    num_matrices = counted["encoder_matrices"]
    did = [
        f"took {num_matrices} of {num_matrices} encoder matrices from {file.name}{converted}",
        f"counted {counted['encoder_zeros']:,} zeros in {counted['encoder_numel']:,} weights: "
        f"{counted['encoder']:.4f}, claimed {claimed:g}",
    ]
    did += [f"the pooler holds {zeros:,} zeros in {numel:,} weights" for zeros, numel in counted["pooler"].values()]
    return did
