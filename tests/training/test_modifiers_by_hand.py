"""From a stage's parameters to what its modifier does: schedule, rates, matrices and ranking, by the specification."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_training import BERT_LAYER, toy_config
from transformers import (
    BertForPreTraining,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    set_seed,
)

from harness.compression.quantization import QuantizedLinear
from harness.compression.schedule import PruningSchedule
from harness.compression.sparsify import masked_names
from harness.inputs.families import BERT, DISTILBERT
from harness.stages import fine_tuning, pretraining
from harness.training import modifiers
from harness.training.modifiers import GradualPruning, LockedQuantization, Matrices, PatternLock

PRUNING: dict[str, Any] = {
    "sparsity": 0.9,
    "initial_sparsity": 0.0,
    "ramp_begin": 0.0,
    "ramp_end": 0.5,
    "first_event": 0.25,  # not where the ramp begins, so that one taken for the other shows
    "last_event": 0.75,
    "frequency": 0.25,
    "ranking": "local",
    "lr_rewind": True,
    "prune_pooler": True,
}
MATRICES = [f"bert.encoder.layer.{layer}.{name}" for layer in range(2) for name in BERT_LAYER]


def toy(kind: Any = BertForSequenceClassification) -> Any:
    set_seed(0)
    return kind(toy_config(num_hidden_layers=2, intermediate_size=16))


def pruning(num_steps: int = 20, model: Any = None, **changed: Any) -> GradualPruning:
    matrices = Matrices.of(toy() if model is None else model, BERT)
    return GradualPruning.of({**PRUNING, **changed}, matrices, num_steps)


def test_every_parameter_of_pruning_reaches_the_schedule() -> None:
    """Of 100 steps, events every 5: fractions .1, .2, .6 and .8 are steps 10, 20, 60 and 80."""
    made = pruning(
        100,
        sparsity=0.7,
        initial_sparsity=0.1,
        first_event=0.1,
        ramp_begin=0.2,
        ramp_end=0.6,
        last_event=0.8,
        frequency=0.05,
        ranking="global",
        lr_rewind=False,
        prune_pooler=False,
    )
    assert made.schedule == PruningSchedule(
        initial_sparsity=0.1,
        final_sparsity=0.7,
        first_event=10,
        ramp_begin=20,
        ramp_end=60,
        last_event=80,
        frequency=5,
    )
    assert (made.ranking, made.rewind, made.with_pooler) == ("global", False, False)
    assert (pruning().ranking, pruning().rewind, pruning().with_pooler) == ("local", True, True)


@pytest.mark.oracle("O13")
def test_the_rate_is_rewound_over_the_ramp_and_not_over_the_events() -> None:
    """N = 20, W_u = 2, t0 = 0, t1 = 10, f = 5, and the first event at 5: the saw-tooth begins at t0 all the same."""
    factor = pruning().factor(20, 2)
    saw_tooth = [0, 0.5, 1, 0.875, 0.75, 1.25, 1.125, 1, 0.875, 0.75]
    decay = [1.25 - 0.125 * step for step in range(11)]
    assert [factor(step) for step in range(21)] == pytest.approx(saw_tooth + decay)


def test_without_rewinding_the_rate_falls_in_one_line() -> None:
    factor = pruning(lr_rewind=False).factor(20, 2)
    assert [factor(step) for step in range(21)] == pytest.approx([0, 0.5, *((20 - t) / 18 for t in range(2, 21))])


@pytest.mark.oracle("O14")
def test_the_rates_of_the_papers_pre_training() -> None:
    fractions = {"first_event": 0.0, "last_event": 0.8, "frequency": 0.01}
    factor = pruning(100_000, **fractions).factor(100_000, 1000)
    assert factor(500) == 0.5
    assert [factor(t) for t in (1000, 2000, 50_000)] == pytest.approx([50_000 / 49_000] * 3)
    assert factor(1999) == pytest.approx(49_001 / 49_000)
    assert (factor(75_000), factor(100_000)) == (pytest.approx(25_000 / 49_000), 0)


@pytest.mark.oracle("O15")
def test_the_rates_of_the_releases_question_answering() -> None:
    fractions = {"ramp_begin": 0.095, "ramp_end": 0.68, "first_event": 0.095, "last_event": 0.81, "frequency": 0.0068}
    factor = pruning(14_754, **fractions).factor(14_754, 0)
    assert factor(0) == 1
    assert [factor(t) for t in (1400, 1500, 10_000)] == pytest.approx([0.772506] * 3, abs=1e-6)
    assert factor(1499) == pytest.approx(0.756419, abs=1e-6)


@pytest.mark.oracle("O10")
@pytest.mark.parametrize("with_pooler", [True, False])
def test_exactly_the_named_matrices_are_masked(with_pooler: bool) -> None:
    model = toy(BertForPreTraining)
    made = pruning(model=model, prune_pooler=with_pooler)
    types = {name: type(module) for name, module in model.named_modules()}
    made.attach(model)
    expected = {*MATRICES, *(["bert.pooler.dense"] if with_pooler else [])}
    assert set(masked_names(model)) == expected
    changed = {name for name, module in model.named_modules() if name in types and type(module) is not types[name]}
    assert changed == expected


@pytest.mark.oracle("O10")
@pytest.mark.parametrize("kind", [DistilBertForMaskedLM, DistilBertForSequenceClassification])
def test_of_a_distilbert_neither_vocabulary_layers_nor_heads_are_masked(kind: Any) -> None:
    """vocab_projector is tied to the embeddings, and the release's exclusions by regex miss it and vocab_transform."""
    model = kind(DistilBertConfig(vocab_size=20, dim=8, n_layers=2, n_heads=2, hidden_dim=16))
    matrices = Matrices.of(model, DISTILBERT)
    made = GradualPruning.of(PRUNING, matrices, 20)
    types = {name: type(module) for name, module in model.named_modules()}
    made.attach(model)
    changed = {name for name, module in model.named_modules() if name in types and type(module) is not types[name]}
    assert changed == set(masked_names(model))
    assert changed == {
        f"distilbert.transformer.layer.{layer}.{name}"
        for layer in (0, 1)
        for name in (*(f"attention.{part}_lin" for part in ("q", "k", "v", "out")), "ffn.lin1", "ffn.lin2")
    }


