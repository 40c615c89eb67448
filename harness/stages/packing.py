"""Stage packing: a model's packed file, its size beside the bound, and the scores of what is read back from it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from harness.compression.sparsify import pattern_digest
from harness.errors import require
from harness.inputs.family import Family
from harness.inputs.weight_files import INT8_FILE, SAFETENSORS
from harness.packed.checkpoint import (
    PACKED_FILE,
    SavedModel,
    packed_model,
    sizes_of,
    unpacked_model,
)
from harness.packed.packed_file import write_packed
from harness.stages.context import StageContext, StageResult
from harness.stages.evaluation import load_for_scoring, scored_splits
from harness.stages.loading import family_of, library_config, load_tokenizer, quiet
from harness.tasks import task_of
from harness.training.modifiers import Matrices

INT8 = "int8"


def packing(context: StageContext) -> StageResult:
    """Pack the parent "model", read the file back, and score that.

    The artifact holds the packed file beside the configuration and the tokenizer, as `harness export` writes it.
    """
    quiet()
    parameters, task = context.parameters, task_of(context.parameters)
    torch.set_num_threads(parameters["threads"])
    source, artifact = context.parent_artifacts["model"], context.artifact
    family, saved = family_of(source), SavedModel.read(source)
    matrices = matrices_of(source, saved)
    embeddings = embeddings_of(saved, family) if parameters["embeddings"] == INT8 else []
    packed = packed_model(
        saved,
        [*matrices.encoder, *matrices.pooler],
        embeddings,
        begins=lambda done: context.stops.check(lambda: f"packing {done} of {len(saved.weights)} tensors"),
    )
    copy_rest(source, artifact)
    write_packed(artifact / PACKED_FILE, packed)

    back = unpacked_model(artifact / PACKED_FILE)
    folder = context.checkpoints / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(artifact, folder, ignore=shutil.ignore_patterns(PACKED_FILE))
    back.write(folder)
    model, did = load_for_scoring(folder, task, parameters)
    pattern = pattern_digest(model, matrices.encoder) if not saved.int8 else None
    wanted = context.parent_records["model"]["result"]["sparsity"]["pattern_sha256"]
    require(pattern in (None, wanted), "the zeros that were read back are not those that were packed")
    metrics: dict[str, Any] = {}
    batches: dict[str, Any] = {}
    for reported_as, scored in scored_splits(context, model, task, load_tokenizer(folder), batches):
        metrics[reported_as] = scored.metrics
        did += [f"{reported_as}: {note}" for note in scored.notes]
    shutil.rmtree(folder)
    sizes = sizes_of(saved, packed, matrices.encoder)
    file_bytes = (artifact / PACKED_FILE).stat().st_size
    return StageResult(
        metrics=metrics,
        did=[f"packed {len(packed.matrices)} matrices and {len(packed.tensors)} tensors", *did],
        details={
            "batches": batches,
            "packed": {
                "encoder_bytes": sizes.packed,
                "encoder_bound_bytes": round(sizes.bound),
                "encoder_plain_bytes": sizes.plain,
                "encoder_fp32_bytes": sizes.fp32,
                "file_bytes": file_bytes,
                "dense_file_bytes": (source / SAFETENSORS).stat().st_size,
                "embeddings": parameters["embeddings"],
            },
        },
    )


def matrices_of(folder: Path, saved: SavedModel) -> Matrices:
    """The encoder matrices and the pooler of a folder's family among the weights that were read from it."""
    family = family_of(folder)
    num_layers = library_config(folder).num_hidden_layers
    pooler = f"{family.backbone}.{family.pooler}"
    has_pooler = family.pooler is not None and f"{pooler}.weight" in saved.weights
    return Matrices(encoder=tuple(family.encoder_matrices(num_layers)), pooler=(pooler,) if has_pooler else ())


def embeddings_of(saved: SavedModel, family: Family) -> list[str]:
    """Names of the embedding tables, of words, positions and token types."""
    names = (f"{family.backbone}.{name}" for name, shape in family.embeddings.items() if len(shape) == 2)
    return [name for name in names if name in saved.weights]


def copy_rest(source: Path, to: Path) -> None:
    """Every file of a model's folder but its weights: the configuration and the tokenizer."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name not in (SAFETENSORS, INT8_FILE):
            shutil.copyfile(path, to / path.name)
