"""The module lists of the families against the library's own models (published shapes, no weights in memory)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
)

from harness.inputs.encoder_folder import read_sizes
from harness.inputs.families import FAMILIES
from harness.inputs.shapes import Shape
from harness.stages.fine_tuning import quantisable
from harness.training.model_inputs import inputs_for
from harness.training.modifiers import Matrices
from harness.training.pretraining_heads import heads_of

V3: Mapping[str, Any] = {
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "max_relative_positions": -1,
}
BERT_BASE: Mapping[str, int] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
BERT_LARGE: Mapping[str, int] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
# The config.json of the published models, as far as it says more than the library's defaults.
CONFIGS = {
    "bert-base": BertConfig(),
    "bert-large": BertConfig(**BERT_LARGE),
    "distilbert": DistilBertConfig(),
    "roberta-base": transformers.RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1),
    "electra-small": transformers.ElectraConfig(),  # embeddings of 128 before layers of 256
    "electra-base": transformers.ElectraConfig(**BERT_BASE, embedding_size=768),
    "deberta-v3-base": transformers.DebertaV2Config(**BERT_BASE, **V3),
    "modernbert-base": transformers.ModernBertConfig(),
    "modernbert-large": transformers.ModernBertConfig(
        hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, intermediate_size=2624
    ),
}
# Of the six families, one published size each.
ONE_OF_EACH = ("bert-base", "distilbert", "roberta-base", "electra-small", "deberta-v3-base", "modernbert-base")
# What is not tied, drawn or counted: parameters that the library keeps once under two names are one.
BERT_LAYER = 4 * 768 * 768 + 2 * 768 * 3072  # 7,077,888
MODERN_LAYER = 3 * 768 * 768 + 768 * 768 + 2 * 768 * 1152 + 768 * 1152  # Wqkv, Wo, Wi (gate and value), Wo: 5,013,504


def built(loader: Any, name: str) -> nn.Module:
    config = CONFIGS[name]
    kernel = "eager" if config.model_type == "deberta-v2" else "sdpa"
    with torch.device("meta"):
        return loader.from_config(config, attn_implementation=kernel)


def pretraining(name: str) -> nn.Module:
    """BERT's model has a next-sentence head; of the others the one for masked LM is taken."""
    return built(AutoModelForPreTraining if name.startswith("bert-") else AutoModelForMaskedLM, name)


