"""Ranks: two or three processes train what one does, and differ from it by rounding."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import datasets
import forked
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from grid_world import HERE
from toy_training import BERT_LAYER, PARAMETERS, toy_config
from transformers import BertForSequenceClassification, TrainerCallback

from harness.compression.sparsify import attach_masks, update_masks
from harness.progress import NEVER
from harness.specs import Team
from harness.stages.context import StageContext
from harness.stages.pretraining_data import load_pairs
from harness.stages.training_run import ranks_in_words, training_details
from harness.training.checkpoints import Checkpoints
from harness.training.objectives import ClassificationObjective
from harness.training.ranks import ALONE, Ranks
from harness.training.trainer import CompressionTrainer, Progress, training_arguments

STAGES = (
    "teacher_preparation sst2",
    "student_pruning sst2",
    "transfer sst2",
    "transfer squad",
    "quantization sst2",
)


# -- a rank's parts of a batch


def batch(num_examples: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(num_examples * 3).view(num_examples, 3)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("num_examples", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("most", [1, 2, 8])
def test_the_parts_of_all_ranks_are_the_batch_and_as_many_on_each(num_examples: int, size: int, most: int) -> None:
    whole = batch(num_examples)
    parts = [Ranks(rank, size).parts(whole, most) for rank in range(size)]
    counted = [part.inputs["input_ids"] for own in parts for part in own if part.weight == 1]
    assert torch.equal(torch.cat(counted), whole["input_ids"])  # each example once, in order
    assert all(1 <= len(part.inputs["input_ids"]) <= most for own in parts for part in own)
    assert len({len(own) for own in parts}) == 1
    assert {part.weight for own in parts for part in own} <= {0.0, 1.0}
    rows = [sum(len(part.inputs["input_ids"]) for part in own if part.weight) for own in parts]
    assert max(rows) - min(rows) <= 1


def test_one_process_alone_asks_nobody() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    ALONE.sum_gradients([weight])
    assert weight.grad.tolist() == [1.0, 2.0]
    assert ALONE.sum(torch.tensor(3.0)).item() == 3.0
    assert ALONE.widest(torch.tensor(-1.0), torch.tensor(2.0)) == (torch.tensor(-1.0), torch.tensor(2.0))
    assert (ALONE.any(True), ALONE.any(False), ALONE.from_first((1, 2))) == (True, False, (1, 2))
    ALONE.check_equal("anything", [weight])
    before = torch.get_rng_state()
    with ALONE.own_randomness(0, 1, torch.device("cpu")):
        drawn = torch.rand(1)
    torch.set_rng_state(before)
    assert torch.equal(torch.rand(1), drawn)  # its own generator, which has gone on


def test_every_rank_and_step_draws_for_itself_and_leaves_the_generators_as_they_were() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = {}
    for rank in range(2):
        for step in range(3):
            with Ranks(rank, 2).own_randomness(7, step, torch.device("cpu")):
                drawn[rank, step] = tuple(torch.rand(4).tolist())
            with Ranks(rank, 2).own_randomness(7, step, torch.device("cpu")):
                assert tuple(torch.rand(4).tolist()) == drawn[rank, step]  # as a resumed run draws
    assert len(set(drawn.values())) == 6
    assert torch.equal(torch.get_rng_state(), before)


# -- what they compare


@dataclass(frozen=True)
class Noting(Ranks):
    """Rank 0 of two, the other of which agrees to everything. compared: what and, of its tensors, the zeros."""

    size: int = 2
    compared: list[tuple[str, int]] = field(default_factory=list)

    def check_equal(self, what: str, tensors: Iterable[torch.Tensor]) -> None:
        self.compared.append((what, sum(int((tensor == 0).sum()) for tensor in tensors)))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        pass

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def from_first(self, value: Any) -> Any:
        return value


def compared(folder: Path, steps: int, minutes: float = 60.0) -> list[tuple[str, int]]:
    """Over a training with masks on one matrix of 64 weights, of which half go after step 2 and 48 after step 4."""
    network = BertForSequenceClassification(toy_config())
    name = f"bert.encoder.layer.0.{BERT_LAYER[0]}"
    attach_masks(network, [name])

    class Prune(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step in (2, 4):
                update_masks(network, 0.5 if state.global_step == 2 else 0.75, scope="local")

    noting = Noting()
    rows = [{"input_ids": [5 + row, 7], "labels": row % 2, "length": 2} for row in range(8)]
    CompressionTrainer(
        model=network,
        args=training_arguments(PARAMETERS, output_dir=folder, num_steps=steps),
        train_dataset=datasets.Dataset.from_list(rows),
        data_collator=lambda found: {
            **{key: torch.tensor([row[key] for row in found]) for key in ("input_ids", "labels")},
            "attention_mask": torch.ones(len(found), 2, dtype=torch.long),
        },
        callbacks=[Prune()],
        objective=ClassificationObjective(),
        factor=lambda step: 1.0,
        lengths=[2] * len(rows),
        checkpoints=Checkpoints(folder),
        checkpoint_minutes=minutes,
        should_stop=lambda: False,
        report=lambda progress: None,
        ranks=noting,
    ).fit()
    return noting.compared


def test_ranks_compare_weights_at_the_start_and_masks_once_each_time_they_change(tmp_path: Path) -> None:
    (start, _), *later = compared(tmp_path, 5)
    assert start == "the weights at the start"
    assert later == [("the masks after step 1", 0), ("the masks after step 2", 32), ("the masks after step 4", 48)]


def test_ranks_compare_weights_before_each_checkpoint(tmp_path: Path) -> None:
    """After every step but the last."""
    assert [what for what, _ in compared(tmp_path, 4, minutes=0.0)].count("the weights") == 3


# -- what they read


def test_another_rank_maps_the_workers_copy_of_the_pairs_and_makes_one_only_where_there_is_none(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    pq.write_table(pa.table({"length": [3, 4, 5]}), pairs / "train.parquet")

    def load(name: str, copies: Path | None) -> Any:
        context = SimpleNamespace(
            parent_artifacts={"pairs": pairs},
            checkpoints=tmp_path / name,
            stops=NEVER,
            team=Team(size=2, rank=0 if copies is None else 1, copies=copies),
        )
        return load_pairs(cast(StageContext, context), "train")

    assert load("early", copies=tmp_path / "worker")["length"] == [3, 4, 5]
    worker = load("worker", copies=None)
    other = load("other", copies=tmp_path / "worker")
    assert other["length"] == [3, 4, 5]
    assert other.cache_files == worker.cache_files
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["early", "pairs", "worker"]


# -- what a record says of them


def recorded(*spans: tuple[int, int, float]) -> tuple[list[str], dict[str, Any]]:
    """The summary and the details of a training that was begun anew for each (step, ranks, seconds)."""
    progress = Progress(losses=[1.0])
    for step, ranks, seconds in spans:
        progress = Progress(**json.loads(json.dumps(asdict(progress))))  # through a checkpoint
        progress.note_ranks(step, ranks)
        progress.rank_spans[-1]["seconds"] += seconds
        progress.seconds += seconds
    details = training_details(progress, 30, 0, 8, {"batch_size": 8, "learning_rate": 1e-4})["training"]
    return ranks_in_words(progress.rank_spans), {k: details[k] for k in ("ranks", "rank_spans") if k in details}


def test_a_record_names_every_number_of_ranks() -> None:
    """One number: it alone, as records have always had it; a process that is alone: nothing."""
    assert recorded((1, 1, 2.0), (11, 1, 2.0)) == ([], {})
    (said,), details = recorded((1, 2, 2.0), (11, 2, 2.0))
    assert said == "trained by 2 ranks, each of which drew dropout for itself"
    assert details == {"ranks": 2}
    (said,), details = recorded((1, 2, 1.24), (11, 3, 1.0), (16, 3, 0.5))
    assert said == "trained by 2 ranks, from step 11 on by 3; where they were several, each drew dropout for itself"
    first, last = {"from_step": 1, "ranks": 2, "seconds": 1.2}, {"from_step": 11, "ranks": 3, "seconds": 1.5}
    assert details == {"ranks": 3, "rank_spans": [first, last]}
    (said,), details = recorded((1, 2, 1.2), (11, 1, 1.0))
    assert said == "trained by 2 ranks, from step 11 on by 1; where they were several, each drew dropout for itself"
    assert details == {"rank_spans": [first, {"from_step": 11, "ranks": 1, "seconds": 1.0}]}
    (said,), _ = recorded((1, 1, 1.2), (11, 2, 1.0))
    assert said.startswith("trained by 1 rank, from step 11 on by 2;")


# -- what is said between processes


TALK = """
import sys, torch
from rank_bench import team_of
from pathlib import Path
from harness.errors import IntegrityError
from harness.training.ranks import together
folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), 3
with together(team_of(folder / "port", rank, size)) as ranks:
    assert (ranks.rank, ranks.size) == (rank, size)
    shared, own, none, frozen = (torch.nn.Parameter(torch.zeros(2)) for _ in range(4))
    frozen.requires_grad_(False)
    shared.grad = torch.tensor([1.0, 10.0]) * (rank + 1)
    if rank == 1:
        own.grad = torch.tensor([5.0, 6.0])
    ranks.sum_gradients([shared, own, none, frozen])
    assert shared.grad.tolist() == [6.0, 60.0], shared.grad
    assert own.grad.tolist() == [5.0, 6.0]
    assert none.grad is None and frozen.grad is None
    assert ranks.sum(torch.tensor(rank + 0.5)).item() == 4.5
    low, high = ranks.widest(torch.tensor(-1.0 - rank), torch.tensor(4.0 - rank))
    assert (low.item(), high.item()) == (-3.0, 4.0)
    low, high = ranks.widest(torch.tensor(float("nan") if rank == 1 else -1.0), torch.tensor(2.0))
    assert low.isnan() and high.item() == 2.0
    assert ranks.any(rank == 2) and not ranks.any(False)
    assert ranks.from_first(("stop", rank)) == ("stop", 0)
    ranks.check_equal("weights", [torch.ones(3), torch.tensor([True, False])])
    try:
        ranks.check_equal("masks", [torch.ones(3) + (rank == 2)])
    except IntegrityError as error:
        assert "masks of ranks [2] are not those of rank 0" in str(error), error
    else:
        raise AssertionError("no error")
