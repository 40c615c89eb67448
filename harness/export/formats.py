"""The formats of `harness export`: each writes a cell's model into a new folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from harness.compression.quantization import FrozenQuantizedLinear
from harness.export.card import write_card
from harness.export.format import Format
from harness.export.models import load_folder, load_packed, told_of_damage
from harness.export.rescored import Rescored, check_data, opened_graph, rescored
from harness.inputs.data_sources import DataSource
from harness.inputs.weight_files import INT8_FILE, SAFETENSORS
from harness.packed.checkpoint import PACKED_FILE, SavedModel, packed_model
from harness.packed.packed_file import write_packed
from harness.runtimes.onnx_graph import require_packages, write_onnx
from harness.stages.packing import copy_rest, matrices_of
from harness.studies.cell_models import CellModel

ONNX_FILE, OPENVINO_FILE = "model.onnx", "openvino_model.xml"


@dataclass(frozen=True)
class Exported:
    """What was written. lines: what it holds. rescored: what it scores where others run it; empty if nobody asked."""

    lines: Sequence[str]
    rescored: Sequence[Rescored]


def write(found: CellModel, name: str, out: Path, data: DataSource | None = None) -> Exported:
    """Write a cell's model in a format of `FORMATS` into `out`, a new folder.

    data: those of the cell's grid; what was written is scored on them. Raises UsageError for packages that are not
    installed and for other data, FileExistsError where `out` is there.
    """
    form = FORMATS[name]
    if data is not None:
        check_data(found, data)
    out.mkdir(parents=True)
    try:
        with told_of_damage():
            lines = form.write(found, out)
            scores = [] if data is None else list(rescored(found, form, out, data))
        write_card(found, form, out, scores)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    sizes = [f"{path.name}: {path.stat().st_size:,} bytes" for path in sorted(out.iterdir())]
    return Exported([*sizes, *lines], scores)


def _hub(found: CellModel, out: Path) -> list[str]:
    copy_rest(found.folder, out)
    shutil.copyfile(found.folder / SAFETENSORS, out / SAFETENSORS)
    if found.is_quantised:
        shutil.copyfile(found.folder / INT8_FILE, out / INT8_FILE)
        return [f"{SAFETENSORS} holds codes times scale in fp32; {INT8_FILE} the codes, scales and ranges."]
    return []


def _packed(found: CellModel, out: Path) -> list[str]:
    copy_rest(found.folder, out)
    saved = SavedModel.read(found.folder)
    matrices = matrices_of(found.folder, saved)
    write_packed(out / PACKED_FILE, packed_model(saved, [*matrices.encoder, *matrices.pooler]))
    times = (found.folder / SAFETENSORS).stat().st_size / (out / PACKED_FILE).stat().st_size
    return [f"{times:.1f} times smaller than {SAFETENSORS} in fp32, embeddings included."]


def _onnx(found: CellModel, out: Path) -> list[str]:
    copy_rest(found.folder, out)
    return _graph(found, out / ONNX_FILE)


def _openvino(found: CellModel, out: Path) -> list[str]:
    require_packages("openvino", extra="openvino")
    copy_rest(found.folder, out)
    lines = _graph(found, out / ONNX_FILE)
    from harness.export.openvino_ir import write_ir

    write_ir(out / ONNX_FILE, out / OPENVINO_FILE)
    (out / ONNX_FILE).unlink()
    return lines


def _graph(found: CellModel, path: Path) -> list[str]:
    model = load_folder(found.folder, found.study.plan.task_of(found.cell), is_quantised=found.is_quantised)
    write_onnx(model, path)
    quantised = sum(isinstance(module, FrozenQuantizedLinear) for module in model.modules())
    return [f"{quantised} Linear modules are quantised, by their stored codes and ranges."] if quantised else []


def _reopened(found: CellModel, folder: Path) -> nn.Module:
    return load_folder(folder, found.study.plan.task_of(found.cell), is_quantised=found.is_quantised)


FORMATS: Mapping[str, Format] = {
    form.name: form
    for form in (
        Format(
            name="hub",
            write=_hub,
            open=_reopened,
            read_by="in torch",
            loading="""from transformers import AutoTokenizer, {auto}

model = {auto}.from_pretrained("DIR")
tokenizer = AutoTokenizer.from_pretrained("DIR")""",
        ),
        Format(
            name="packed",
            write=_packed,
            open=lambda found, folder: load_packed(folder, found.study.plan.task_of(found.cell))[0],
            read_by="in torch, unpacked",
            loading="""import harness

model, tokenizer = harness.load_packed("DIR", task="{task}")""",
        ),
        Format(
            name="onnx",
            write=_onnx,
            open=lambda found, folder: opened_graph(found, "onnxruntime", folder / ONNX_FILE),
            read_by="in onnxruntime",
            loading="""import onnxruntime

session = onnxruntime.InferenceSession("DIR/model.onnx")""",
        ),
        Format(
            name="openvino",
            write=_openvino,
            open=lambda found, folder: opened_graph(found, "openvino", folder / OPENVINO_FILE),
            read_by="in OpenVINO",
            loading="""import openvino

model = openvino.Core().compile_model("DIR/openvino_model.xml", "CPU")""",
        ),
    )
}
