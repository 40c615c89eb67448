"""A graph in OpenVINO's own form, where that package is installed."""

from __future__ import annotations

from pathlib import Path

from harness.runtimes.onnx_graph import require_packages


def write_ir(onnx: Path, path: Path) -> None:
    """Write the graph of an ONNX file as `path` (.xml) and the weights beside it (.bin), none of them rounded.

    Raises UsageError where OpenVINO is not installed.
    """
    require_packages("openvino", extra="openvino")
    import openvino

    openvino.save_model(openvino.Core().read_model(onnx), path, compress_to_fp16=False)
