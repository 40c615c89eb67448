"""One rank of a training, in a process of its own: `python rank_bench.py FOLDER RANK SIZE MICRO_BATCH [STOP]`.

Every objective of Prune OFA is trained without dropout for twenty steps: masked LM with next sentences, the same with
distillation, classification and question answering with distillation, and quantization-aware training. What is trained
before it is trained by each rank alone, which gives the same bytes. Losses of every step and a digest of the weights go
to FOLDER/SIZE-RANK.json, and what each rank left behind: there is a checkpoint after every step of one stage.

STOP: that stage alone is trained, by all ranks up to this step, and from there by rank 0 alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from method_bench import Bench, every_run, with_values
from torch import nn

from harness.errors import FollowerDone, Interrupted
from harness.specs import StageSpec, Team
from harness.stages import training_run
from harness.stages.context import Resources
from harness.training.trainer import CompressionTrainer

STEPS = 20
STAGES = (
    ("teacher_preparation", "sst2"),
    ("student_pruning", "sst2"),
    ("transfer", "sst2"),
    ("transfer", "squad"),
    ("quantization", "sst2"),
)


SAVING = ("student_pruning", "sst2")  # after every step


def main(folder: Path, rank: int, size: int, micro_batch_size: int, stop: int = 0) -> None:
    torch.set_num_threads(1)
    bench = Bench.at(folder / f"bench-{size}-{rank}", "bert")
    found: dict[str, Any] = {}
    with without_dropout():
        for kind, task in [SAVING] if stop else STAGES:
            planned = bench.plan("prune-ofa", task=task, quantization="int8" if kind == "quantization" else "none")
            spec = next(spec for spec in planned.stages.values() if spec.kind == kind)
            resources = Resources(
                checkpoint_minutes=0.0 if (kind, task) == SAVING else 60.0, micro_batch_size=micro_batch_size
            )
            found[f"{kind} {task}"] = train(bench, lengthened(spec), folder, rank, size, resources, stop)
    (folder / f"{size}-{rank}.json").write_text(json.dumps(found))


def lengthened(spec: StageSpec) -> StageSpec:
    """Twenty steps, the last batches of an epoch smaller than the number of ranks: 81 examples by 8."""
    if "steps" in spec.parameters:
        return with_values(spec, steps=STEPS)
    return with_values(spec, epochs=STEPS / 3, train_examples=17)  # batches of 8, 8 and 1


def train(bench: Bench, spec: StageSpec, folder: Path, rank: int, size: int, resources: Resources, stop: int) -> Any:
    trainers: list[CompressionTrainer] = []
    make = CompressionTrainer.__init__

    def made(self: CompressionTrainer, **given: Any) -> None:
        make(self, **given)
        trainers.append(self)

    team = team_of(folder / f"{spec.stage_id}.port", rank, size)
    with mock.patch.object(CompressionTrainer, "__init__", made):
        try:
            bench.run(spec, stops=[stop] if stop and not rank else (), resources=resources, team=team)
        except FollowerDone:
            assert rank
        except Interrupted:
            assert rank
            assert stop
    left = (bench.folder / f"run-{bench.runs}").rglob("*")
    trainer = trainers[-1]
    digest = hashlib.sha256()
    for name, tensor in sorted(trainer.model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return {
        "losses": trainer.progress.losses,
        "left": sorted(path.name for path in left if path.name.startswith(("checkpoint-", "model."))),
        "spans": [(span["from_step"], span["ranks"]) for span in trainer.progress.rank_spans],
        "tokens": trainer.progress.tokens_seen,
        "digest": digest.hexdigest(),
        "norm": float(sum(tensor.double().square().sum() for tensor in trainer.model.state_dict().values()) ** 0.5),
    }


def team_of(port: Path, rank: int, size: int) -> Team | None:
    """port: a file in which rank 0 tells the others."""
    if size == 1:
        return None
    if rank:
        while not port.exists():
            time.sleep(0.05)
        return Team(size=size, rank=rank, address=("127.0.0.1", int(port.read_text())))

    @contextmanager
    def start(number: int) -> Iterator[None]:
        port.with_suffix(".new").write_text(str(number))
        port.with_suffix(".new").rename(port)
        yield

    return Team(size=size, start=start)


def without_dropout() -> Any:
    def model(load: Any) -> Any:
        def loaded() -> nn.Module:
            network = load()
            for module in network.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            return network

        return loaded

    return every_run(load_model=model)


if __name__ == "__main__":
    assert training_run.TrainingRun is not None
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