def linears(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def sizes_of(name: str) -> dict[str, int]:
    config = CONFIGS[name].to_dict()
    return read_sizes(config, FAMILIES[config["model_type"]], name)


@pytest.mark.oracle("O10")
@pytest.mark.parametrize(
    ("name", "matrices", "weights", "with_pooler"),
    [
        ("bert-base", 72, 84_934_656, 73),
        ("bert-large", 144, 301_989_888, 145),
        ("distilbert", 36, 42_467_328, 36),
        ("roberta-base", 72, 12 * BERT_LAYER, 72),  # its model for masked LM has no pooler
        ("electra-base", 72, 12 * BERT_LAYER, 72),
        ("electra-small", 72, 12 * (4 * 256 * 256 + 2 * 256 * 1024), 72),  # 9,437,184
        ("deberta-v3-base", 72, 12 * BERT_LAYER, 72),
        ("modernbert-base", 88, 22 * MODERN_LAYER, 88),  # 110,297,088
        ("modernbert-large", 112, 28 * (4 * 1024 * 1024 + 3 * 1024 * 2624), 112),  # 343,146,496
    ],
)
def test_the_prunable_matrices_are_the_published_ones(name: str, matrices: int, weights: int, with_pooler: int) -> None:
    model, family = pretraining(name), FAMILIES[CONFIGS[name].model_type]
    found = Matrices.of(model, family)
    assert len(found.encoder) == matrices
    assert sum(model.get_submodule(n).weight.numel() for n in found.encoder) == weights
    assert len(found.masked(with_pooler=True)) == with_pooler
    # What is left out among the Linears are heads, and ELECTRA's projection of narrow embeddings.
    others = linears(model) - set(found.masked(with_pooler=True))
    projections = {f"{family.backbone}.{n}" for n in family.projections}
    assert all(family.may_be_new(f"{n}.weight") for n in others - projections)
    assert others & projections == ({"electra.embeddings_project"} if name == "electra-small" else set())
    assert family.layer_weights(sizes_of(name)) * CONFIGS[name].num_hidden_layers == weights


@pytest.mark.parametrize("name", CONFIGS)
def test_every_tensor_of_the_encoder_is_listed_with_its_shape(name: str) -> None:
    """Against the bare encoder: names, shapes, and nothing beside them."""
    family, model = FAMILIES[CONFIGS[name].model_type], built(AutoModel, name)
    listed = {**family.tensors(sizes_of(name)), **family.pooler_tensors(sizes_of(name))}
    assert listed == {n: tuple(tensor.shape) for n, tensor in model.state_dict().items()}


@pytest.mark.parametrize("loader", [AutoModelForSequenceClassification, AutoModelForQuestionAnswering])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_what_a_task_adds_to_the_encoder_is_a_head_of_its_family(loader: Any, name: str) -> None:
    family, model = FAMILIES[CONFIGS[name].model_type], built(loader, name)
    beside = [n for n in model.state_dict() if not n.startswith(f"{family.backbone}.")]
    assert beside
    assert all(family.is_of_a_head(n) for n in beside)
    assert {n for n in linears(model) if not n.startswith(f"{family.backbone}.")} <= set(family.task_heads)


@pytest.mark.parametrize("loader", [AutoModelForSequenceClassification, AutoModelForQuestionAnswering])
@pytest.mark.parametrize(
    ("name", "kept_in_a_layer", "last"),
    [
        ("bert-base", 3, "output.dense"),
        ("distilbert", 3, "ffn.lin2"),
        ("roberta-base", 3, "output.dense"),
        ("electra-small", 3, "output.dense"),
        ("deberta-v3-base", 3, "output.dense"),
        ("modernbert-base", 3, "mlp.Wo"),  # all but the gated one: the value stands in one matrix with query and key
    ],
)
def test_every_linear_of_a_task_model_is_quantised_and_residual_branches_stay_fp32(
    loader: Any, name: str, kept_in_a_layer: int, last: str
) -> None:
    family, model = FAMILIES[CONFIGS[name].model_type], built(loader, name)
    layers = CONFIGS[name].num_hidden_layers
    names = quantisable(model, Matrices.of(model, family), family)
    assert set(names) == linears(model)
    kept = [n for n in names if family.keeps_fp32_output(n)]
    # value, attention output and feed-forward output of every layer, and the head (some have two modules there); with
    # ELECTRA the projection, whose output is the first residual sum.
    beside = [n for n in names if ".layer." not in n and ".layers." not in n and not n.endswith(".pooler.dense")]
    assert len(kept) == kept_in_a_layer * layers + len(beside)
    assert sum(n.endswith(last) for n in kept) >= layers
    heads = 1 if name == "bert-base" or (not name.startswith("modern") and "Question" in loader.__name__) else 2
    assert len(beside) == heads + (name == "electra-small")


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_linear_that_no_list_names_is_refused(name: str) -> None:
    family, model = FAMILIES[CONFIGS[name].model_type], built(AutoModelForSequenceClassification, name)
    model.get_submodule(family.backbone).extra = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=rf"they differ in \['{family.backbone}\.extra'\]"):
        quantisable(model, Matrices.of(model, family), family)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_masked_lm_head_in_two_parts_is_the_librarys(name: str) -> None:
    """On a model of two layers, with weights: hidden states, transform and decoder give the logits of the whole."""
    transformers.set_seed(0)
    config = CONFIGS[name].__class__.from_dict({**CONFIGS[name].to_dict(), **small(name)})
    loader = AutoModelForPreTraining if name.startswith("bert-") else AutoModelForMaskedLM
    kernel = "eager" if config.model_type == "deberta-v2" else "sdpa"
    model = loader.from_config(config, attn_implementation=kernel).eval()
    ids = torch.randint(5, 40, (3, 12))
    inputs = inputs_for(
        model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.ones_like(ids)}
    )
    heads = heads_of(model)
    with torch.no_grad():
        encoded, whole = heads.encode(model, inputs), model(**inputs)
        logits = heads.decoder(model)(heads.before_decoder(model, encoded.hidden))
    torch.testing.assert_close(logits, whole.prediction_logits if name.startswith("bert-") else whole.logits)
    assert (encoded.pairs is not None) == name.startswith("bert-")
    assert ("token_type_ids" in inputs) == (name in ("bert-base", "electra-small"))
    tied = model.get_input_embeddings().weight
    assert heads.decoder(model).weight is tied


def small(name: str) -> dict[str, Any]:
    if name == "distilbert":
        return {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "vocab_size": 40}
    own = {"embedding_size": 8} if name.startswith("electra") else {"layer_types": None}
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return {**sizes, "vocab_size": 40, **own, **tokens}


@pytest.mark.parametrize(
    ("name", "usable"),
    [("bert-base", 512), ("roberta-base", 512), ("deberta-v3-base", 512), ("modernbert-base", 8192)],
)
def test_the_positions_that_a_token_can_have(name: str, usable: int) -> None:
    """RoBERTa has 514 and counts from pad_token_id + 1 = 2: the last of 512 tokens has position 513."""
    config = CONFIGS[name].to_dict()
    assert FAMILIES[config["model_type"]].usable_positions(config) == usable


def test_a_shape_counts_gated_matrices_and_narrow_embeddings() -> None:
    gated = Shape(layers=22, width=768, feed_forward=1152, vocabulary=50368, positions=8192, layer_weights=MODERN_LAYER)
    assert gated.encoder_weights == 110_297_088
    narrow = Shape(layers=12, width=256, feed_forward=1024, vocabulary=30522, positions=512, embedding=128)
    assert narrow.encoder_weights == 9_437_184
    assert narrow.vocabulary_head_weights == 256 * 128 + 128 * 30522
    assert narrow.parameters == 9_437_184 + (30522 + 512) * 128 + 256 * 256
