"""Stored teacher logits: the same losses as with the teacher beside the student, and no other training set's."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_world import WORDS
from torch import nn
from toy_training import PARAMETERS

from harness.data.collate import PaddingCollator
from harness.inputs.data_sources import FolderData
from harness.progress import NEVER
from harness.specs import TEACHER_LOGITS
from harness.stages import fine_tuning
from harness.stages.context import Resources, Sources
from harness.stages.loading import load_for_task, load_tokenizer, save_artifact
from harness.stages.task_data import training_examples
from harness.stages.task_heads import head_of
from harness.stages.teacher_logits import (
    LOGITS_FILE,
    as_tensors,
    fingerprints,
    stored_teacher,
    teacher_logits,
)
from harness.tasks import get_task
from harness.training.objectives import Distillation
from harness.training.stored_teacher import StoredTeacher

TASK_PARAMETERS: dict[str, dict[str, Any]] = {
    "sst2": {"max_length": 16, "train_examples": 40, "train_subset_seed": 3},
    "squad": {"max_length": 24, "doc_stride": 4, "max_query_length": 10, "train_examples": 0, "train_subset_seed": 0},
}
FIXED = {"threads": 1, "attention": "eager", "warmup_fraction": 0.0}
WEIGHTS = {"ce_weight": 0.3, "kd_weight": 0.7, "temperature": 2.0}


class Setup(SimpleNamespace):
    """A task with a teacher's folder, what stages are called with, and the stored logits."""

    def context(self, folder: Path, parents: dict[str, Path], **parameters: Any) -> Any:
        (folder / "artifact").mkdir(parents=True)
        (folder / "checkpoints").mkdir()
        return SimpleNamespace(
            parameters={**PARAMETERS, **FIXED, **TASK_PARAMETERS[self.task.name], "task": self.task.name, **parameters},
            spec=SimpleNamespace(kind="a kind", inputs={"train": self.content}),
            parent_artifacts=parents,
            artifact=folder / "artifact",
            checkpoints=folder / "checkpoints",
            sources=Sources(models={}, data=self.data),
            resources=Resources(checkpoint_minutes=60.0),
            should_stop=lambda: False,
            stops=NEVER,
            guard=lambda: None,
            report=lambda progress: None,
            team=None,
        )


@pytest.fixture(scope="module", params=["sst2", "squad"])
def setup(request: pytest.FixtureRequest, tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    root = tmp_path_factory.mktemp("logits")
    task = get_task(request.param)
    data = FolderData(of_many_lengths(root / "data"))
    tokenizer = load_tokenizer(tiny.model)
    teacher = root / "teacher"
    save_artifact(teacher, wide(load_for_task(tiny.model, task, seed=1, attention="eager", new_head=True)), tokenizer)
    content = data.content_ids([task], corpus=False)[f"{task.name}/train"]
    made = Setup(task=task, data=data, content=content, tokenizer=tokenizer, teacher=teacher)
    context = made.context(root / "stored", {"model": teacher}, batch_size=7)
    made.result = teacher_logits(context)
    made.stored = context.artifact
    made.examples = training_examples(context, task, tokenizer)
    return made


def of_many_lengths(folder: Path) -> Path:
    """60 sentences of 1 to 9 words, and 20 questions on contexts of 2 to 30."""
    draw = random.Random(5)
    texts = [" ".join(draw.choices(WORDS, k=1 + number % 9)) for number in range(60)]
    contexts = [" ".join(draw.choices(WORDS, k=2 + (7 * number) % 29)) for number in range(20)]
    answers = [{"text": [context.split()[-1]], "answer_start": [context.rindex(" ") + 1]} for context in contexts]
    tables: dict[str, dict[str, list[Any]]] = {
        "sst2": {"sentence": texts, "label": [number % 2 for number in range(60)], "idx": [*range(60)]},
        "squad": {
            "id": [str(number) for number in range(20)],
            "title": ["a title"] * 20,
            "context": contexts,
            "question": [" ".join(draw.choices(WORDS, k=1 + number % 5)) for number in range(20)],
            "answers": answers,
        },
    }
    for task, columns in tables.items():
        (folder / task).mkdir(parents=True)
        for split in ("train", "validation"):
            pq.write_table(pa.table(columns), folder / task / f"{split}.parquet")
    return folder


def wide(model: nn.Module) -> nn.Module:
    """With weights so large that the logits of two examples lie apart, so that a mistaken one is seen."""
    draw = torch.Generator().manual_seed(4)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.4, generator=draw)
    return model


