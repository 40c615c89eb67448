"""The first weights of the tiny encoders, drawn from a seed.

So that a few thousand steps of pre-training are enough, three heads of every layer begin as what large encoders are
known to learn first (Clark et al. 2019, arXiv 1906.04341; such structured starts are after Trockman and Kolter 2023,
arXiv 2305.09828): one looks at like words, between the first layer and the last at those of the other text, of which it
also sees the separator that ends it; one looks before a token, one behind. The last head, and everything behind the
attention weights, begins as drawn. Positions begin as sinusoids (Vaswani et al. 2017, section
3.5) in dimensions of their own, where a step is a rotation.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from harness.synthetic.encoders import ENCODERS, POSITIONS, SEED, TOKENIZER_CONFIG, Encoder
from harness.synthetic.vocabulary import SPECIAL_TOKENS, vocabulary

FASTEST, SLOWEST = 2.0, 0.05  # radians a position
REST = 0.7  # how much it looks at the separator: as a share of a like word
SEPARATOR = SPECIAL_TOKENS.index("[SEP]")
ACROSS = 0.2  # how much rather a head looks at the other text: weight of a dimension of the token type
LIKENESS, NEARNESS = 2.0, 1.2  # how sharply the formed heads look at first
# Where the heads that look nearby begin to look, around the token so many further: in the first layer, in those between
# it and the last, in the last.
WINDOWS = ((-3, 2), (-2, 2), (-2,))


def weights(encoder: Encoder) -> dict[str, np.ndarray]:
    """Every parameter by its name in the library's BertModel, float32."""
    draw = np.random.RandomState(SEED)  # frozen for good (NEP 19), unlike the newer generators
    width, spread = encoder.width, encoder.spread

    def drawn(*shape: int) -> np.ndarray:
        return spread * draw.standard_normal(shape)

    # Dimensions of their own: words the first, then token types, positions the last (as many as a head has).
    own = width // encoder.heads
    num_types = width // 8
    num_words = width - own - num_types
    words, types, positions = drawn(len(vocabulary()), width), np.zeros((2, width)), np.zeros((POSITIONS, width))
    words[:, num_words:] = 0.0
    types[:, num_words:-own] = spread * np.array([[1.0], [-1.0]])
    positions[:, -own:] = spread * sinusoids(np.arange(POSITIONS), own)
    found: dict[str, np.ndarray] = {
        "embeddings.word_embeddings.weight": words,
        "embeddings.position_embeddings.weight": positions,
        "embeddings.token_type_embeddings.weight": types,
        **_norm("embeddings.LayerNorm", width),
    }
    for i in range(encoder.layers):
        layer = f"encoder.layer.{i}"
        query, key, rest = drawn(width, width), drawn(width, width), np.zeros(width)
        is_last = i == encoder.layers - 1
        if is_last:
            look_everywhere(query, own)
        else:
            look_at_like_words(query, key, own, num_words)
            if i:
                look_across(query, key, own, slice(num_words, width - own))
                rest[:own] = REST * key[:own] @ words[SEPARATOR] / spread
        for head, step in enumerate(WINDOWS[-1 if is_last else min(i, 1)], start=1):
            look_nearby(query, key, own, head, step)
        found |= {
            **_linear(f"{layer}.attention.self.query", query, rest),
            **_linear(f"{layer}.attention.self.key", key),
            **_linear(f"{layer}.attention.self.value", drawn(width, width)),
            **_linear(f"{layer}.attention.output.dense", drawn(width, width)),
            **_norm(f"{layer}.attention.output.LayerNorm", width),
            **_linear(f"{layer}.intermediate.dense", drawn(encoder.feed_forward, width)),
            **_linear(f"{layer}.output.dense", drawn(width, encoder.feed_forward)),
            **_norm(f"{layer}.output.LayerNorm", width),
        }
    found |= _linear("pooler.dense", drawn(width, width))
    return {name: array.astype(np.float32) for name, array in found.items()}


def look_at_like_words(query: np.ndarray, key: np.ndarray, size: int, num_words: int) -> None:
    """Forms the first head (`size` rows) of drawn projections [width, width]: equal, and blind but to words."""
    query[:size, num_words:] = 0.0
    query[:size] *= LIKENESS
    key[:size] = query[:size]


def look_across(query: np.ndarray, key: np.ndarray, size: int, types: slice) -> None:
    """Forms the first head further: rather at the other text of a pair, so that a word finds its like and not itself.

    types: the dimensions of the token type, where the two texts are opposite.
    """
    query[:size, types], key[:size, types] = ACROSS, -ACROSS


def look_everywhere(query: np.ndarray, size: int) -> None:
    """Forms the first head of a drawn query projection: it takes all tokens alike."""
    query[:size] = 0.0


def look_nearby(query: np.ndarray, key: np.ndarray, size: int, head: int, step: int) -> None:
    """Forms a head of drawn projections: it sees positions alone, and looks around the one `step` further."""
    rows = slice(head * size, (head + 1) * size)
    query[rows], key[rows] = 0.0, 0.0
    query[rows, -size:] = NEARNESS * rotation(step, size)
    key[rows, -size:] = NEARNESS * np.eye(size)


def frequencies(size: int) -> np.ndarray:
    """Radians a position, one for each pair of dimensions, from fast to slow."""
    return np.geomspace(FASTEST, SLOWEST, size // 2)


def sinusoids(positions: np.ndarray, size: int) -> np.ndarray:
    """[positions, size]: the cosine and the sine of each frequency in turn."""
    angles = positions[:, None] * frequencies(size)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(len(positions), size)


def rotation(step: int, size: int) -> np.ndarray:
    """[size, size]: takes the sinusoids of a position to those of the position `step` further."""
    turned = np.zeros((size, size))
    for pair, frequency in enumerate(frequencies(size)):
        cosine, sine = np.cos(step * frequency), np.sin(step * frequency)
        turned[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = [[cosine, -sine], [sine, cosine]]
    return turned


def _linear(name: str, weight: np.ndarray, bias: np.ndarray | None = None) -> dict[str, np.ndarray]:
    return {f"{name}.weight": weight, f"{name}.bias": np.zeros(len(weight)) if bias is None else bias}


def _norm(name: str, width: int) -> dict[str, np.ndarray]:
    return {f"{name}.weight": np.ones(width), f"{name}.bias": np.zeros(width)}


def write_encoder(name: str, folder: Path) -> Path:
    """The encoder as a folder in the hub's layout; the same files every time."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    encoder = ENCODERS[name]
    (folder / "config.json").write_text(json.dumps(encoder.config(), indent=1))
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=1))
    save_file(weights(encoder), folder / "model.safetensors", {"format": "pt"})
    return folder