def zeros_after(made: GradualPruning, step: int) -> list[int]:
    """Zeros of every matrix after the optimizer step of that number, of a model whose layers have unlike sizes."""
    model = toy()
    with torch.no_grad():
        for name in MATRICES[:6]:
            model.get_submodule(name).weight.mul_(10)
    made.attach(model)
    (callback,) = made.callbacks(20)
    control: Any = None
    callback.on_step_end(control, SimpleNamespace(global_step=step), control, model=model)  # type: ignore[arg-type]
    return [int((model.get_submodule(name).weight == 0).sum()) for name in MATRICES]


@pytest.mark.oracle("O2")
def test_masks_change_after_the_step_that_follows_an_event() -> None:
    """Events at pruning steps 5, 10 and 15, that is after steps 6, 11 and 16; s(5) = .9 (1 - 1/8) = .7875."""
    assert sum(zeros_after(pruning(), 5)) == 0
    # 64 weights in each of the four of attention -> 50; 128 in the two of the feed-forward -> 100.
    assert zeros_after(pruning(), 6) == [50, 50, 50, 50, 100, 100] * 2
    assert sum(zeros_after(pruning(), 7)) == 0
    assert zeros_after(pruning(), 11) == [57, 57, 57, 57, 115, 115] * 2


def test_the_ranking_of_the_recipe_is_the_one_that_is_made() -> None:
    """Global: of 1,024 weights 921 go, from the second layer, whose weights are a tenth as large, all 512."""
    zeros = zeros_after(pruning(ranking="global", prune_pooler=False), 11)
    assert (sum(zeros[:6]), sum(zeros[6:])) == (409, 512)


