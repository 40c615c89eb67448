"""The benchmark for GPUs, on a CPU: that it counts what runs, and that both of its steps are the same training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from flops import counted_by_torch

from benchmarks import gpu
from harness.compression.sparsify import remove_masks

CPU = torch.device("cpu")


def test_the_floor_is_what_torch_counts_of_the_steps_products() -> None:
    """Of every micro-batch the student's forward and backward pass and the teacher's forward pass."""
    student, teacher = gpu.models_of("tiny", "eager", CPU, masked=True)
    batch = gpu.batch_of(gpu.config_of("tiny"), 4, 16, CPU)
    loss = gpu.our_loss(teacher, "fp32")
    parts = gpu.micro_batches(batch, 2)
    counted = sum(counted_by_torch(lambda model, inputs: loss(model, inputs, batch), student, part) for part in parts)
    assert len(parts) == 2
    assert gpu.flops_of(student, teacher, batch, 2) == counted


def test_the_plain_step_has_the_loss_of_ours() -> None:
    """Same weights, no dropout, every token live: masked mean, soft targets over all tokens, both over pairs."""
    student, teacher = gpu.models_of("tiny", "eager", CPU, masked=True)
    remove_masks(student)
    student.eval()
    batch = gpu.batch_of(gpu.config_of("tiny"), 4, 16, CPU)
    ours = gpu.our_loss(teacher, "fp32")(student, batch, batch)
    plain = gpu.plain_loss(teacher)(student, batch, batch)
    assert plain.item() == pytest.approx(ours.item(), rel=1e-5)


def test_a_batch_has_no_padding_and_a_label_for_each_masked_token() -> None:
    batch = gpu.batch_of(gpu.config_of("tiny"), 8, 64, CPU)
    assert batch["attention_mask"].sum() == 8 * 64
    share = float((batch["labels"] != -100).float().mean())
    assert share == pytest.approx(0.15, abs=0.05)


def test_it_runs_and_says_what_it_could_not_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--size", "tiny", "--examples", "4", "--length", "16", "--micro-batch", "2", "--rounds", "1"]
    assert gpu.main([*words, "--precision", "fp32,tf32", "--out", str(tmp_path / "bench.json")]) == 0
    said = capsys.readouterr()
    assert "precision=tf32 needs an NVIDIA GPU" in said.err
    told = json.loads((tmp_path / "bench.json").read_text())
    assert [step["name"] for step in told["steps"]] == ["plain, fp32, eager", "fp32"]
    for step in told["steps"]:
        assert step["flops"] > 0 < step["seconds"]
        assert step["peak_gb"] is None
        assert step["name"] in said.out


@pytest.mark.parametrize("short", ["plain, fp32, eager", "fp32"])
def test_a_step_that_runs_out_of_memory_is_told_and_the_others_are_reported(
    short: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = gpu.measure

    def measure(name: str, *given: Any) -> gpu.Measured:
        if name == short:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 58.00 GiB.")
        return measured(name, *given)

    monkeypatch.setattr(gpu, "measure", measure)
    words = ["--size", "tiny", "--examples", "4", "--length", "16", "--micro-batch", "2", "--rounds", "1"]
    assert gpu.main([*words, "--precision", "fp32", "--out", str(tmp_path / "bench.json")]) == 0
    said = capsys.readouterr()
    reason = "out of memory at --micro-batch 2; a smaller one takes less."
    assert f"{short}: {reason}" in said.err
    told = json.loads((tmp_path / "bench.json").read_text())
    (other,) = {"plain, fp32, eager", "fp32"} - {short}
    assert [step["name"] for step in told["steps"]] == [other]
    assert told["left_out"] == {short: reason}
    (line,) = (line for line in said.out.splitlines() if line.startswith(f"{other}  "))
    assert line.split()[-2] == ("-" if other == "fp32" else "1.00")  # times plain