def online(setup: Setup) -> nn.Module:
    return load_for_task(setup.teacher, setup.task, seed=0, attention="eager", new_head=False)


def read(setup: Setup, examples: datasets.Dataset | None = None, folder: Path | None = None) -> Any:
    context: Any = SimpleNamespace(parent_artifacts={TEACHER_LOGITS: folder or setup.stored})
    return stored_teacher(context, setup.task, setup.examples if examples is None else examples)


# -- the same losses


@torch.no_grad()
def test_losses_are_those_with_the_teacher_beside_the_student(setup: Setup) -> None:
    """Batches of another order, size and so padded length than the logits were computed in; and micro-batches."""
    student = online(setup).eval()
    for parameter in student.parameters():
        parameter.data.mul_(0.9)
    head = head_of(setup.task)
    teachers = (online(setup), read(setup))
    objectives = [head.objective(Distillation(teacher=teacher, **WEIGHTS)) for teacher in teachers]
    plain = head.objective(None)
    order = torch.randperm(len(setup.examples), generator=torch.Generator().manual_seed(9)).tolist()
    lengths = set()
    for length in (None, TASK_PARAMETERS[setup.task.name]["max_length"] + 5):
        collator = PaddingCollator(setup.tokenizer, length, with_index=True)
        for start in range(0, len(order), 4):
            batch = collator([setup.examples[row] for row in order[start : start + 4]])
            lengths.add(batch["input_ids"].shape[1])
            expected, found = (float(objective(student, batch)) for objective in objectives)
            assert found == pytest.approx(expected, abs=1e-5)
            assert abs(found - float(plain(student, batch))) > 1e-3, "the teacher counts"
            part = {name: tensor[:3] for name, tensor in batch.items()}
            expected, found = (float(objective(student, part, batch)) for objective in objectives)
            assert found == pytest.approx(expected, abs=1e-5)
    assert len(lengths) >= 4


def test_padding_on_the_left_is_no_part_of_the_stored_logits() -> None:
    """Two windows of 2 and 3 tokens, batched to 4: what is stored are the tokens' own, and they come back in place."""
    rows = {name: [np.array([9, 9, 1, 2.0]), np.array([9, 3, 4, 5.0])] for name in ("start_logits", "end_logits")}
    left = as_tensors(rows, [2, 3], "left")
    right = as_tensors({name: [row[::-1].copy() for row in each] for name, each in rows.items()}, [2, 3], "right")
    assert left["start_logits"].tolist() == [1, 2, 3, 4, 5]
    assert right["end_logits"].tolist() == [2, 1, 5, 4, 3]
    assert left["places"].tolist() == right["places"].tolist() == [0, 2]


def test_logits_are_looked_up_by_example_on_whichever_side_the_padding_is() -> None:
    teacher = StoredTeacher(by_token={"start_logits": torch.tensor([1.0, 2, 3, 4, 5])}, places=torch.tensor([0, 2]))
    index = torch.tensor([1, 0])
    left = teacher(index=index, attention_mask=torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1]]))
    assert left.start_logits.tolist() == [[0, 3, 4, 5], [0, 0, 1, 2]]
    right = teacher(index=index, attention_mask=torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]))
    assert right.start_logits.tolist() == [[3, 4, 5, 0], [1, 2, 0, 0]]


