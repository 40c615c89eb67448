"""The families that the harness knows, each an explicit list of its modules. `declared_families`: those of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.inputs.family import Family

BERT = Family(
    name="bert",
    backbone="bert",
    layers="encoder.layer.{i}",
    linears={
        "attention.self.query": ("width", "width"),
        "attention.self.key": ("width", "width"),
        "attention.self.value": ("width", "width"),
        "attention.output.dense": ("width", "width"),
        "intermediate.dense": ("feed_forward", "width"),
        "output.dense": ("width", "feed_forward"),
    },
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    embeddings={
        "embeddings.word_embeddings.weight": ("vocabulary", "width"),
        "embeddings.position_embeddings.weight": ("positions", "width"),
        "embeddings.token_type_embeddings.weight": ("token_types", "width"),
        "embeddings.LayerNorm.weight": ("width",),
        "embeddings.LayerNorm.bias": ("width",),
    },
    fp32_outputs=("attention.self.value", "attention.output.dense", "output.dense"),
    pooler="pooler.dense",
    pretraining_heads=("cls",),
    task_heads=("classifier", "qa_outputs"),
    masked_lm_transform=("cls.predictions.transform",),
    masked_lm_decoder="cls.predictions.decoder",
    next_sentence="cls.seq_relationship",
    architecture={
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    },
    sizes={
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
        "token_types": "type_vocab_size",
    },
)

DISTILBERT = Family(
    name="distilbert",
    backbone="distilbert",
    layers="transformer.layer.{i}",
    linears={
        "attention.q_lin": ("width", "width"),
        "attention.k_lin": ("width", "width"),
        "attention.v_lin": ("width", "width"),
        "attention.out_lin": ("width", "width"),
        "ffn.lin1": ("feed_forward", "width"),
        "ffn.lin2": ("width", "feed_forward"),
    },
    norms=("sa_layer_norm", "output_layer_norm"),
    embeddings={
        "embeddings.word_embeddings.weight": ("vocabulary", "width"),
        "embeddings.position_embeddings.weight": ("positions", "width"),
        "embeddings.LayerNorm.weight": ("width",),
        "embeddings.LayerNorm.bias": ("width",),
    },
    fp32_outputs=("attention.v_lin", "attention.out_lin", "ffn.lin2"),
    pretraining_heads=("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    task_heads=("pre_classifier", "classifier", "qa_outputs"),
    masked_lm_transform=("vocab_transform", "activation", "vocab_layer_norm"),
    masked_lm_decoder="vocab_projector",
    token_types=False,
    architecture={
        "n_layers": 6,
        "dim": 768,
        "n_heads": 12,
        "hidden_dim": 3072,
        "activation": "gelu",
        "vocab_size": 30522,
        "max_position_embeddings": 512,
    },
    sizes={
        "layers": "n_layers",
        "width": "dim",
        "heads": "n_heads",
        "feed_forward": "hidden_dim",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
    aliases={"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"},
)

# RobertaForMaskedLM; its layers are BERT's. Positions are counted from pad_token_id + 1, so that of 514 embeddings 512
# are used; its one token type says nothing. A task's model has no pooler, though a folder may bring one.
ROBERTA = replace(
    BERT,
    name="roberta",
    backbone="roberta",
    pretraining_heads=("lm_head",),
    task_heads=("classifier.dense", "classifier.out_proj", "qa_outputs"),
    masked_lm_transform=("lm_head.dense", "gelu()", "lm_head.layer_norm"),
    masked_lm_decoder="lm_head.decoder",
    next_sentence=None,
    architecture={**BERT.architecture, "vocab_size": 50265, "pad_token_id": 1},
    token_types=False,
    special_tokens={
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
    },
    positions_after="pad_token_id",
)

# The discriminator, and the generator's masked-LM head on it: a discriminator's folder has none, and teacher
# preparation trains one. Embeddings narrower than the encoder are projected to its width.
ELECTRA = replace(
    BERT,
    name="electra",
    backbone="electra",
    embeddings={
        "embeddings.word_embeddings.weight": ("vocabulary", "embedding"),
        "embeddings.position_embeddings.weight": ("positions", "embedding"),
        "embeddings.token_type_embeddings.weight": ("token_types", "embedding"),
        "embeddings.LayerNorm.weight": ("embedding",),
        "embeddings.LayerNorm.bias": ("embedding",),
    },
    projections={"embeddings_project": ("width", "embedding")},
    pooler=None,
    pretraining_heads=("discriminator_predictions", "generator_predictions", "generator_lm_head"),
    task_heads=("classifier.dense", "classifier.out_proj", "qa_outputs"),
    masked_lm_transform=("generator_predictions",),
    masked_lm_decoder="generator_lm_head",
    next_sentence=None,
    architecture={
        **BERT.architecture,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "embedding_size": 128,
    },
    sizes={**BERT.sizes, "embedding": "embedding_size"},
)

# DeBERTa-v3, whose model_type is that of version 2. Positions are relative: one table of embeddings for all layers,
# which each layer's query and key matrices multiply too. The other layouts that the library has under this name
# (absolute positions, a convolution, matrices for positions) are refused.
DEBERTA_V3 = Family(
    name="deberta-v2",
    backbone="deberta",
    layers="encoder.layer.{i}",
    linears={
        "attention.self.query_proj": ("width", "width"),
        "attention.self.key_proj": ("width", "width"),
        "attention.self.value_proj": ("width", "width"),
        "attention.output.dense": ("width", "width"),
        "intermediate.dense": ("feed_forward", "width"),
        "output.dense": ("width", "feed_forward"),
    },
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    embeddings={
        "embeddings.word_embeddings.weight": ("vocabulary", "width"),
        "embeddings.LayerNorm.weight": ("width",),
        "embeddings.LayerNorm.bias": ("width",),
        "encoder.rel_embeddings.weight": ("2*buckets", "width"),
        "encoder.LayerNorm.weight": ("width",),
        "encoder.LayerNorm.bias": ("width",),
    },
    fp32_outputs=("attention.self.value_proj", "attention.output.dense", "output.dense"),
    pretraining_heads=("cls", "lm_predictions", "mask_predictions"),
    task_heads=("pooler.dense", "classifier", "qa_outputs"),
    masked_lm_transform=("cls.predictions.transform",),
    masked_lm_decoder="cls.predictions.decoder",
    architecture={
        "num_hidden_layers": 24,
        "hidden_size": 1536,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
        "hidden_act": "gelu",
        "vocab_size": 128100,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
        "relative_attention": False,
        "max_relative_positions": -1,
        "position_buckets": -1,
        "pos_att_type": None,
        "share_att_key": False,
        "norm_rel_ebd": "none",
        "position_biased_input": True,
        "conv_kernel_size": 0,
        "legacy": True,
    },
    sizes={
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
        "buckets": "position_buckets",
    },
    fixed={
        "relative_attention": True,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "conv_kernel_size": 0,
        "legacy": True,
    },
    token_types=False,
    attention=("eager",),
)

# No biases; query, key and value in one matrix; the feed-forward part's first matrix is its gate and its value, one
# above the other. The first layer has no norm before its attention: the embeddings' stands there. Positions rotate, and
# have no tensor. One head's dense part serves masked LM and every task.
MODERNBERT = Family(
    name="modernbert",
    backbone="model",
    layers="layers.{i}",
    linears={
        "attn.Wqkv": ("3*width", "width"),
        "attn.Wo": ("width", "width"),
        "mlp.Wi": ("2*feed_forward", "width"),
        "mlp.Wo": ("width", "feed_forward"),
    },
    norms=("attn_norm", "mlp_norm"),
    absent=("layers.0.attn_norm",),
    biases=False,
    embeddings={
        "embeddings.tok_embeddings.weight": ("vocabulary", "width"),
        "embeddings.norm.weight": ("width",),
        "final_norm.weight": ("width",),
    },
    fp32_outputs=("attn.Wqkv", "attn.Wo", "mlp.Wo"),
    pretraining_heads=("head", "decoder"),
    task_heads=("head.dense", "classifier"),
    masked_lm_transform=("head",),
    masked_lm_decoder="decoder",
    architecture={
        "num_hidden_layers": 22,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 1152,
        "hidden_activation": "gelu",
        "vocab_size": 50368,
        "max_position_embeddings": 8192,
        "local_attention": 128,
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "sparse_prediction": False,
    },
    sizes={
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
    fixed={
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "sparse_prediction": False,
    },
    token_types=False,
)

FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (BERT, DISTILBERT, ROBERTA, ELECTRA, DEBERTA_V3, MODERNBERT)
}
