"""PrunedStart: what goes before the first step, by whose magnitudes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_training import BERT_LAYER, toy_config
from transformers import BertForSequenceClassification, set_seed

from harness.compression.sparsify import masked_names
from harness.inputs.families import BERT
from harness.training.modifiers import Matrices
from harness.training.pruned_start import PrunedStart

MATRICES = [f"bert.encoder.layer.0.{name}" for name in BERT_LAYER]  # 64 weights each


def toy() -> Any:
    set_seed(0)
    return BertForSequenceClassification(toy_config())


def pruned(model: Any, **changed: Any) -> PrunedStart:
    options: dict[str, Any] = {"sparsity": 0.5, "ranking": "local", "with_pooler": True, **changed}
    made = PrunedStart(matrices=Matrices.of(model, BERT), **options)
    made.attach(model)
    return made


def weight(model: Any, name: str) -> torch.Tensor:
    return model.get_submodule(name).weight.detach()


def test_the_smallest_of_its_own_weights_go_and_the_rest_is_as_it_was() -> None:
    before, model = toy(), toy()
    pruned(model, sparsity=0.25)
    for name in [*MATRICES, "bert.pooler.dense"]:
        was, now = weight(before, name).flatten(), weight(model, name).flatten()
        order = was.abs().argsort()
        assert (now[order[:16]] == 0).all(), name
        assert torch.equal(now[order[16:]], was[order[16:]])
    assert masked_names(model) == [*MATRICES, "bert.pooler.dense"]


def test_another_models_weights_say_what_goes_and_its_values_stay_out() -> None:
    """The largest of our own go, because another model has them smallest."""
    before, model = toy(), toy()
    ranked_by = {f"{name}.weight": 1 / weight(before, name) for name in [*MATRICES, "bert.pooler.dense"]}
    pruned(model, ranked_by=ranked_by)
    for name in MATRICES:
        was, now = weight(before, name).flatten(), weight(model, name).flatten()
        order = was.abs().argsort()
        assert (now[order[32:]] == 0).all()
        assert torch.equal(now[order[:32]], was[order[:32]])


def test_ranked_together_the_encoder_has_the_count_in_its_sum_and_the_pooler_its_own() -> None:
    model = toy()
    with torch.no_grad():
        model.get_submodule(MATRICES[0]).weight *= 1000
        model.get_submodule("bert.pooler.dense").weight *= 1e-6
    report = pruned(model, ranking="global").detach(model)
    zeros = [int((weight(model, name) == 0).sum()) for name in MATRICES]
    assert zeros[0] == 0
    assert sum(zeros) == 192  # half of 6 x 64
    assert int((weight(model, "bert.pooler.dense") == 0).sum()) == 32
    assert report.summary == [
        "set 192 of 384 encoder weights to zero before the first step, ranked together",
        "locked 6 of 6 encoder matrices",
        "locked 1 of 1 pooler matrices",
    ]


def test_the_pooler_stays_dense_where_the_recipe_says_so() -> None:
    model = toy()
    pruned(model, with_pooler=False)
    assert (weight(model, "bert.pooler.dense") != 0).all()
    assert masked_names(model) == MATRICES


def test_a_family_without_a_pooler_has_none_to_prune() -> None:
    model = toy()
    matrices = Matrices(encoder=tuple(MATRICES), pooler=())
    PrunedStart(matrices=matrices, sparsity=0.5, ranking="local", with_pooler=True).attach(model)
    assert masked_names(model) == MATRICES


def test_without_a_matrix_of_the_encoder_it_refuses_to_train() -> None:
    matrices = Matrices(encoder=(), pooler=("bert.pooler.dense",))
    with pytest.raises(ValueError, match="weights is empty: no matrix would be pruned"):
        PrunedStart(matrices=matrices, sparsity=0.5, ranking="local", with_pooler=True).attach(toy())


def test_a_start_with_zeros_among_the_weights_that_stay_is_refused() -> None:
    """The lock would keep them at zero: 33 zeros where 32 were asked for."""
    before, model = toy(), toy()
    ranked_by = {f"{name}.weight": weight(before, name) for name in [*MATRICES, "bert.pooler.dense"]}
    with torch.no_grad():
        largest = weight(before, MATRICES[0]).abs().argmax()
        model.get_submodule(MATRICES[0]).weight.view(-1)[largest] = 0.0
    with pytest.raises(ValueError, match=r"193 of 384 encoder weights are zero, expected 192: .* Start from a dense"):
        pruned(model, ranked_by=ranked_by)


def test_a_ranking_model_of_another_shape_or_without_a_matrix_is_refused() -> None:
    model = toy()
    whole = {f"{name}.weight": weight(model, name).clone() for name in [*MATRICES, "bert.pooler.dense"]}
    name = f"{MATRICES[1]}.weight"
    with pytest.raises(ValueError, match=rf"{name} is \[2, 2\], expected \[8, 8\]"):
        pruned(toy(), ranked_by={**whole, name: torch.ones(2, 2)})
    with pytest.raises(ValueError, match=rf"{name} is absent, expected \[8, 8\]"):
        pruned(toy(), ranked_by={key: value for key, value in whole.items() if key != name})
