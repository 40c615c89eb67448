"""The benchmark of inference: every runtime on one model, beside dense in torch."""

from __future__ import annotations

import json
import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from grid_world import ROOT

from benchmarks import inference
from benchmarks.inference import as_text, main, pruned
from harness.inputs.families import BERT
from harness.runtimes.sessions import RUNTIMES


def found(runtime: str, tokens: int, milliseconds: float) -> dict[str, Any]:
    times = dict.fromkeys(("p50_ms", "p90_ms", "p99_ms"), milliseconds)
    return {"runtime": runtime, "examples": 1, "tokens": tokens, **times, "memory_bytes": 2**20}


def test_ratios_are_of_the_dense_model_at_the_same_size_and_goals_are_judged() -> None:
    measured = [
        found("torch fp32", 16, 8.0),
        found("torch fp32", 128, 40.0),
        found("torch csr", 16, 4.0),
        found("torch csr", 128, 32.0),
        found("onnxruntime int8", 128, 20.0),
    ]
    lines = [line.split() for line in as_text(measured).splitlines()[4:]]
    told = {(" ".join(line[:2]), line[4]): (line[8], " ".join(line[10:])) for line in lines}
    assert told["torch csr", "16"] == ("2.00", "met (2.0)")
    assert told["torch csr", "128"] == ("1.25", "not met (1.3)")
    assert told["onnxruntime int8", "128"] == ("2.00", "met (1.5)")
    assert told["torch fp32", "16"] == ("1.00", "")


def test_the_page_shows_the_committed_measurement() -> None:
    """Median of dense over median to two decimals, and the most memory of the sizes to the MiB."""
    told = json.loads((ROOT / "results" / "benchmarks" / "inference.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    head, *rows = re.findall(r"^\| (.*) \|$", page.partition("\n## What zeros and 8 bits buy here")[2], re.MULTILINE)
    assert head == "runtime | 1 x 16 tokens | 1 x 128 | 8 x 128 | MiB"
    shown = {name: cells for name, *cells in (row.split(" | ") for row in rows[1:])}
    sizes = [(1, 16), (1, 128), (8, 128)]
    of = {(each["runtime"], (each["examples"], each["tokens"])): each for each in told["measured"]}
    dense = [of["torch fp32", size]["p50_ms"] for size in sizes]
    expected = {}
    for name in dict.fromkeys(name for name, _ in of):
        ratios = [f"{base / of[name, size]['p50_ms']:.2f}" for base, size in zip(dense, sizes, strict=True)]
        most = max(of[name, size]["memory_bytes"] for size in sizes)
        expected[name] = [*ratios, f"{most / 2**20:,.0f}"]
    named = "torch fp32 ({:,.0f}, {:,.0f} and {:,.0f} ms)".format(*dense)
    expected[named] = ["1", "1", "1", expected.pop("torch fp32")[-1]]
    assert shown == expected
    assert ("machine_in_words" in told) == ("(`results/benchmarks/inference.json`, which names the versions)" in page)


def test_what_is_written_names_the_versions_of_the_runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "measured", lambda *_, **__: [found("torch fp32", 16, 8.0)])
    assert main(["--out", str(tmp_path / "inference.json")]) == 0
    told = json.loads((tmp_path / "inference.json").read_text())
    for package in ("torch", "onnxruntime", "openvino"):
        version = metadata.version(package) if find_spec(package) else "absent"
        assert f"{package} {version}" in told["machine_in_words"]


def test_the_model_is_pruned_in_every_encoder_matrix() -> None:
    model = pruned(1)
    for name in BERT.encoder_matrices(1):
        weight = model.get_submodule(name).weight
        assert int((weight == 0).sum()) == int(0.9 * weight.numel())


@pytest.mark.slow
def test_it_measures_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [each for each in RUNTIMES if each.name in ("torch fp32", "onnxruntime int8")]
    monkeypatch.setattr(inference, "RUNTIMES", chosen)
    out = tmp_path / "inference.json"
    assert main(["--layers", "1", "--sizes", "1x8", "--seconds", "0.01", "--out", str(out)]) == 0
    names = [each["runtime"] for each in json.loads(out.read_text())["measured"]]
    assert names == [each.name for each in chosen if each.is_installed()]
