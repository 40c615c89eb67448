"""Stage functions without torch: they write a small artifact and made-up numbers, and can be made to misbehave.

As a program `python fake_stages.py [KEY=ACTION ..]` is a worker process on these stages. KEY: a kind, or a stage's id.
ACTION: the name of a function below, with its arguments after colons, as work:20:0.5. Followed by

    -- ARGUMENTS                            it is the command line on them
    --task -P -u -m slurm.job STORE UUID    it is a task of a cluster on them, as a profile's python starts it
    --real                                  the kinds that have no action run as they are, with torch
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.errors import Interrupted
from harness.planning.kinds import KINDS
from harness.progress import StageProgress
from harness.stages.context import StageContext, StageResult
from harness.store.intervals import OFTEN
from harness.store.stage import StoredStage
from harness.tasks import get_task
from harness.worker import main as worker_main
from harness.worker.stage_call import MODEL_FILES

CALLS: list[str] = []  # stage ids, in the order they ran in this process
ACTIONS: dict[str, Callable[[StageContext], object]] = {}  # what a kind or stage does before it writes anything
REAL = dict(KINDS)
FAKE_KINDS = {name: replace(kind, run="fake_stages:run") for name, kind in KINDS.items()}
SHARE, PERCENT = 0.5, 50.0


def run(context: StageContext) -> StageResult:
    spec = context.spec
    CALLS.append(spec.stage_id)
    (context.artifact / "half-written.txt").write_text("begun")
    action = ACTIONS.get(spec.stage_id) or ACTIONS.get(spec.kind)
    if action is not None:
        found = action(context)
        if isinstance(found, StageResult):
            return found
    (context.artifact / "half-written.txt").unlink()
    (context.artifact / "weights").mkdir()
    (context.artifact / "weights" / "model.txt").write_text(f"{spec.kind} {spec.stage_id}")
    for name in MODEL_FILES:
        (context.artifact / name).touch()
    if spec.kind == "evaluation":
        task = get_task(context.parameters["task"])
        value = PERCENT if task.head.metrics_in_percent else SHARE
        metrics = {reported: dict.fromkeys(task.metrics, value) for _, reported in task.evaluation_splits}
        return StageResult(metrics=metrics, did=["scored"], details={"cell_sparsity": 0.85})
    if spec.kind == "sparse_checkpoint":
        counted = {"encoder": SHARE, "encoder_zeros": 1, "encoder_numel": 2}
        return StageResult(did=["took"], details={"checkpoint": {"source": "elsewhere"}, "sparsity": counted})
    metrics = {"mlm_accuracy": 0.25, "mlm_correct": 1, "mlm_positions": 4}
    return StageResult(metrics=metrics, did=[f"ran {spec.kind}"], details={"training": {"tokens_seen": 1000}})


def sleep(context: StageContext) -> None:
    """Long enough to be killed in; a file beside the checkpoints says that it began."""
    (context.checkpoints / "begun").write_text("1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.02)


def obey(context: StageContext) -> None:
    """As `sleep` until it is asked to stop; a second try goes through at once, as from a checkpoint."""
    begun = context.checkpoints / "begun"
    if begun.exists():
        return
    begun.write_text("1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if context.should_stop():
            raise Interrupted("asked to stop")
        time.sleep(0.02)


def limited(context: StageContext) -> None:
    """Four times its job's time limit is near, each time a checkpoint later; the fifth time it goes through."""
    times = len(list(context.checkpoints.iterdir()))
    if times < 4:
        (context.checkpoints / f"checkpoint-{times}").mkdir()
        stuck(context)


def stuck(context: StageContext) -> None:
    """Its job's time limit is near, before it has got anywhere."""
    os.kill(os.getpid(), signal.SIGUSR2)
    assert context.should_stop()
    raise Interrupted("asked to stop")


