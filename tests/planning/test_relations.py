"""Values that are right each by itself and wrong together are refused while planning, all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import grid_world
import pytest
from grid_world import Ran, World, sentences

from harness.compression.schedule import PruningSchedule
from harness.data.pairs import Pairing
from harness.errors import UsageError
from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.kinds import KINDS
from harness.planning.parameter import Relation

Run = Callable[[Sequence[str]], Ran]


def problems(*assignments: str, found: Inputs | None = None, **axes: Any) -> list[str]:
    try:
        grid_world.plan(*assignments, found=found, **axes)
    except UsageError as error:
        return sentences(error)
    return []


PRUNED: dict[str, Any] = {"methods": ["finetune-pruning"], "sparsities": [0.85], "tasks": ["sst2"]}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["ramp_begin=0.7"], "task_pruning.ramp_begin=0.7, task_pruning.ramp_end=0.68: expected a ramp that begins be"),
        (["ramp_end=0.82"], "task_pruning.ramp_end=0.82, task_pruning.last_event=0.81: expected mask updates until"),
        (["first_event=0.9"], "task_pruning.first_event=0.9, task_pruning.last_event=0.81: expected a first event be"),
        (
            ["initial_sparsity=0.9"],
            "sparsity=0.85, task_pruning.initial_sparsity=0.9: expected a sparsity that does not sink",
        ),
        (["ce_weight=0", "kd_weight=0"], "task_pruning.ce_weight=0.0, task_pruning.kd_weight=0.0: expected one of th"),
    ],
)
def test_an_order_that_cannot_be_is_told(settings: list[str], words: str) -> None:
    (problem,) = problems(*(f"task_pruning.{setting}" for setting in settings), **PRUNED)
    assert problem.startswith(words)
    assert "Change one of them: --set task_pruning." in problem


@pytest.mark.parametrize("ramp_begin", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("ramp_end", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("first_event", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("last_event", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("initial", [0.0, 0.85, 0.9])
def test_what_is_refused_is_what_the_schedule_refuses_in_a_long_run(
    ramp_begin: float, ramp_end: float, first_event: float, last_event: float, initial: float
) -> None:
    """By another road: 10,000 steps, in which no fraction is lost by snapping to steps."""
    values = {
        "ramp_begin": ramp_begin,
        "ramp_end": ramp_end,
        "first_event": first_event,
        "last_event": last_event,
        "initial_sparsity": initial,
    }
    refused = bool(problems(*(f"task_pruning.{name}={value}" for name, value in values.items()), **PRUNED))
    try:
        PruningSchedule.from_fractions(final_sparsity=0.85, num_steps=10_000, **values)
        fails = False
    except ValueError:
        fails = True
    assert refused == fails


def test_a_relation_of_a_parameter_that_there_is_not_is_refused() -> None:
    pruning = KINDS["task_pruning"]
    with pytest.raises(ValueError, match="relations: parameter 'ramp_bgin' is not known. Did you mean 'ramp_begin'"):
        replace(pruning, relations=(Relation(("ramp_bgin", "ramp_end"), lambda begin, end: True, "anything"),))


def test_a_stage_without_a_teacher_has_no_weights_to_be_zero() -> None:
    nothing = ("transfer.ce_weight=0", "transfer.kd_weight=0")
    axes: dict[str, Any] = {"sparsities": [0.85], "tasks": ["sst2"]}
    assert problems(*nothing, methods=["prune-ofa-no-kd"], **axes) == []
    assert len(problems(*nothing, methods=["prune-ofa"], **axes)) == 1
    assert problems(nothing[0], methods=["prune-ofa"], **axes) == []


@pytest.mark.parametrize(("stride", "refused"), [(316, False), (317, True)])
def test_a_window_holds_more_new_context_than_its_step(stride: int, refused: bool) -> None:
    """384 tokens less 64 of the question and 3 special ones leave 317."""
    settings = ("task.squad.max_length=384", "task.squad.max_query_length=64", f"task.squad.doc_stride={stride}")
    assert bool(problems(*settings, methods=["dense"], tasks=["squad"])) == refused


@pytest.mark.parametrize(("length", "refused"), [(4, True), (5, False)])
def test_a_pair_has_a_token_of_each_part(length: int, refused: bool) -> None:
    """By another road: what the code that makes pairs refuses."""
    try:
        Pairing(max_length=length)
        fails = False
    except ValueError:
        fails = True
    assert fails == refused
    try:
        grid_world.preset(f"pairs.max_length={length}")
    except UsageError:
        assert refused
    else:
        assert not refused


@pytest.mark.parametrize("task", ["sst2", "squad", "qqp"])
def test_a_tasks_length_has_room_beside_the_special_tokens(task: str) -> None:
    """Three special tokens and one of each of two texts."""
    with pytest.raises(UsageError, match=rf"task.{task}.max_length=4: 4: expected 5 or more"):
        grid_world.preset(f"task.{task}.max_length=4")
    grid_world.preset(f"task.{task}.max_length=5")


def with_positions(count: int) -> Inputs:
    models = {"tiny": ModelIdentity(weights="w", tokenizer="t", positions=count)}
    return replace(grid_world.inputs(["tiny"]), models=models)


def test_sequences_longer_than_the_models_positions_are_told_of_tasks_and_pairs_at_once() -> None:
    settings = ("task.sst2.max_length=65", "task.squad.max_length=64", "pairs.max_length=128")
    settings += ("task.squad.max_query_length=8", "task.squad.doc_stride=8")
    found = problems(*settings, "transfer.ce_weight=0", "transfer.kd_weight=0", found=with_positions(64))
    assert sorted(problem.partition(":")[0].partition(",")[0] for problem in found) == [
        "pairs.max_length=128",
        "task.sst2.max_length=65",
        "transfer.ce_weight=0.0",
    ]
    (pairs,) = (problem for problem in found if problem.startswith("pairs"))
    assert pairs == (
        "pairs.max_length=128, and model 'tiny' has 64 positions. Give --set pairs.max_length=64 or less, or another "
        "model."
    )


def test_as_many_tokens_as_positions_are_right() -> None:
    settings = ("task.sst2.max_length=64", "pairs.max_length=64")
    assert problems(*settings, tasks=["sst2"], found=with_positions(64)) == []


def test_the_positions_are_those_of_the_folder(run_harness: Run, world: World) -> None:
    """512 of them."""
    words = ["--dry-run", "--tasks", "sst2", "--methods", "dense", "--set"]
    assert run_harness(world.grid(*words, "task.sst2.max_length=512")).code == 0
    done = run_harness(world.grid(*words, "task.sst2.max_length=513"))
    assert done.code == 2
    assert "error: task.sst2.max_length=513, and model 'tiny' has 512 positions." in done.err


def test_a_setting_that_cannot_be_read_is_not_missing_as_well(run_harness: Run, world: World) -> None:
    """The preset of the tests has no settings for qnli."""
    words = [
        "--tasks",
        "qnli",
        "--methods",
        "dense",
        "--data",
        str(grid_world.write_data(world.folder / "q", ["qnli"])),
    ]
    words += ["--set", "task.qnli.max_length=long", "--set", "task.qnli.train_examples=9"]
    done = run_harness(world.grid("--dry-run", *words, "--set", "task.qnli.train_subset_seed=0"))
    assert done.err.startswith("error: --set task.qnli.max_length=long: ")


def test_settings_stand_beside_problems_of_data_and_models(run_harness: Run, world: World) -> None:
    (world.folder / "data" / "sst2" / "train.parquet").unlink()
    (world.folder / "model" / "vocab.txt").unlink()
    words = ["--tasks", "sst2", "--methods", "finetune-pruning", "--set", "task_pruning.ramp_begin=1"]
    done = run_harness(world.grid("--dry-run", *words))
    assert done.err.startswith("3 problems")
    for said in ("sst2/train.parquet: not found", "neither tokenizer.json nor vocab.txt", "task_pruning.ramp_begin=1"):
        assert done.err.count(said) == 1