def test_the_artifact_is_in_the_order_of_the_examples_and_the_record_counts_them(setup: Setup) -> None:
    """By another road: the teacher on each example alone, without padding."""
    teacher = online(setup).eval()
    tensors = load_file(setup.stored / LOGITS_FILE)
    rows = [4, 0, len(setup.examples) - 1]
    for row in rows:
        example = setup.examples[row]
        ids, types = (torch.tensor([example[name]]) for name in ("input_ids", "token_type_ids"))
        with torch.no_grad():
            output = teacher(input_ids=ids, token_type_ids=types)
        for name, logits in output.items():
            start = int(tensors["places"][row]) if "places" in tensors else row
            stored = tensors[name][start : start + ids.shape[1]] if "places" in tensors else tensors[name][row]
            torch.testing.assert_close(stored, logits[0], atol=1e-5, rtol=0)
    assert all(float(tensors[name].std(dim=0).min()) > 0.3 for name in tensors if name.endswith("logits")), "see wide"
    tokens = sum(len(ids) for ids in setup.examples["input_ids"][:])
    assert setup.result.details[TEACHER_LOGITS] == {"examples": len(setup.examples), "tokens": tokens}
    assert f"{len(setup.examples)} of {len(setup.examples)}" in setup.result.did[0]


def test_the_same_logits_are_the_same_bytes(setup: Setup, tmp_path: Path) -> None:
    again = setup.context(tmp_path, {"model": setup.teacher}, batch_size=7)
    teacher_logits(again)
    assert (again.artifact / LOGITS_FILE).read_bytes() == (setup.stored / LOGITS_FILE).read_bytes()


# -- in a stage


def transferred(setup: Setup, folder: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> tuple[Any, list[str]]:
    """One epoch of a locked transfer, dropout and all; and the models that it loaded."""
    loaded = []

    def load(folder: Path, *given: Any, **options: Any) -> Any:
        loaded.append(folder.name)
        return load_for_task(folder, *given, **options)

    monkeypatch.setattr(fine_tuning, "load_for_task", load)
    parents = {"model": setup.teacher, "teacher": setup.teacher, **how.pop("parents", {})}
    context = setup.context(
        folder, parents, **WEIGHTS, epochs=1.0, batch_size=8, learning_rate=1e-3, lock_pooler=True, **how
    )
    return fine_tuning.transfer(context), loaded


def test_a_transfer_with_stored_logits_has_the_losses_of_one_with_its_teacher(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, loaded = transferred(setup, tmp_path / "online", monkeypatch)
    after, loaded_then = transferred(
        setup, tmp_path / "stored", monkeypatch, teacher_logits="stored", parents={TEACHER_LOGITS: setup.stored}
    )
    assert (loaded, loaded_then) == (["teacher"] * 2, ["teacher"]), "student and teacher; the student alone"
    curves = [[point["loss"] for point in each.details["training"]["loss_curve"]] for each in (before, after)]
    assert len(curves[0]) >= 3
    assert curves[1] == pytest.approx(curves[0], abs=1e-5)
    assert not before.details["training"]["batches"]["too_large"]


def test_a_stage_without_the_stored_logits_that_it_names_fails(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"teacher_logits=stored, and the stage has no parent 'teacher_logits'"):
        transferred(setup, tmp_path, monkeypatch, teacher_logits="stored")


# -- those of another training set


def changed_order(examples: datasets.Dataset) -> datasets.Dataset:
    return examples.select([1, 0, *range(2, len(examples))])


def one_less(examples: datasets.Dataset) -> datasets.Dataset:
    return examples.select(range(len(examples) - 1))


def another_token(examples: datasets.Dataset) -> datasets.Dataset:
    def change(example: dict[str, Any], row: int) -> dict[str, Any]:
        ids = list(example["input_ids"])
        return {"input_ids": [*ids[:1], ids[1] + 1, *ids[2:]] if row == 5 else ids}

    return examples.map(change, with_indices=True)


def other_types(examples: datasets.Dataset) -> datasets.Dataset:
    def change(example: dict[str, Any], row: int) -> dict[str, Any]:
        types = example["token_type_ids"]
        return {"token_type_ids": [1 - kind for kind in types] if row == 5 else types}

    return examples.map(change, with_indices=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed_order, "the examples are the same in another order, the first that differs is 0"),
        (one_less, r"it is of \d+ examples, expected \d+"),
        (another_token, r"1 of \d+ examples have other tokens, the first is 5"),
        (other_types, r"1 of \d+ examples have other tokens, the first is 5"),
    ],
)
def test_logits_of_other_examples_are_refused(
    setup: Setup, change: Callable[[datasets.Dataset], datasets.Dataset], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        read(setup, change(setup.examples))
    assert "are not those of this training set" in str(refused.value)
    assert "harness invalidate" in str(refused.value)


def spoiled(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path, Path], None]:
    def write(source: Path, target: Path) -> None:
        tensors = load_file(source)
        change(tensors)
        save_file(tensors, target)

    return write


