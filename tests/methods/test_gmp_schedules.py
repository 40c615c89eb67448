"""Gradual magnitude pruning with Neural Magic's schedule and GMP*: steps, sparsities and rates by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from stage_runs import cell, rounds
from toy_training import BERT_LAYER, toy_config
from transformers import BertForSequenceClassification, set_seed

from harness.compression.sparsify import attach_masks
from harness.errors import UsageError
from harness.inputs.families import BERT
from harness.planning.method_registry import kind_of
from harness.specs import StageSpec
from harness.stages import fine_tuning
from harness.testing import planned
from harness.training.modifiers import GradualPruning, Matrices
from methods.gmp_star import stage as gmp_star

NEURAL_MAGIC, STAR = "methods.gmp_neural_magic:METHOD", "methods.gmp_star:METHOD"
KINDS = {NEURAL_MAGIC: "gmp-neural-magic:pruning", STAR: "gmp-star:pruning"}


def stage_of(target: str, sparsity: float = 0.9, **settings: Any) -> StageSpec:
    plan = cell(target, sparsity, **{"common.frequency": 0.5, **settings})  # which is not theirs
    (stage_id,) = rounds(plan, KINDS[target])
    return plan.stages[stage_id]


def modifier(
    target: str, num_steps: int, monkeypatch: pytest.MonkeyPatch, sparsity: float = 0.9, **settings: Any
) -> tuple[Any, Any]:
    """A toy model and what the stage would do to it."""
    found: list[Any] = []
    for module in (fine_tuning, gmp_star):
        monkeypatch.setattr(module, "fine_tune", lambda context, *, modifier: found.append(modifier))
    spec = stage_of(target, sparsity, **settings)
    kind_of(spec).function()(SimpleNamespace(parameters=spec.parameters))
    set_seed(0)
    model = BertForSequenceClassification(toy_config())
    made = found[0](model, Matrices.of(model, BERT), num_steps)
    assert isinstance(made, GradualPruning)
    return model, made


# -- Neural Magic


def test_neural_magics_thirty_epochs_are_pruned_from_the_second_to_the_twentieth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """100 steps an epoch, so a mask update every step: 200 to 2,000. Half-way, 1 - .5^3 = .875 of .9."""
    _, made = modifier(NEURAL_MAGIC, 3000, monkeypatch)
    schedule = made.schedule
    assert (schedule.ramp_begin, schedule.ramp_end, schedule.frequency) == (200, 2000, 1)
    events = schedule.mask_update_steps(3000)
    assert (events[0], events[-1], len(events)) == (200, 2000, 1801)
    found = [schedule.sparsity_at(step) for step in (0, 200, 1100, 2000, 2999)]
    assert found == pytest.approx([0, 0, 0.7875, 0.9, 0.9])


def test_neural_magics_rate_falls_in_one_line_whatever_the_preset_rewinds(monkeypatch: pytest.MonkeyPatch) -> None:
    _, made = modifier(NEURAL_MAGIC, 300, monkeypatch)
    factor = made.factor(300, 60)
    assert [factor(step) for step in (0, 30, 60, 180, 240, 300)] == pytest.approx([0, 0.5, 1, 0.5, 0.25, 0])
    assert (made.ranking, made.with_pooler) == ("local", True)


# -- GMP*


def test_the_first_event_takes_half_at_once_and_a_cubic_ramp_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 steps: 60 to 240, every 3: 61 events. Half-way, at 150, .5 + .875 * .4 = .85."""
    _, made = modifier(STAR, 300, monkeypatch)
    schedule = made.schedule
    events = schedule.mask_update_steps(300)
    assert (events[0], events[1], events[-1], len(events)) == (60, 63, 240, 61)
    found = [schedule.sparsity_at(step) for step in (60, 150, 240, 299)]
    assert found == pytest.approx([0.5, 0.85, 0.9, 0.9])


def test_the_rate_decays_five_times_each_with_its_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 steps in five runs of 60, 60 steps of warm-up in all, 12 each: the peak at 12, a half at 36."""
    _, made = modifier(STAR, 300, monkeypatch)
    factor = made.factor(300, 60)
    for begin in range(0, 300, 60):
        found = [factor(begin + step) for step in (0, 6, 12, 36, 48)]
        assert found == pytest.approx([0, 0.5, 1, 0.5, 0.25]), begin
    assert factor(300) == 0


def test_below_its_first_step_a_cell_is_pruned_to_its_own_sparsity_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, made = modifier(STAR, 300, monkeypatch, sparsity=0.3)
    assert {made.schedule.sparsity_at(step) for step in (0, 60, 150, 240)} == {0.3}


def test_the_encoder_is_ranked_together_and_the_pooler_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices of 64: at the last event .9 of 384 in the encoder is 345, of the pooler's 64 it is 57."""
    model, made = modifier(STAR, 20, monkeypatch)
    names = [f"bert.encoder.layer.0.{name}" for name in BERT_LAYER]
    with torch.no_grad():
        model.get_submodule(names[0]).weight *= 1000
        model.get_submodule("bert.pooler.dense").weight *= 1e-6
    attach_masks(model, [*names, "bert.pooler.dense"])
    (updates,) = made.callbacks(20)
    updates.on_step_end(None, SimpleNamespace(global_step=17), None, model=model)  # step 16, the last event
    zeros = {name: int((model.get_submodule(name).weight == 0).sum()) for name in (*names, "bert.pooler.dense")}
    assert zeros.pop("bert.pooler.dense") == 57
    assert zeros[names[0]] < 57
    assert sum(zeros.values()) == 345


# -- both


@pytest.mark.parametrize("target", KINDS)
def test_they_start_from_the_dense_pre_trained_model_and_distil_from_the_task_teacher(target: str) -> None:
    spec = stage_of(target)
    assert spec.inputs["model"] == "weights"
    assert set(spec.parents) == {"teacher"}


@pytest.mark.parametrize("target", KINDS)
def test_under_quick_they_have_the_terms_of_fine_tune_pruning_and_schedules_of_their_own(target: str) -> None:
    ours = next(s for s in planned(target, tasks=["sst2"]).stages.values() if s.kind == KINDS[target])
    papers = planned("methods.finetune_pruning:METHOD", tasks=["sst2"])
    theirs = next(spec for spec in papers.stages.values() if spec.kind == "task_pruning")
    schedule = {"ramp_begin", "ramp_end", "first_event", "last_event", "frequency", "ranking", "lr_rewind"}
    own = {*schedule, "initial_sparsity", "num_cycles"}
    for name in ours.parameters.keys() - own:
        assert ours.parameters[name] == theirs.parameters[name], name
    assert any(ours.parameters[name] != theirs.parameters.get(name) for name in own & ours.parameters.keys())


def test_a_ramp_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="a ramp that begins before it ends"):
        stage_of(STAR, **{"gmp-star:pruning.ramp_end": 0.1})
