"""A cell's model, from its words to a folder that others load."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tiny_world
import torch
from grid_world import python
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import harness
from harness.cli.commands import export
from harness.cli.main import main
from harness.compression.quantization import FrozenQuantizedLinear
from harness.errors import StoreError, UsageError
from harness.export import formats
from harness.inputs.declared_families import KEY
from harness.packed.packed_file import PackedFileError
from harness.stages import latency
from harness.stages.loading import load_tokenizer
from harness.store.store import Store
from harness.studies.study import read_study
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.tables.build import build
from paper_tables.tables.measures import NOT_PACKED
from paper_tables.tables.table_file import load_table_file

INT8 = "method=prune-ofa,quantization=int8"
SENTENCES = ["the film was very good .", "the dish was very awful ."]


class Run(NamedTuple):
    store: Store

    def export(self, *words: str) -> int:
        return main(["export", *words, "--store", str(self.store.root)])


@pytest.fixture(scope="module")
def run(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One chain in fp32 and in 8 bits, packed."""
    return ran(tiny, tmp_path_factory.mktemp("exported") / "runs", "packing")


def ran(tiny: Any, root: Path, *measures: str, study: str = tiny_world.STUDY, **settings: Any) -> Run:
    short = {"dense__epochs": 1.0, "transfer__epochs": 1.0, "quantization__epochs": 1.0, "student_pruning__steps": 8}
    arguments = tiny_world.grid_arguments(tiny.model, tiny.data, root, **short, **settings)
    cells = ["--methods", "prune-ofa", "--tasks", "sst2", "--sparsities", "0.85", "--quantization", "none,int8"]
    assert main([*arguments, *cells, "--study", study, "--seeds", "0", "--measures", ",".join(measures)]) == 0
    return Run(Store(root))


def logits(model: Any, tokenizer: Any) -> np.ndarray:
    with torch.no_grad():
        return model(**tokenizer(SENTENCES, padding=True, return_tensors="pt")).logits.numpy()


def test_a_model_is_loaded_by_its_cells_words(run: Run) -> None:
    loaded = harness.load_model(tiny_world.STUDY, INT8, store=run.store.root)
    assert loaded.cell.quantization == "int8"
    assert sum(isinstance(module, FrozenQuantizedLinear) for module in loaded.model.modules()) == 14
    assert not loaded.model.training
    plain = harness.load_model(tiny_world.STUDY, {"quantization": "none"}, store=run.store.root)
    assert plain.cell.method == "prune-ofa"
    assert np.abs(logits(loaded.model, loaded.tokenizer) - logits(plain.model, plain.tokenizer)).max() < 0.5


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_a_hub_folder_loads_with_the_library_and_says_what_it_is(run: Run, tmp_path: Path, quantization: str) -> None:
    out = tmp_path / "hub"
    assert run.export(f"quantization={quantization}", "--out", str(out)) == 0
    model, told = AutoModelForSequenceClassification.from_pretrained(
        out, local_files_only=True, output_loading_info=True
    )
    assert not any(told.values())  # no key is missing, none is left over, none has another shape
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    ours = harness.load_model(tiny_world.STUDY, f"quantization={quantization}", store=run.store.root)
    card = (out / "README.md").read_text()
    if quantization == "none":
        assert np.array_equal(logits(model.eval(), tokenizer), logits(ours.model, ours.tokenizer))
        assert "13,9" in card  # zeros, counted
        assert "int8" not in card
    else:
        stored = load_file(out / "int8.safetensors")
        quantised = [name.removesuffix(".codes") for name in stored if name.endswith(".codes")]
        assert len(quantised) == 14
        for name in quantised:
            assert stored[f"{name}.codes"].dtype == torch.int8
            product = stored[f"{name}.codes"].float() * stored[f"{name}.weight_scale"]
            assert torch.equal(model.get_submodule(name).weight, product), name
        assert "`int8.safetensors`" in card
        assert "- int8" in card.splitlines()
    plan = read_study(run.store, tiny_world.STUDY).plan
    accuracy = 100 * recorded_accuracy(run, quantization)
    assert f"| sst2 | accuracy | {accuracy:.2f} | {tiny_world.SST2_VALIDATION} |" in card
    assert "datasets:" not in card  # those of the tests are a folder's, not the hub's
    assert "not the hub's" in card
    assert "student_pruning" in card
    assert "learning_rate = 0.003 (" in card
    assert plan.stages[plan.endpoint(ours.cell)].parents["model"] in card


