"""The benchmark of inference: every runtime on one model, beside dense in torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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