def cut_off(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:-9])


def not_there(source: Path, target: Path) -> None:
    pass


def without_logits(tensors: dict[str, torch.Tensor]) -> None:
    for name in ("logits", "end_logits"):
        tensors.pop(name, None)


def endless(tensors: dict[str, torch.Tensor]) -> None:
    tensors.get("logits", tensors.get("end_logits")).view(-1)[3] = torch.inf


def shorter(tensors: dict[str, torch.Tensor]) -> None:
    name = "logits" if "logits" in tensors else "start_logits"
    tensors[name] = tensors[name][:-1].clone()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_off, "it cannot be read"),
        (not_there, "it cannot be read"),
        (spoiled(without_logits), r"it has no (end_)?logits"),
        (spoiled(endless), r"logits has entries that are not finite"),
        (spoiled(shorter), r"logits is \[\d+(, 2)?\], expected \[\d+(, 2)?\]"),
    ],
)
def test_a_spoiled_file_is_refused(
    setup: Setup, tmp_path: Path, spoil: Callable[[Path, Path], None], words: str
) -> None:
    spoil(setup.stored / LOGITS_FILE, tmp_path / LOGITS_FILE)
    with pytest.raises(ValueError, match=words) as refused:
        read(setup, folder=tmp_path)
    assert "common.teacher_logits=online" in str(refused.value)


def test_places_that_are_not_the_windows_own_are_refused(setup: Setup, tmp_path: Path) -> None:
    tensors = load_file(setup.stored / LOGITS_FILE)
    if "places" not in tensors:
        pytest.skip("of a classification none are stored")
    tensors["places"][1] += 1
    save_file(tensors, tmp_path / LOGITS_FILE)
    with pytest.raises(ValueError, match="places are not where these examples begin"):
        read(setup, folder=tmp_path)


def test_a_fingerprint_tells_where_ids_end_and_types_begin() -> None:
    """Equal numbers, cut elsewhere: [1, 2] with types [3] is not [1] with types [2, 3]."""
    rows = {"input_ids": [[1, 2], [1], [1, 2]], "token_type_ids": [[3], [2, 3], [3]]}
    first, second, third = fingerprints(datasets.Dataset.from_dict(rows)).tolist()
    assert first == third != second


def test_fingerprints_are_those_of_a_loop_over_rows(setup: Setup) -> None:
    row = setup.examples[2]
    digest = hashlib.blake2b(digest_size=8)
    for name in ("input_ids", "token_type_ids"):
        digest.update(len(row[name]).to_bytes(4, "little"))
        digest.update(b"".join(token.to_bytes(4, "little") for token in row[name]))
    (found,) = fingerprints(setup.examples.select([2])).tolist()
    assert found == int.from_bytes(digest.digest(), "little", signed=True)