@pytest.mark.oracle("O3")
def test_after_the_last_event_the_masks_are_frozen_though_the_weights_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pre-training configuration on 100 steps: events at pruning steps 0 to 80, so 81; none in the steps after."""
    model = toy()
    fractions = {"ramp_end": 0.5, "first_event": 0.0, "last_event": 0.8, "frequency": 0.01}
    made = pruning(100, **fractions)
    made.attach(model)
    (callback,) = made.callbacks(100)
    events: list[int] = []
    masks: dict[int, list[torch.Tensor]] = {}
    update = modifiers.update_masks
    monkeypatch.setattr(
        modifiers, "update_masks", lambda *given, **options: (events.append(1), update(*given, **options))
    )
    nothing: Any = None
    draw = torch.Generator().manual_seed(0)
    for step in range(1, 101):
        with torch.no_grad():
            for name in masked_names(model):
                shadow = model.get_submodule(name).parametrizations.weight.original
                shadow.copy_(torch.randn(shadow.shape, generator=draw))
        callback.on_step_end(nothing, SimpleNamespace(global_step=step), nothing, model=model)  # type: ignore[arg-type]
        masks[step] = [
            model.get_submodule(name).parametrizations.weight[0].mask.clone() for name in masked_names(model)
        ]
    assert len(events) == 81
    assert not all(torch.equal(a, b) for a, b in zip(masks[80], masks[81], strict=True))  # the last event, t = 80
    for step in range(82, 101):
        assert all(torch.equal(a, b) for a, b in zip(masks[81], masks[step], strict=True)), step


@pytest.mark.oracle("O34")
def test_the_zeros_after_quantization_aware_training_are_those_of_the_masks() -> None:
    """Matrix by matrix: every masked entry is 0 in floating point and in the codes; rounding makes a few more there."""
    model = toy()
    matrices = Matrices.of(model, BERT)
    draw = torch.Generator().manual_seed(0)
    masks = {}
    with torch.no_grad():
        for name in MATRICES:
            weight = model.get_submodule(name).weight
            masks[name] = torch.rand(weight.shape, generator=draw) < 0.3
            weight.mul_(masks[name])
    linears = [*MATRICES, "bert.pooler.dense", "classifier"]
    made = LockedQuantization(
        matrices=matrices,
        with_pooler=True,
        linears=linears,
        fp32_outputs=linears,
        weight_scale="max127",
        activation_momentum=0.01,
    )
    made.attach(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for label in (0, 1, 0):
        optimizer.zero_grad()
        model.train()(input_ids=torch.tensor([[2, 9, 7, 3]]), labels=torch.tensor([label])).loss.backward()
        optimizer.step()
    trained = {name: model.get_submodule(name).weight.detach().clone() for name in MATRICES}
    report = made.detach(model)
    assert report.int8 is not None
    extra = 0
    for name, mask in masks.items():
        codes = report.int8[f"{name}.codes"]
        assert torch.equal(trained[name] != 0, mask), name
        assert not codes[~mask].any(), name
        assert codes.any(), name
        extra += int((codes[mask] == 0).sum())
        assert torch.equal(model.get_submodule(name).weight != 0, codes != 0), name
    assert report.details["int8"]["extra_zeros"] == extra
    assert report.details["sparsity"]["encoder_zeros"] == sum(int((~mask).sum()) for mask in masks.values())


def test_of_a_model_without_encoder_matrices_there_is_no_sparsity_to_tell() -> None:
    with pytest.raises(ValueError, match="the model has no encoder matrix: nothing was pruned"):
        modifiers.sparsity_details(toy(), Matrices(encoder=(), pooler=("bert.pooler.dense",)))


# -- from the stages of a task


def modifier_of(monkeypatch: pytest.MonkeyPatch, stage: Any, parameters: dict[str, Any], model: Any) -> Any:
    """The modifier that a stage gives its training, and the other options of it."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(fine_tuning, "fine_tune", lambda context, **options: found.update(options))
    monkeypatch.setattr(pretraining, "pretrain", lambda context, **options: found.update(options))
    monkeypatch.setattr(fine_tuning, "family_of", lambda folder: BERT)
    stage(SimpleNamespace(parameters=parameters, parent_artifacts={"model": None}))
    return found.pop("modifier")(model, Matrices.of(model, BERT), 20), found


@pytest.mark.parametrize("stage", [fine_tuning.task_pruning, pretraining.student_pruning])
def test_both_pruning_stages_prune_by_their_parameters(monkeypatch: pytest.MonkeyPatch, stage: Any) -> None:
    made, _ = modifier_of(monkeypatch, stage, PRUNING, toy())
    assert made == pruning()


@pytest.mark.parametrize("with_pooler", [True, False])
def test_transfer_locks_the_matrices_and_the_pooler_where_the_recipe_says_so(
    monkeypatch: pytest.MonkeyPatch, with_pooler: bool
) -> None:
    model = toy()
    made, options = modifier_of(monkeypatch, fine_tuning.transfer, {"lock_pooler": with_pooler}, model)
    assert type(made) is PatternLock
    assert options.get("new_head", True)
    made.attach(model)
    assert sorted(masked_names(model)) == sorted([*MATRICES, *(["bert.pooler.dense"] if with_pooler else [])])


@pytest.mark.parametrize("rule", ["max127", "ref_max127_5"])
def test_quantization_takes_every_linear_with_the_rule_and_the_momentum_of_the_recipe(
    monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    model = toy()
    parameters = {"lock_pooler": True, "weight_scale": rule, "activation_momentum": 0.03}
    made, options = modifier_of(monkeypatch, fine_tuning.quantization, parameters, model)
    assert type(made) is LockedQuantization
    assert options == {"new_head": False}
    made.attach(model)
    quantised = {name: m for name, m in model.named_modules() if isinstance(m, QuantizedLinear)}
    assert sorted(quantised) == sorted([*MATRICES, "bert.pooler.dense", "classifier"])
    assert {module.scale_rule for module in quantised.values()} == {rule}
    assert {module.input_observer.momentum for module in quantised.values()} == {0.03}
    # What feeds a residual sum, the context product or the loss stays in floating point.
    fp32 = {name for name, module in quantised.items() if not module.requantize_output}
    ends = ("attention.self.value", "attention.output.dense", "output.dense")
    assert fp32 == {name for name in MATRICES if name.endswith(ends)} | {"classifier"}
    assert sorted(masked_names(model)) == sorted([*MATRICES, "bert.pooler.dense"])