def test_a_packed_folder_holds_the_same_model(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    assert run.export(INT8, "--format", "packed", "--out", str(out)) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.packed.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    model, tokenizer = harness.load_packed(out, "sst2")
    ours = harness.load_model(tiny_world.STUDY, INT8, store=run.store.root)
    assert np.array_equal(logits(model, tokenizer), logits(ours.model, ours.tokenizer))
    whole = (out / "model.packed.safetensors").read_bytes()
    (out / "model.packed.safetensors").write_bytes(whole[:-1])
    with pytest.raises(PackedFileError, match="cut off or edited"):
        harness.load_packed(out, "sst2")
    for other in ("qqp", "mnli", "squad"):
        with pytest.raises(UsageError, match=f"was not trained on {other}: its labels are negative, positive"):
            harness.load_packed(out, other)
    with pytest.raises(UsageError, match=r"has no model\.packed\.safetensors"):
        harness.load_packed(tmp_path, "sst2")
    with pytest.raises(UsageError, match="task 'sst3'"):
        harness.load_packed(out, "sst3")


EVIL = "Evil"
FOREIGN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {  # what config.json and tokenizer_config.json say too
    "a known family": ({}, {}, ""),
    "an unknown model_type": ({"model_type": EVIL}, {}, "model_type 'Evil'"),
    "one that the folder declares": (
        {"model_type": EVIL, KEY: {"name": EVIL, "like": "bert"}},
        {},
        "no code that a folder brings is run",
    ),
    "an unknown tokenizer": ({}, {"tokenizer_class": EVIL}, ""),
}


@pytest.mark.parametrize("named", FOREIGN)
def test_no_code_that_a_packed_folder_brings_is_run(
    run: Run, tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written, asked = tmp_path / "packed", tmp_path / "written", []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "y")
    assert run.export(INT8, "--format", "packed", "--out", str(out)) == 0
    (out / "evil.py").write_text(f"open({str(written)!r}, 'w').close()\nclass {EVIL}: pass\n")
    config, tokenizer_config, said = FOREIGN[named]
    classes = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForSequenceClassification"), f"evil.{EVIL}")
    change(out / "config.json", auto_map=classes, **config)
    change(out / "tokenizer_config.json", auto_map={"AutoTokenizer": [f"evil.{EVIL}"] * 2}, **tokenizer_config)
    if said:
        with pytest.raises(UsageError, match=said):
            harness.load_packed(out, "sst2")
    else:
        model, tokenizer = harness.load_packed(out, "sst2")
        ours = harness.load_model(tiny_world.STUDY, INT8, store=run.store.root)
        assert np.array_equal(logits(model, tokenizer), logits(ours.model, ours.tokenizer))
    with contextlib.suppress(ValueError):
        load_tokenizer(out)
    assert asked == []
    assert not written.exists()


def change(path: Path, **values: Any) -> None:
    """Other values in a file that holds a JSON object."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_graph_scores_as_the_model_does(run: Run, tmp_path: Path, form: str) -> None:
    package = pytest.importorskip("onnxruntime" if form == "onnx" else "openvino")
    out = tmp_path / form
    assert run.export(INT8, "--format", form, "--out", str(out)) == 0
    ours = harness.load_model(tiny_world.STUDY, INT8, store=run.store.root)
    inputs = {
        name: tensor.numpy() for name, tensor in ours.tokenizer(SENTENCES, padding=True, return_tensors="pt").items()
    }
    if form == "onnx":
        session = package.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {each.name: inputs[each.name] for each in session.get_inputs()})
    else:
        compiled = package.Core().compile_model(out / "openvino_model.xml", "CPU")
        found = compiled({each.get_any_name(): inputs[each.get_any_name()] for each in compiled.inputs})[0]
        assert not (out / "model.onnx").exists()
    wanted = logits(ours.model, ours.tokenizer)
    assert np.array_equal(found.argmax(1), wanted.argmax(1))
    assert np.abs(found - wanted).max() < 0.05 * np.ptp(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_graph_is_scored_by_its_runtime_on_the_cells_own_rows(
    run: Run, tiny: Any, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime" if form == "onnx" else "openvino")
    capsys.readouterr()
    words = [INT8, "--format", form, "--out", str(tmp_path / form), "--score-on", str(tiny.data), "--json"]
    assert run.export(*words) == 0
    (scored,) = json.loads(capsys.readouterr().out)["scores"]
    assert scored["recorded"] == pytest.approx(100 * recorded_accuracy(run, "int8"))
    assert scored["examples"] == tiny_world.SST2_VALIDATION
    assert abs(scored["exported"] - scored["recorded"]) <= 100 * 2 / tiny_world.SST2_VALIDATION  # two examples
    assert f"| sst2 | accuracy | {scored['exported']:.2f} |" in (tmp_path / form / "README.md").read_text()


@pytest.mark.parametrize(("form", "cell"), [("hub", "quantization=none"), ("packed", INT8)])
def test_what_was_written_scores_as_the_cell_did(
    run: Run, tiny: Any, tmp_path: Path, form: str, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [cell, "--format", form, "--out", str(tmp_path / form), "--score-on", str(tiny.data)]
    assert run.export(*words) == 0
    accuracy = 100 * recorded_accuracy(run, "int8" if cell == INT8 else "none")
    told = f"sst2 accuracy: {accuracy:.2f} on {tiny_world.SST2_VALIDATION} examples, +0.00 from the cell's record"
    assert told in capsys.readouterr().out


def test_a_file_that_computes_something_else_shows_in_its_score(
    run: Run, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The classifier's rows exchanged in what was written: every answer is the other one."""

    def exchanged(found: Any, out: Path) -> list[str]:
        lines = plain.write(found, out)
        weights = load_file(out / "model.safetensors")
        changed = {name: tensor.flip(0) if "classifier" in name else tensor for name, tensor in weights.items()}
        save_file(changed, out / "model.safetensors", metadata={"format": "pt"})
        return lines

    plain = formats.FORMATS["hub"]
    monkeypatch.setitem(formats.FORMATS, "hub", replace(plain, write=exchanged))  # type: ignore[arg-type]
    words = ["quantization=none", "--out", str(tmp_path / "hub"), "--score-on", str(tiny.data), "--json"]
    capsys.readouterr()
    assert run.export(*words) == 0
    (scored,) = json.loads(capsys.readouterr().out)["scores"]
    assert scored["exported"] == pytest.approx(100 - scored["recorded"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("synthetic", "the rows of sst2/validation are not those that the cell was scored on"),
        ("synthetic:one", "--score-on synthetic:one: expected synthetic or synthetic:SEED"),
        ("nowhere", "nowhere"),
    ],
)
def test_other_data_are_refused_before_anything_is_written(
    run: Run, tmp_path: Path, data: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.export("quantization=none", "--out", str(tmp_path / "out"), "--score-on", data) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def recorded_accuracy(run: Run, quantization: str) -> float:
    plan = read_study(run.store, tiny_world.STUDY).plan
    (cell,) = (cell for cell in plan.paths if cell.quantization == quantization)
    found: float = run.store.stage(plan.endpoint(cell)).read_record()["result"]["metrics"]["sst2"]["accuracy"]
    return found


def test_a_measure_is_shown_with_its_cell_and_its_numbers(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    plan = read_study(run.store, tiny_world.STUDY).plan
    (packing, *_) = (i for ids in plan.measures.values() for i in ids)
    assert main(["show", packing, "--store", str(run.store.root)]) == 0
    shown = capsys.readouterr().out
    sizes = run.store.stage(packing).read_record()["result"]["packed"]
    assert f"encoder {sizes['encoder_bytes']:,} bytes" in shown
    assert f"file {sizes['file_bytes']:,} bytes" in shown
    assert "prune-ofa sst2" in shown or "prune-ofa 0.85 sst2" in shown
    assert main(["show", "quantization=int8", "--store", str(run.store.root)]) == 0
    assert "packing of quantization" in capsys.readouterr().out


def test_what_was_packed_scores_as_the_cell_does(run: Run) -> None:
    plan = read_study(run.store, tiny_world.STUDY).plan
    for cell in plan.paths:
        (packing,) = plan.measuring(cell, "packing")
        packed, scored = (run.store.stage(i).read_record()["result"] for i in (packing, plan.endpoint(cell)))
        assert packed["metrics"] == scored["metrics"]
        sizes = packed["packed"]
        artifact = run.store.stage(packing).artifact_path / "model.packed.safetensors"
        assert sizes["file_bytes"] == artifact.stat().st_size
        assert sizes["encoder_fp32_bytes"] == 4 * tiny_world.ENCODER_WEIGHTS
        assert sizes["encoder_bytes"] < sizes["encoder_fp32_bytes"] / (4 if cell.quantization == "none" else 8)


def packed_sizes(run: Run, study: str) -> dict[str, Any]:
    """What the packing records hold, by the cells' quantization."""
    plan = read_study(run.store, study).plan
    found = {}
    for cell in plan.paths:
        (packing,) = plan.measuring(cell, "packing")
        found[cell.quantization] = run.store.stage(packing).read_record()["result"]
    return found


def test_the_compression_table_has_what_the_packing_records_hold(run: Run) -> None:
    table = build(load_table_file("compression"), read_numbers(run.store, tiny_world.STUDY))
    lines = {line.bits: [cell.text for cell in line.cells] for line in table.lines()}
    assert NOT_PACKED not in str(lines)
    for quantization, bits in (("none", "32"), ("int8", "8")):
        sizes = packed_sizes(run, tiny_world.STUDY)[quantization]["packed"]
        assert lines[bits][2:6] == [
            f"{sizes['encoder_bytes']:,}",
            f"{sizes['encoder_bytes'] / sizes['encoder_bound_bytes']:.3f}",
            f"{sizes['file_bytes']:,}",
            f"{sizes['dense_file_bytes'] / sizes['file_bytes']:.1f}x",
        ]


def test_embeddings_go_to_8_bits_where_a_grid_sets_it(run: Run, tiny: Any, tmp_path: Path) -> None:
    """The models are those of the grid before; only their packing is another."""
    shutil.copytree(run.store.root, tmp_path / "runs")
    again = ran(tiny, tmp_path / "runs", "packing", study="rounded", packing__embeddings="int8")
    before, after = packed_sizes(run, tiny_world.STUDY), packed_sizes(again, "rounded")
    for quantization, result in after.items():
        assert result["packed"]["embeddings"] == "int8"
        assert before[quantization]["packed"]["embeddings"] == "fp32"
        assert result["packed"]["file_bytes"] < before[quantization]["packed"]["file_bytes"]
        assert result["packed"]["encoder_bytes"] == before[quantization]["packed"]["encoder_bytes"]
        assert 0 <= result["metrics"]["sst2"]["accuracy"] <= 1


@pytest.mark.slow
def test_what_was_timed_is_told_by_runtime_and_size(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runtimes for all: each child takes seconds to begin."""
    chosen = ("torch fp32", "torch csr", "onnxruntime int8")
    monkeypatch.setattr(latency, "RUNTIMES", [each for each in latency.RUNTIMES if each.name in chosen])
    run = ran(tiny, tmp_path / "runs", "latency", latency__sizes="1x8,2x16", latency__seconds=0.01)
    plan = read_study(run.store, tiny_world.STUDY).plan
    told = {}
    for cell in plan.paths:
        (measured,) = plan.measuring(cell, "latency")
        told[cell.quantization] = run.store.stage(measured).read_record()["result"]["latency"]
    names = {found["runtime"] for found in told["none"]["measured"]}
    assert names == {"torch fp32", "torch csr"}
    for found in [*told["none"]["measured"], *told["int8"]["measured"]]:
        assert (found["examples"], found["tokens"]) in ((1, 8), (2, 16))
        assert 0 < found["p50_ms"] <= found["p90_ms"] <= found["p99_ms"]
        assert found["calls"] >= 5  # as docs/export.md promises
    assert told["none"]["machine"] == told["int8"]["machine"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=prune-ofa"], "names 2 cells (quantization=none; quantization=int8)"),
        (["method=prune"], "Did you mean 'prune-ofa'"),
        (["everything"], "names no cell"),
        (["quantization=none", "--format", "onxx"], "Did you mean 'onnx'"),
        (["quantization=none", "--study", "other"], "study 'other'"),
    ],
)
def test_words_that_name_no_one_cell_are_told(
    run: Run, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.export(*words, "--out", str(tmp_path / "out")) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_stays_as_it_is(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    assert run.export("quantization=none", "--out", str(tmp_path)) == 2
    assert f"--out {tmp_path} is there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_command_knows_the_formats_that_there_are() -> None:
    """It names them without importing what writes them."""
    assert tuple(formats.FORMATS) == export.FORMATS


def test_what_a_format_needs_is_imported_when_it_is_written() -> None:
    code = (
        "import pkgutil, sys, importlib, harness.export, harness.runtimes\n"
        "for room in (harness.export, harness.runtimes):\n"
        "    for module in pkgutil.iter_modules(room.__path__, room.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "print('harness.export.formats' in sys.modules, 'harness.runtimes.sessions' in sys.modules)\n"
        "print(*{'onnx', 'onnxscript', 'onnxruntime', 'openvino'} & set(sys.modules))\n"
    )
    done = python("-c", code)
    assert done.stdout.splitlines() == ["True True", ""], done.stderr


def test_json_names_cell_stage_and_files(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.export("quantization=none", "--out", str(tmp_path / "out"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cell"]["quantization"] == "none"
    assert "model.safetensors" in told["files"]
    assert run.store.stage(told["stage"]).has_record()


def test_a_model_that_was_changed_is_not_shipped_under_its_scores(run: Run) -> None:
    plan = read_study(run.store, tiny_world.STUDY).plan
    cell = next(cell for cell in plan.paths if cell.quantization == "none")
    weights = run.store.stage(plan.stages[plan.endpoint(cell)].parents["model"]).artifact_path / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-4] + b"\0\0\0\1")
    try:
        with pytest.raises(StoreError, match="is not the one on record: it was changed"):
            harness.load_model(tiny_world.STUDY, "quantization=none", store=run.store.root)
    finally:
        weights.write_bytes(before)


def test_a_model_that_is_not_kept_is_told_with_the_next_move(run: Run, tmp_path: Path) -> None:
    plan = read_study(run.store, tiny_world.STUDY).plan
    cell = next(cell for cell in plan.paths if cell.quantization == "none")
    artifact = run.store.stage(plan.stages[plan.endpoint(cell)].parents["model"]).artifact_path
    artifact.rename(tmp_path / "away")
    try:
        with pytest.raises(UsageError, match="is not kept here"):
            harness.load_model(tiny_world.STUDY, "quantization=none", store=run.store.root)
    finally:
        (tmp_path / "away").rename(artifact)
