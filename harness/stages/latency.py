"""Stage latency: how long a model takes on this machine, in everything here that runs it."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.compression.quantization import load_frozen
from harness.inputs.encoder_folder import read_config
from harness.inputs.machine_facts import machine_in_words
from harness.progress import StageProgress
from harness.runtimes.onnx_graph import INPUTS, write_onnx
from harness.runtimes.sessions import RUNTIMES, Source, inputs_of, pin
from harness.runtimes.timing import MemoryWatch, timed
from harness.stages.context import StageContext, StageResult
from harness.stages.loading import THE_MODEL, family_of, load_for_task, load_int8, quiet
from harness.tasks import task_of
from harness.training.model_inputs import TOKEN_TYPES

CHILD = "harness.stages.latency"
MOST_ERROR = 400  # characters of what a child says when it fails
POLL_SECONDS = 0.2
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


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
    if not installed or not any(tokens <= asked["positions"] for _, tokens in sizes_of(parameters["sizes"])):
        raise ValueError(
            f"there is nothing to measure: of {', '.join(runtime.name for runtime in wanted)} none is installed (pip "
            f"install 'encoder-compression-harness[onnx]'), or no size of {parameters['sizes']} has at most "
            f"{asked['positions']} tokens, which is what the model reads."
        )
    if any(runtime.opens_graph for runtime in installed):
        write_graph(asked)
    measured: list[dict[str, Any]] = []
    began = time.monotonic()
    for done, runtime in enumerate(installed):

        def check(done: int = done) -> None:
            context.stops.check(lambda: f"measuring {done} of {len(installed)} runtimes")

        check()
        measured += in_a_process(asked, runtime.name, check)
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
    """The model on the CPU, whatever else there is; a quantised one with its integers."""
    task = task_of(parameters)
    model = load_for_task(folder, task, seed=0, attention=parameters["attention"], new_head=False)
    if parameters["arithmetic"] == "int8":
        load_frozen(model, load_int8(folder))
    return model.eval()


def question(folder: Path, work: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a child process is asked, but for the runtime: of the model in `folder`. work: where its graph goes."""
    config, family = read_config(THE_MODEL, folder)
    return {
        "folder": str(folder),
        "onnx": str(work / "model.onnx"),
        "vocabulary": family.setting(config, family.sizes["vocabulary"]),
        "positions": family.usable_positions(config),
        "parameters": dict(parameters),
    }


def write_graph(asked: Mapping[str, Any]) -> None:
    """The model's ONNX graph, in place of one that an attempt before left."""
    quiet()
    Path(asked["onnx"]).unlink(missing_ok=True)
    write_onnx(_load(Path(asked["folder"]), asked["parameters"]), Path(asked["onnx"]))


def in_a_process(
    asked: Mapping[str, Any], runtime: str, check: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """What a child process measured in a runtime; one child at a time on this machine, whoever asks.

    check: called again and again meanwhile; what it raises ends the child. Raises RuntimeError with the child's last
    words where it failed.
    """
    words = [sys.executable, "-P", "-c", f"from {CHILD} import {child.__name__}; {child.__name__}()"]
    with _alone(check), tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=errors,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )
        try:
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(json.dumps({**asked, "runtime": runtime}))
            while process.poll() is None:
                check()
                time.sleep(POLL_SECONDS)
        finally:
            process.kill()
            process.wait()
        answer.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{runtime} failed: {errors.read().strip()[-MOST_ERROR:]}")
        found: list[dict[str, Any]] = json.loads(answer.read().splitlines()[-1])
        return found


@contextmanager
def _alone(check: Callable[[], None]) -> Iterator[None]:
    """Two measurements side by side would share the cores that both are pinned to."""
    path = Path(tempfile.gettempdir()) / f"encoder-harness-latency-{os.getuid()}.lock"
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check()
                time.sleep(POLL_SECONDS)
        yield


def measure(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every size in one runtime, in this process.

    memory_bytes: the most that opening and running it took so far, beside what the process had before.
    """
    quiet()
    parameters = asked["parameters"]
    pin(parameters["threads"])
    runtime = next(each for each in RUNTIMES if each.name == asked["runtime"])
    family = family_of(Path(asked["folder"]))
    names = [name for name in INPUTS if name != TOKEN_TYPES or family.token_types]
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
    """What the child runs, and ends with its parent: a question on its input, the answer on its output's last line."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    print(json.dumps(measure(json.loads(sys.stdin.read()))))