print("well")
"""


def run_all(words: Callable[[int], list[str]], size: int, folder: Path) -> list[str]:
    """What each process said; all must end well."""
    started = [forked.Forked(words(rank), folder / f"{size}-{rank}.txt") for rank in range(size)]
    codes = [process.wait(timeout=900) for process in started]
    said = [process.printed() for process in started]
    assert codes == [0] * size, said
    return said


@pytest.mark.slow
def test_sums_ranges_and_words_between_three_processes(tmp_path: Path) -> None:
    """By hand: 1 + 2 + 3 = 6; 0.5 + 1.5 + 2.5 = 4.5; the widest of -1..4, -2..3, -3..2 is -3..4."""
    program = tmp_path / "talk.py"
    program.write_text(TALK)
    said = run_all(lambda rank: [str(program), str(tmp_path), str(rank)], 3, tmp_path)
    assert all("well" in words.splitlines() for words in said), said


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Any]]:
    """trained(size, micro_batch_size[, stop]) -> of each rank what `rank_bench` wrote."""
    known: dict[tuple[int, ...], list[Any]] = {}

    def train(size: int, *others: int) -> list[Any]:
        if (size, *others) not in known:
            folder = tmp_path_factory.mktemp("ranks")
            words = [str(folder)], [str(size), *map(str, others)]
            run_all(lambda rank: [str(HERE / "rank_bench.py"), *words[0], str(rank), *words[1]], size, folder)
            known[size, *others] = [json.loads((folder / f"{size}-{rank}.json").read_text()) for rank in range(size)]
        return known[size, *others]

    return train


TWO, THREE_IN_MICRO_BATCHES = (2, 0), (3, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "stage"),
    [
        *((TWO, stage) for stage in STAGES),
        *((THREE_IN_MICRO_BATCHES, stage) for stage in STAGES if not stage.startswith("quantization")),
    ],
)
def test_without_dropout_ranks_have_the_losses_of_one_process(trained: Any, run: tuple[int, int], stage: str) -> None:
    """Twenty steps of every objective, within 1e-5; the last batch of an epoch has fewer examples than there are ranks.

    Quantization-aware training included: its ranges are those of the whole batch, where a rank's part is not cut.
    """
    (alone,), ranks = trained(1, 0), trained(*run)
    expected, found = alone[stage]["losses"], ranks[0][stage]["losses"]
    assert len(expected) == 20
    assert max(expected) - min(expected) > 1e-3, "nothing was learned: every loss is alike"
    apart = [abs(a - b) for a, b in zip(expected, found, strict=True)]
    print(f"{stage}: {max(apart):.1e}")
    assert max(apart) < 1e-5
    assert ranks[0][stage]["tokens"] == alone[stage]["tokens"]
    assert ranks[0][stage]["norm"] == pytest.approx(alone[stage]["norm"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_all_ranks_end_with_the_same_bytes(trained: Any, stage: str) -> None:
    for run in (TWO, THREE_IN_MICRO_BATCHES):
        ranks = trained(*run)
        assert len({rank[stage]["digest"] for rank in ranks}) == 1
        assert len({tuple(rank[stage]["losses"]) for rank in ranks}) == 1


@pytest.mark.slow
def test_the_first_rank_alone_writes(trained: Any) -> None:
    """Of a stage with a checkpoint after every step the last two are kept."""
    first, *others = (rank["student_pruning sst2"]["left"] for rank in trained(*TWO))
    assert first == ["checkpoint-18", "checkpoint-19", "model.safetensors"]
    assert others == [[]]


@pytest.mark.slow
def test_one_process_goes_on_from_two_ranks_on_the_same_curve(trained: Any) -> None:
    """They stop after ten steps; all twenty losses are those of one process."""
    (alone,), (first, other) = trained(1, 0), trained(2, 0, 10)
    expected, found, begun = (each["student_pruning sst2"] for each in (alone, first, other))
    assert found["spans"] == [[1, 2], [11, 1]]
    assert begun["losses"] == found["losses"][:10]
    assert len(found["losses"]) == 20
    assert max(abs(a - b) for a, b in zip(expected["losses"], found["losses"], strict=True)) < 1e-5
    assert found["norm"] == pytest.approx(expected["norm"], rel=1e-5)