def poll(context: StageContext) -> None:
    """The same, but for a stage that saves a checkpoint and stops when it is asked to."""
    (context.checkpoints / "begun").write_text("1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if context.should_stop():
            (context.checkpoints / "saved").write_text("1")
            raise Interrupted("stopped after step 7.")
        time.sleep(0.02)


def brief(context: StageContext) -> None:
    """Long enough for another driver to come by."""
    (context.checkpoints / "begun").write_text("1")
    time.sleep(2)


def held(context: StageContext) -> None:
    """Until a file `go` is put beside `begun`."""
    (context.checkpoints / "begun").write_text("1")
    deadline = time.monotonic() + 60
    while not (context.checkpoints / "go").exists():
        assert time.monotonic() < deadline, "nobody let it go on"
        time.sleep(0.02)


def fail(context: StageContext) -> None:
    raise ValueError("made to fail")


def leave(context: StageContext) -> None:
    sys.exit("a library ends the process")


def exit_at_once(context: StageContext) -> None:
    """As a library may that ends the process itself, after a line of log that has nothing to do with it."""
    logging.getLogger("harness.training.trainer").info("step 1 of 1")
    os._exit(0)


def exit_with_code(context: StageContext) -> None:
    logging.getLogger("harness.training.trainer").info("step 1 of 1")
    os._exit(3)


def interrupted(context: StageContext) -> None:
    """It says that it was asked to stop, and nobody did."""
    raise Interrupted("asked to stop")


def die(context: StageContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(context: StageContext) -> None:
    begun = context.checkpoints / "begun"
    if not begun.exists():
        begun.write_text("1")
        die(context)


def die_recorded(context: StageContext) -> None:
    """A kill just after the record is written, before the attempt is ended."""
    StoredStage.try_to_end_attempt = lambda *_: die(context)  # type: ignore[method-assign]


def fill(context: StageContext) -> None:
    """The disk is full from here on, as far as this process makes anything durable."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = os.link = refuse
    raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def remove_store(context: StageContext) -> None:
    """Somebody removes the whole store while the stage runs."""
    shutil.rmtree(context.artifact.parents[1])


def remove_leases(context: StageContext) -> None:
    shutil.rmtree(context.artifact.parents[1] / "leases")


def remove_attempts(context: StageContext) -> None:
    shutil.rmtree(context.artifact.parents[1] / "attempts")


def remove_artifacts(context: StageContext) -> None:
    shutil.rmtree(context.artifact.parent)


def remove_once(context: StageContext) -> None:
    """The leases, the first time."""
    begun = context.checkpoints / "begun"
    if not begun.exists():
        begun.write_text("1")
        remove_leases(context)


def restless(context: StageContext) -> None:
    """Polls and reports a thousand times a second for three seconds; says how often that touched a file."""
    _work(context, seconds=3, polls_a_second=1000)


def patient(context: StageContext) -> None:
    """The same for longer and less often, so that several can do so side by side."""
    _work(context, seconds=7, polls_a_second=50)


def _work(context: StageContext, seconds: float, polls_a_second: int) -> None:
    touched = count_touches()
    (context.checkpoints / "begun").touch()
    touched.clear()
    began, polls = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        assert not context.should_stop()
        context.report(StageProgress(step=polls, steps=10_000, seconds_left=1.0))
        polls += 1
        time.sleep(max(0.0, began + polls / polls_a_second - time.monotonic()))
    told = {"seconds": passed, "polls": polls, "touched": list(touched)}
    (context.checkpoints.parents[1] / "touched.json").write_text(json.dumps(told))


def count_touches() -> list[str]:
    """From now on, the names of all calls of this process that ask a file system for something beside bytes."""
    names: list[str] = []

    def counted(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            names.append(name)
            return original(*arguments, **options)

        return call

    for name in ("stat", "lstat", "fsync", "access", "readlink"):  # of which no audit event tells
        setattr(os, name, counted(name, getattr(os, name)))
    events = (
        "open",
        "os.listdir",
        "os.scandir",
        "os.rename",
        "os.link",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.utime",
    )
    sys.addaudithook(lambda event, _: names.append(event) if event in events else None)
    return names


def progress(context: StageContext) -> None:
    """Three steps of five, reported one by one; then it waits as `obey` does."""
    for step in (1, 2, 3):
        context.report(StageProgress(step=step, steps=5, loss=0.5, tokens=10 * step, seconds_left=2.0 * (5 - step)))
        time.sleep(OFTEN.progress)
    obey(context)


def work(context: StageContext, steps: str = "10", seconds: str = "0", go: str = "") -> None:
    """Steps whose result rests on each one before, and a checkpoint after each, from the newest of which it goes on.

    go: a file without which the last step is not made. The artifact holds the result.
    """
    state, done = _newest(context)
    while done < int(steps):
        _wait(float(seconds), context)
        while go and done + 1 == int(steps) and not Path(go).exists():
            _wait(0.05, context)
        done += 1
        state = hashlib.sha256(f"{state} {done}".encode()).hexdigest()
        _save(context, done, state)
        context.report(StageProgress(step=done, steps=int(steps), seconds_left=float(seconds) * (int(steps) - done)))
    (context.artifact / "state.txt").write_text(state)


def _wait(seconds: float, context: StageContext) -> None:
    """Raises Interrupted when it is asked to stop meanwhile: there is a checkpoint of every step that was made."""
    deadline = time.monotonic() + seconds
    while True:
        if context.should_stop():
            raise Interrupted(f"stopped after step {_newest(context)[1]}.")
        if time.monotonic() >= deadline:
            return
        time.sleep(min(0.05, max(deadline - time.monotonic(), 0)))


def _newest(context: StageContext) -> tuple[str, int]:
    """What the newest checkpoint holds, and its step."""
    steps = [int(path.name.rpartition("-")[2]) for path in context.checkpoints.glob("checkpoint-*")]
    newest = max(steps, default=0)
    return (context.checkpoints / f"checkpoint-{newest}" / "state.txt").read_text() if newest else "", newest


def _save(context: StageContext, step: int, state: str) -> None:
    beside = context.checkpoints / ".writing"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    (beside / "state.txt").write_text(state)
    context.guard()
    beside.rename(context.checkpoints / f"checkpoint-{step}")
    shutil.rmtree(context.checkpoints / f"checkpoint-{step - 2}", ignore_errors=True)


def linger(context: StageContext, go: str) -> None:
    """In a task that was never restarted it hears nothing until there is a file `go`; in one that was, it passes."""
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        deadline = time.monotonic() + 120
        while not Path(go).exists():
            assert time.monotonic() < deadline, "nobody let it go on"
            time.sleep(0.05)


def allocate(context: StageContext, megabytes: str) -> None:
    """Take memory, and keep it for a while."""
    taken = bytearray(int(megabytes) * 2**20)
    time.sleep(60)
    del taken


def fill_disk(context: StageContext) -> None:
    """Write until the file system that has the store is full."""
    with (context.artifact / "filler").open("wb") as file:
        while True:
            file.write(bytes(2**16))
            file.flush()


def slow(context: StageContext, seconds: str) -> StageResult:
    """The kind as it is, but for a pause after every step of it: its numbers do not change."""

    def report(progress: StageProgress) -> None:
        context.report(progress)
        time.sleep(float(seconds))

    (context.artifact / "half-written.txt").unlink()
    return REAL[context.spec.kind].function()(replace(context, report=report))


ACTORS = (
    sleep,
    obey,
    limited,
    stuck,
    poll,
    brief,
    held,
    fail,
    leave,
    exit_at_once,
    exit_with_code,
    interrupted,
    die,
    die_once,
    die_recorded,
    fill,
    remove_store,
    remove_leases,
    remove_attempts,
    remove_artifacts,
    remove_once,
    progress,
    restless,
    work,
    linger,
    allocate,
    fill_disk,
    slow,
    patient,
)
WORDS: dict[str, Callable[..., object]] = {action.__name__: action for action in ACTORS}


def main(words: Sequence[str]) -> int:
    """Arguments as the head of this file has them."""
    sys.modules["fake_stages"] = sys.modules["__main__"]  # the worker imports this module by name
    ends = [words.index(mark) for mark in ("--", "--task") if mark in words]
    own, rest = list(words[: min(ends, default=len(words))]), list(words[min(ends, default=len(words)) :])
    misdeeds = dict(word.split("=", 1) for word in own if word != "--real")
    KINDS.update({name: kind for name, kind in FAKE_KINDS.items() if "--real" not in own or name in misdeeds})
    object.__setattr__(OFTEN, "cancel", 0.05)
    ACTIONS.update({key: action_named(text) for key, text in misdeeds.items()})
    if not rest:
        return worker_main.main()
    from harness.execution import local

    local.WORKER_COMMAND = worker_command(*own)
    if rest[0] == "--task":
        return run_task(*rest[-2:])
    from harness.cli import main as cli

    return cli.main(rest[1:])


def action_named(text: str) -> Callable[[StageContext], object]:
    name, *arguments = text.split(":")
    return lambda context: WORDS[name](context, *arguments)


def run_task(store: str, uuid: str) -> int:
    """A task of a cluster that looks at the store often, and waits less long for a parent's record and for a worker."""
    from slurm import job, task

    often = replace(OFTEN, poll=0.2)
    task.run_task = partial(  # type: ignore[assignment]
        task.run_task, intervals=often, patience=3.0, last_moment=10.0
    )
    sys.argv = ["slurm.job", store, uuid]
    return job.main()


def worker_command(*misdeeds: str) -> tuple[str, ...]:
    return (sys.executable, "-P", str(Path(__file__).resolve()), *misdeeds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
