"""Stage latency: how long a model takes on this machine, in everything here that runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import transformers

from harness.inputs.families import FAMILIES
from harness.inputs.machine_facts import machine_in_words
from harness.progress import StageProgress
from harness.runtimes.onnx_graph import INPUTS, write_onnx
from harness.runtimes.sessions import RUNTIMES, Source, inputs_of, pin
from harness.runtimes.timing import MemoryWatch, timed
from harness.stages.context import StageContext, StageResult
from harness.stages.evaluation import load_for_scoring
from harness.stages.loading import quiet
from harness.tasks import get_task

CHILD = "harness.stages.latency"
MOST_ERROR = 400  # characters of what a child says when it fails


def latency(context: StageContext) -> StageResult:
    """Time the parent "model" at every size, in a process for each runtime, so that none has another's memory.

    The stage belongs to the machine it was planned on: on another one it raises ValueError.
    """
    parameters, here = context.parameters, machine_in_words()
    if parameters["machine"] != here:
        raise ValueError(
            f"this measurement was planned on {parameters['machine']}, and this is {here}. Run it there, or give its "
            "grid's command here, which plans another."
        )
    folder = context.parent_artifacts["model"]
    zeros = context.parent_records["model"]["result"]["sparsity"]["encoder"]
    is_quantised = parameters["arithmetic"] == "int8"
    wanted = [runtime for runtime in RUNTIMES if runtime.is_for(zeros, is_quantised)]
    absent = [runtime.name for runtime in wanted if not runtime.is_installed()]
    installed = [runtime for runtime in wanted if runtime.is_installed()]
    asked = question(folder, context.checkpoints, parameters)
    if any(runtime.opens_graph for runtime in installed):
        write_graph(asked)
    measured: list[dict[str, Any]] = []
    began = time.monotonic()
    for done, runtime in enumerate(installed):
        context.stops.check(lambda done=done: f"measuring {done} of {len(installed)} runtimes")  # type: ignore[misc]
        measured += in_a_process(asked, runtime.name)
        left = (time.monotonic() - began) / (done + 1) * (len(installed) - done - 1)
        context.report(StageProgress(step=done + 1, steps=len(installed), seconds_left=left))
    return StageResult(
        did=[f"measured {runtime.name}" for runtime in installed]
        + [f"left out {name}: not installed" for name in absent],
        details={"latency": {"machine": here, "threads": parameters["threads"], "measured": measured}},
    )


def sizes_of(text: str) -> list[tuple[int, int]]:
    """(examples, tokens) of every measurement: of the setting `sizes`, as 1x128,32x128."""
    return [(int(examples), int(tokens)) for examples, _, tokens in (size.partition("x") for size in text.split(","))]


def _load(folder: Path, parameters: Mapping[str, Any]) -> Any:
    model, _ = load_for_scoring(folder, get_task(parameters["task"]), parameters)
    return model.to("cpu")


def question(folder: Path, work: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a child process is asked, but for the runtime: of the model in `folder`. work: where its graph goes."""
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    return {
        "folder": str(folder),
        "onnx": str(work / "model.onnx"),
        "vocabulary": config.vocab_size,
        "positions": config.max_position_embeddings,
        "parameters": dict(parameters),
    }


def write_graph(asked: Mapping[str, Any]) -> None:
    """The model's ONNX graph, in place of one that an attempt before left."""
    quiet()
    Path(asked["onnx"]).unlink(missing_ok=True)
    write_onnx(_load(Path(asked["folder"]), asked["parameters"]), Path(asked["onnx"]))


def in_a_process(asked: Mapping[str, Any], runtime: str) -> list[dict[str, Any]]:
    """What a child process measured in a runtime. Raises RuntimeError with its last words where it failed."""
    words = [sys.executable, "-P", "-c", f"from {CHILD} import {child.__name__}; {child.__name__}()"]
    text = json.dumps({**asked, "runtime": runtime})
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{runtime} failed: {done.stderr.strip()[-MOST_ERROR:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every size in one runtime, in this process.

    memory_bytes: the most that opening and running it took so far, beside what the process had before.
    """
    quiet()
    parameters = asked["parameters"]
    pin(parameters["threads"])
    runtime = next(each for each in RUNTIMES if each.name == asked["runtime"])
    family = FAMILIES[transformers.AutoConfig.from_pretrained(asked["folder"], local_files_only=True).model_type]
    names = [name for name in INPUTS if name != "token_type_ids" or "token_types" in family.sizes]
    inputs = {
        size: inputs_of(names, asked["vocabulary"], *size)
        for size in sizes_of(parameters["sizes"])
        if size[1] <= asked["positions"]
    }
    memory = MemoryWatch()
    source = Source(lambda: _load(Path(asked["folder"]), parameters), Path(asked["onnx"]), names)
    session = runtime.open(source, parameters["threads"])
    found = []
    for (examples, tokens), tensors in inputs.items():
        timing = timed(lambda tensors=tensors: session(tensors), parameters["seconds"])  # type: ignore[misc]
        what = {"runtime": runtime.name, "scored": runtime.is_scored, "examples": examples, "tokens": tokens}
        found.append({**what, **asdict(timing), "memory_bytes": memory.peak()})
    return found


def child() -> None:
    """What the child runs: a question on standard input, its measurements on the last line of standard output."""
    print(json.dumps(measure(json.loads(sys.stdin.read()))))
