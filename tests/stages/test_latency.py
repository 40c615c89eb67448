"""Stage latency beside its children: where it may run, what it asks, how it stops. tests/export runs the children."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import quantised_toys
import torch

from harness.errors import Interrupted
from harness.inputs.machine_facts import machine_in_words
from harness.planning.kinds import KINDS
from harness.progress import StopFlag
from harness.runtimes import sessions
from harness.runtimes.sessions import DENSE, RUNTIMES, Source, inputs_of
from harness.stages import latency as stage

PARAMETERS: dict[str, Any] = {
    "machine": machine_in_words(),
    "arithmetic": "fp32",
    "attention": "sdpa",
    "task": "sst2",
    "threads": 1,
    "sizes": "1x8,2x16",
    "seconds": 0.01,
}


def context(folder: Path, *, polls: int = 10**9, zeros: float = 0.9, **changed: Any) -> Any:
    left = iter(range(polls))
    return SimpleNamespace(
        parameters={**PARAMETERS, **changed},
        parent_artifacts={"model": folder},
        parent_records={"model": {"result": {"sparsity": {"encoder": zeros}}}},
        checkpoints=folder,
        stops=StopFlag(lambda: next(left, None) is None),
        report=lambda progress: None,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runtimes whose children would have been started."""
    found: list[str] = []

    def child(question: dict[str, Any], runtime: str, check: Any) -> list[dict[str, Any]]:
        json.dumps(question)
        found.append(runtime)
        return [{"runtime": runtime}]

    monkeypatch.setattr(stage, "in_a_process", child)
    monkeypatch.setattr(stage, "write_graph", lambda question: None)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return quantised_toys.save(quantised_toys.toy("bert"), tmp_path / "model")


def test_every_runtime_that_is_installed_is_asked_and_the_others_are_named(
    folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without = [
        dataclasses.replace(each, needs=("no_such_package",)) if each.name == "openvino fp32" else each
        for each in RUNTIMES
    ]
    monkeypatch.setattr(stage, "RUNTIMES", without)
    found = stage.latency(context(folder))
    fp32 = [each.name for each in without if each.is_for(0.9, False) and each.is_installed()]
    assert asked == fp32
    assert "left out openvino fp32: not installed" in found.did
    assert found.details["latency"]["machine"] == machine_in_words()
    assert [each["runtime"] for each in found.details["latency"]["measured"]] == fp32


def test_a_dense_model_has_no_sparse_form_and_a_quantised_one_its_own_runtimes(folder: Path, asked: list[str]) -> None:
    stage.latency(context(folder, zeros=0.0))
    assert "torch csr" not in asked
    asked.clear()
    stage.latency(context(folder, arithmetic="int8"))
    assert all(name.endswith("int8") for name in asked)


def test_another_machine_than_the_planned_one_is_refused(folder: Path, asked: list[str]) -> None:
    with pytest.raises(ValueError, match=r"planned on an abacus, and this is .* gives?|planned on an abacus"):
        stage.latency(context(folder, machine="an abacus"))
    assert asked == []


def test_a_stop_comes_between_two_runtimes(folder: Path, asked: list[str]) -> None:
    with pytest.raises(Interrupted, match="measuring 1 of"):
        stage.latency(context(folder, polls=1))
    assert asked == [DENSE]


def test_where_nothing_can_be_measured_it_says_why(folder: Path, asked: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no size of 1x65,8x384 has at most 64 tokens"):
        stage.latency(context(folder, sizes="1x65,8x384"))
    assert asked == []


def test_a_stop_ends_the_child_that_measures(folder: Path) -> None:
    """It would have gone on for an hour."""
    question = stage.question(folder, folder, {**PARAMETERS, "seconds": 3600.0})
    polls = iter(range(4))

    def check() -> None:
        if next(polls, None) is None:
            raise Interrupted("stopped")

    began = time.monotonic()
    with pytest.raises(Interrupted):
        stage.in_a_process(question, DENSE, check)
    assert time.monotonic() - began < 20


def test_a_child_that_fails_is_quoted(folder: Path) -> None:
    question = stage.question(folder, folder, PARAMETERS)
    with pytest.raises(RuntimeError, match=r"(?s)no such runtime failed: .*StopIteration"):
        stage.in_a_process(question, "no such runtime")


def test_nine_sizes_are_measured_where_none_are_named() -> None:
    default = KINDS["latency"].recipe["sizes"].default
    assert sorted(stage.sizes_of(str(default))) == [(n, tokens) for n in (1, 8, 32) for tokens in (16, 128, 384)]


def test_sizes_are_read_and_those_beyond_the_models_positions_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage.sizes_of("1x16,32x384") == [(1, 16), (32, 384)]
    monkeypatch.setattr(stage, "pin", lambda threads: None)
    question = stage.question(folder, folder, {**PARAMETERS, "sizes": "1x8,1x65"})
    found = stage.measure({**question, "runtime": DENSE})
    assert [(each["examples"], each["tokens"]) for each in found] == [(1, 8)]  # it has 64 positions
    assert found[0]["scored"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no system call for it here")
def test_a_process_is_pinned_to_as_many_cores_as_threads() -> None:
    """In a process of its own, which began with two threads."""
    code = (
        "import os, torch; from harness.runtimes.sessions import pin; before = torch.get_num_threads(); "
        "cores = os.sched_getaffinity(0); pin(1); "
        "print(before, torch.get_num_threads(), os.sched_getaffinity(0) == {min(cores)})"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "1", "True"]


@pytest.mark.parametrize("name", quantised_toys.TOYS)
def test_the_forms_of_torch_compute_the_same_logits(name: str) -> None:
    """Rows in sparse form to rounding; torch's own 8 bits near them."""
    inputs = quantised_toys.batch(quantised_toys.toy(name), 3, 16)
    names = tuple(inputs)
    source = Source(lambda: quantised_toys.toy(name), Path("none"), names)
    opened = {each.name: each.open(source, 1) for each in RUNTIMES if not each.opens_graph}
    found = {runtime: run(inputs)[-1] for runtime, run in opened.items()}
    reach = float(found[DENSE].max() - found[DENSE].min())
    assert torch.allclose(found["torch csr"], found[DENSE], atol=1e-4 * reach)
    assert (found["torch dynamic int8"] - found[DENSE]).abs().max() < 0.3 * reach
    assert not torch.equal(found["torch dynamic int8"], found[DENSE])
    assert all(shape == (2, 5) for shape in (tuple(each.shape) for each in inputs_of(names, 60, 2, 5).values()))


def test_only_matrices_with_zeros_take_the_sparse_form() -> None:
    model = quantised_toys.toy("bert")
    source = Source(lambda: model, Path("none"), ("input_ids",))
    next(each for each in RUNTIMES if each.name == "torch csr").open(source, 1)
    sparse = [name for name, module in model.named_modules() if isinstance(module, sessions._SparseLinear)]
    assert sparse == list(quantised_toys.matrices_of(model).encoder)
