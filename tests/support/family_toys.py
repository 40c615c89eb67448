"""A toy of every family in the hub's layout: random weights, and a tokenizer of the kind that the family has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from grid_world import ROOT
from tiny_world import WORDS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, PreTrainedTokenizerFast, set_seed

BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # in the order of their ids
LAYERS, WIDTH, FEED_FORWARD = 2, 16, 32
SIZES: Mapping[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": FEED_FORWARD,
    "max_position_embeddings": 64,
}


PAGE = ROOT / "docs" / "new-encoder.md"


def declarations() -> list[str]:
    """Every block of TOML of the page for authors of families."""
    return re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Toy:
    """config: for a vocabulary of so many tokens. special: pad, unk, cls, sep, mask. attention: a kernel it has.

    matrices: the prunable Linears of a layer, with their number of weights, worked by hand. requantised: the ends of
    those whose output is rounded to 8 bits.
    """

    config: Callable[[int], Any]
    tokenizer: Callable[[], Tokenizer]
    special: tuple[str, str, str, str, str]
    matrices: Mapping[str, int]
    requantised: tuple[str, ...]
    attention: str = "sdpa"
    declaration: str | None = None  # of a family that is none of the harness's, in TOML


def words() -> list[str]:
    return [*WORDS, *(word.capitalize() for word in WORDS)]


def word_pieces() -> Tokenizer:
    """[CLS] A [SEP] B [SEP], lower-cased words."""
    vocabulary = {word: number for number, word in enumerate([*BERT_TOKENS, *WORDS])}
    found = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer()
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return found


def bytes_of_roberta() -> Tokenizer:
    """<s> A </s></s> B </s>, byte-level BPE: a word after a space is another token."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*ROBERTA_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    found.train_from_iterator([" ".join(words()), *words()], trainer)
    found.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return found


def pieces_of_deberta() -> Tokenizer:
    """[CLS] A [SEP] B [SEP], a unigram model over words that begin with the sentence-piece sign, as DeBERTa-v3's."""
    scores = [*((token, 0.0) for token in BERT_TOKENS), ("▁", -9.0)]
    scores += [(f"▁{word}", -2.0) for word in words()] + [(letter, -8.0) for letter in "abcdefghijklmnopqrstuvwxyz.?"]
    found = Tokenizer(models.Unigram(scores, unk_id=1))
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.decoder = decoders.Metaspace()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return found


def bytes_of_modernbert() -> Tokenizer:
    """[CLS] A [SEP] B [SEP], byte-level BPE, of one token type."""
    found = bytes_of_roberta()
    found = Tokenizer.from_str(
        found.to_str()
        .replace('"<s>"', '"[CLS]"')
        .replace('"<pad>"', '"[PAD]"')
        .replace('"</s>"', '"[SEP]"')
        .replace('"<unk>"', '"[UNK]"')
        .replace('"<mask>"', '"[MASK]"')
    )
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:0 [SEP]:0", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    return found


SQUARE, OBLONG = WIDTH * WIDTH, WIDTH * FEED_FORWARD
BERTS = {"attention.self.query": SQUARE, "attention.self.key": SQUARE, "attention.self.value": SQUARE} | {
    "attention.output.dense": SQUARE,
    "intermediate.dense": OBLONG,
    "output.dense": OBLONG,
}
TOYS: Mapping[str, Toy] = {
    "roberta": Toy(
        lambda count: transformers.RobertaConfig(
            **{**SIZES, "max_position_embeddings": 66}, vocab_size=count, type_vocab_size=1
        ),
        bytes_of_roberta,
        ("<pad>", "<unk>", "<s>", "</s>", "<mask>"),
        BERTS,
        ("query", "key", "intermediate.dense"),
    ),
    "electra": Toy(
        lambda count: transformers.ElectraConfig(**SIZES, vocab_size=count, embedding_size=8),
        word_pieces,
        BERT_TOKENS,
        BERTS,
        ("query", "key", "intermediate.dense"),
    ),
    "deberta-v2": Toy(
        lambda count: transformers.DebertaV2Config(
            **SIZES,
            vocab_size=count,
            type_vocab_size=0,
            relative_attention=True,
            position_buckets=8,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type="p2c|c2p",
            position_biased_input=False,
        ),
        pieces_of_deberta,
        BERT_TOKENS,
        {
            "attention.self.query_proj": SQUARE,
            "attention.self.key_proj": SQUARE,
            "attention.self.value_proj": SQUARE,
            "attention.output.dense": SQUARE,
            "intermediate.dense": OBLONG,
            "output.dense": OBLONG,
        },
        ("query_proj", "key_proj", "intermediate.dense"),
        attention="eager",
    ),
    "modernbert": Toy(
        lambda count: transformers.ModernBertConfig(
            **SIZES,
            vocab_size=count,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            cls_token_id=0,
            sep_token_id=2,
            local_attention=8,
        ),
        bytes_of_modernbert,
        BERT_TOKENS,
        {"attn.Wqkv": 3 * SQUARE, "attn.Wo": SQUARE, "mlp.Wi": 2 * OBLONG, "mlp.Wo": OBLONG},
        ("mlp.Wi",),
    ),
    "mpnet": Toy(
        lambda count: transformers.MPNetConfig(**{**SIZES, "max_position_embeddings": 66}, vocab_size=count),
        bytes_of_roberta,
        ("<pad>", "<unk>", "<s>", "</s>", "<mask>"),
        {
            **{f"attention.attn.{name}": SQUARE for name in "qkvo"},
            "intermediate.dense": OBLONG,
            "output.dense": OBLONG,
        },
        (".q", ".k", "intermediate.dense"),
        attention="eager",
        declaration=next(block for block in declarations() if 'name = "mpnet"' in block),
    ),
}


def save_tokenizer(folder: Path, toy: Toy) -> Any:
    pad, unk, cls, sep, mask = toy.special
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=toy.tokenizer(), pad_token=pad, unk_token=unk, cls_token=cls, sep_token=sep, mask_token=mask
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def make(folder: Path, name: str) -> Path:
    """The bare encoder of a family, without a head, and its tokenizer."""
    toy = TOYS[name]
    tokenizer = save_tokenizer(folder, toy)
    set_seed(7)
    config = toy.config(len(tokenizer))
    config.pad_token_id = tokenizer.pad_token_id
    AutoModel.from_config(config).save_pretrained(folder)
    if toy.declaration is not None:
        (folder / "family.toml").write_text(toy.declaration, encoding="utf-8")
    return folder
