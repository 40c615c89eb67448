"""fine_tune and pretrain, which stages of a method's own call: where they start, what they distil from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.stages import fine_tuning, loading, pretraining, training_run
from harness.training.modifiers import Modifier

PARAMETERS = {
    "task": "sst2",
    "model": "tiny",
    "seed": 7,
    "attention": "eager",
    "padding": "longest",
    "max_length": 48,
    "mlm_probability": 0.15,
}
PAIRS = {"parameters": {"max_length": 32}}
DISTILLING = {**PARAMETERS, "ce_weight": 0.25, "kd_weight": 0.75, "temperature": 3.0}


class Stop(Exception):
    """Raised where training would begin."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the training run is made of; models are their folder and how they would be loaded."""
    found: dict[str, Any] = {}

    class Run:
        def __init__(self, **given: Any) -> None:
            found.update(given)

        def run(self) -> None:
            raise Stop

    def load_for_task(folder: Path, task: Any, **options: Any) -> Any:
        return SimpleNamespace(folder=folder, head=task.name, requires_grad_=lambda wanted: None, **options)

    def load_for_pretraining(folder: Path, **options: Any) -> Any:
        return SimpleNamespace(folder=folder, head="pretraining", requires_grad_=lambda wanted: None, **options)

    monkeypatch.setattr(fine_tuning, "load_for_task", load_for_task)
    monkeypatch.setattr(fine_tuning, "training_examples", lambda *given: "the task's examples")
    monkeypatch.setattr(fine_tuning, "PaddingCollator", lambda tokenizer, length, **options: tokenizer)
    monkeypatch.setattr(pretraining, "load_for_pretraining", load_for_pretraining)
    monkeypatch.setattr(pretraining, "load_pairs", lambda context, split: (context.parent_artifacts["pairs"], split))
    monkeypatch.setattr(pretraining, "MaskedLanguageModelCollator", lambda tokenizer, **options: tokenizer)
    monkeypatch.setattr(loading, "base_model_folder", lambda context: Path("base"))
    for module in (fine_tuning, pretraining):
        monkeypatch.setattr(module, "TrainingRun", Run)
        monkeypatch.setattr(module, "quiet", lambda: None)
        monkeypatch.setattr(module, "family_of", lambda folder: f"family of {folder}")
        monkeypatch.setattr(module, "load_tokenizer", lambda folder: f"tokenizer of {folder}")
    return found


def context(parameters: Any, *parents: str) -> Any:
    return SimpleNamespace(
        parameters=parameters,
        parent_artifacts={role: Path(role) for role in parents},
        parent_records={"pairs": PAIRS},
        checkpoints=Path("checkpoints"),
    )


def a_modifier(model: Any, matrices: Any, num_steps: int) -> Modifier:
    return Modifier(matrices=matrices)


def begin(stage: Callable[..., Any], *given: Any, **options: Any) -> None:
    with pytest.raises(Stop):
        stage(*given, modifier=a_modifier, **options)


@pytest.mark.parametrize(
    ("parents", "start"), [((), "base"), (("model",), "model"), (("teacher",), "base"), (("model", "teacher"), "model")]
)
def test_fine_tuning_starts_from_the_parent_model_or_else_from_the_base_model(
    started: dict[str, Any], parents: tuple[str, ...], start: str
) -> None:
    begin(fine_tuning.fine_tune, context(DISTILLING, *parents))
    model, kd = started["load_model"](), started["objective"].distillation
    assert (model.folder, model.head, model.seed, model.attention) == (Path(start), "sst2", 7, "eager")
    assert model.new_head
    assert (started["family"], started["collator"]) == (f"family of {start}", f"tokenizer of {start}")
    assert started["make_modifier"] is a_modifier
    if "teacher" in parents:
        assert (kd.teacher.folder, kd.teacher.new_head) == (Path("teacher"), False)
        assert (kd.ce_weight, kd.kd_weight, kd.temperature) == (0.25, 0.75, 3.0)
    else:
        assert kd is None


def test_fine_tuning_of_a_fine_tuned_model_draws_no_head(started: dict[str, Any]) -> None:
    begin(fine_tuning.fine_tune, context(PARAMETERS, "model"), new_head=False)
    assert not started["load_model"]().new_head


@pytest.mark.parametrize(
    ("parents", "start", "draws_heads"),
    [
        ((), "base", True),
        (("model",), "model", False),
        (("teacher",), "teacher", False),
        (("model", "teacher"), "model", False),
    ],
)
def test_pre_training_starts_from_the_parent_model_then_the_teacher_then_the_base_model(
    started: dict[str, Any], parents: tuple[str, ...], start: str, draws_heads: bool
) -> None:
    begin(pretraining.pretrain, context(DISTILLING, "pairs", *parents))
    model, kd = started["load_model"](), started["objective"].distillation
    assert (model.folder, model.head, model.new_head) == (Path(start), "pretraining", draws_heads)
    assert started["examples"] == (Path("pairs"), "train")
    assert started["collator"] == "tokenizer of pairs/tokenizer"
    assert (kd is not None) == ("teacher" in parents)
    if kd is not None:
        assert (kd.teacher.folder, kd.teacher.new_head) == (Path("teacher"), False)


def test_a_stage_without_a_teacher_needs_no_distillation_weights() -> None:
    assert training_run.distillation_of(context(PARAMETERS, "model"), lambda folder: 1 / 0) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("padding", "task", "pairs"), [("longest", None, None), ("max_length", 48, 32)])
def test_a_batch_is_padded_to_its_longest_example_or_to_the_length_of_the_task_or_the_pairs(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch, padding: str, task: int | None, pairs: int | None
) -> None:
    monkeypatch.setattr(fine_tuning, "PaddingCollator", lambda tokenizer, length, **options: length)
    monkeypatch.setattr(pretraining, "MaskedLanguageModelCollator", lambda tokenizer, **options: options["length"])
    begin(fine_tuning.fine_tune, context({**PARAMETERS, "padding": padding}))
    assert started["collator"] == task
    begin(pretraining.pretrain, context({**PARAMETERS, "padding": padding}, "pairs"))
    assert started["collator"] == pairs


@pytest.mark.parametrize(("given", "share"), [({}, 1.0), ({"kd_positions": 0.5}, 0.5)])
def test_pre_training_distils_the_share_of_tokens_that_the_recipe_says(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch, given: dict[str, float], share: float
) -> None:
    monkeypatch.setattr(pretraining, "MaskedLanguageModelCollator", lambda tokenizer, **options: options)
    begin(pretraining.pretrain, context({**DISTILLING, **given}, "pairs", "teacher"))
    assert started["collator"] == {
        "seed": 7,
        "selection_probability": 0.15,
        "kd_positions": share,
        "length": None,
    }
