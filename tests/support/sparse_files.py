"""Sparse checkpoints written byte by byte: what planning sees of them, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from grid_world import write_model

from harness.inputs.encoder_folder import read_sizes
from harness.inputs.families import BERT, FAMILIES

# The matrices of a layer: 4 of 8 x 8 and 2 of 8 x 16, 512 weights; two layers have 1,024.
WEIGHTS = 1024


def save(path: Path, tensors: dict[str, np.ndarray], dtypes: dict[str, str] | None = None) -> None:
    """A safetensors file, written here byte by byte: length, header, data."""
    names = {"float32": "F32", "float16": "F16", "float64": "F64", "int8": "I8", "uint16": "BF16"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        begin, data = len(data), data + array.tobytes()
        dtype = (dtypes or {}).get(name, names[array.dtype.name])
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def matrices(zeros: int, *, prefix: str = "bert.", dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Two BERT layers whose first matrix (64 weights a matrix) and the following ones hold `zeros` zeros in all."""
    found = {}
    for name in BERT.encoder_matrices(2):
        shape = (16, 8) if name.endswith("intermediate.dense") else (8, 8)
        shape = (8, 16) if name.endswith(("r.0.output.dense", "r.1.output.dense")) else shape
        array = np.ones(shape, dtype=dtype)
        here = min(zeros, array.size)
        array.reshape(-1)[:here] = 0
        zeros -= here
        found[prefix + name.removeprefix("bert.") + ".weight"] = array
    assert sum(array.size for array in found.values()) == WEIGHTS
    found[f"{prefix}embeddings.word_embeddings.weight"] = np.zeros((3, 8), dtype=dtype)  # not counted
    return found


def write_sparse(folder: Path, zeros: int = 870, **config: Any) -> Path:
    """`write_model` with the matrices above among its tensors."""
    write_model(folder, **config)
    said = json.loads((folder / "config.json").read_text())
    family = FAMILIES[said["model_type"]]
    tensors = {
        f"{family.backbone}.{name}": np.zeros(shape, dtype=np.float32)
        for name, shape in family.tensors(read_sizes(said, family, "a test's model")).items()
    }
    if said["model_type"] == "bert":
        fitting = {name: array for name, array in matrices(zeros).items() if tensors[name].shape == array.shape}
        tensors |= fitting
    save(folder / "model.safetensors", tensors)
    return folder
