"""Dynamic masking at collation: every epoch masks anew, and a resumed run masks as an uninterrupted one would.

The generator of an example is seeded by (seed, epoch, index of the example), so a mask depends neither on the order
of the batches nor on how many were drawn before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.collate import batch_length

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED_LABEL = -100  # the label that torch's cross-entropy leaves out
MASK_SHARE = 0.8  # of the selected tokens; Devlin et al. 2019, section 3.1
RANDOM_SHARE = 0.1


class MaskedLanguageModelCollator:
    """Batches of masked pairs for an encoder with a masked-language-model and a next-sentence head.

    Each token but the special ones is selected with `selection_probability`, on its own; of the selected ones 80%
    become [MASK], 10% a token drawn uniformly from the whole vocabulary, 10% stay. Special are all special tokens
    of the tokenizer, [UNK] included, as in the library's own collator. Features carry input_ids, token_type_ids,
    `index` (int >= 0, unique in the data set) and, optionally, next_sentence_label.

    kd_positions: share of the tokens of each pair that the vocabulary distillation takes, at least one. Which ones is
        drawn without replacement, anew each time, after the masks and independently of them. Below 1 the batch has
        kd_weights: tokens of the pair / tokens drawn where a token was drawn, else 0, so that a weighted sum over the
        drawn tokens has the sum over all of them as its expectation, whatever it sums.
    length: tokens of every batch; None: those of its longest pair. Masks and draws are the same at any length.
    epoch: which masks to make; the caller sets it at the start of an epoch (before the data loader starts its workers,
        which hold a copy). fixed_epoch: overrides it for good, for an evaluation with the same masks each time.
    Raises ValueError if the tokenizer has no mask or pad token, or a probability is outside [0, 1].
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int,
        selection_probability: float = 0.15,
        kd_positions: float = 1.0,
        length: int | None = None,
        epoch: int = 0,
        fixed_epoch: int | None = None,
    ) -> None:
        if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None:
            raise ValueError(
                f"the tokenizer has mask token {tokenizer.mask_token!r} and pad token {tokenizer.pad_token!r}; "
                "masking needs both."
            )
        if not 0 <= selection_probability <= 1:
            raise ValueError(f"selection_probability={selection_probability}: expected a fraction in [0, 1].")
        if not 0 < kd_positions <= 1:
            raise ValueError(f"kd_positions={kd_positions}: expected a fraction in (0, 1].")
        self.seed = seed
        self.selection_probability = selection_probability
        self.kd_positions = kd_positions
        self.length = length
        self.epoch = epoch
        self.fixed_epoch = fixed_epoch
        self.mask_id = int(tokenizer.mask_token_id)
        self.pad_id = int(tokenizer.pad_token_id)
        self.vocabulary_size = len(tokenizer)
        self._is_special = np.zeros(self.vocabulary_size, dtype=bool)
        self._is_special[list(tokenizer.all_special_ids)] = True

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """input_ids, token_type_ids, attention_mask, labels [batch, length], next_sentence_label [batch], all int64.

        And kd_weights [batch, length], fp32, where kd_positions is below 1. Labels are -100 where a token was not
        selected. Raises ValueError if a feature has no index, or more tokens than every batch.
        """
        import torch

        shape = len(features), batch_length([feature["input_ids"] for feature in features], self.length)
        input_ids = np.full(shape, self.pad_id, dtype=np.int64)
        token_type_ids = np.zeros(shape, dtype=np.int64)
        attention_mask = np.zeros(shape, dtype=np.int64)
        draws = np.ones((3, *shape))
        kd_weights = np.zeros(shape, dtype=np.float32)
        for row, feature in enumerate(features):
            length = len(feature["input_ids"])
            input_ids[row, :length] = feature["input_ids"]
            token_type_ids[row, :length] = feature["token_type_ids"]
            attention_mask[row, :length] = 1
            generator = self._generator(feature)
            draws[:, row, :length] = generator.random((3, length))
            if self.kd_positions < 1:
                drawn = math.ceil(self.kd_positions * length)
                kd_weights[row, generator.permutation(length)[:drawn]] = length / drawn

        maskable = (attention_mask == 1) & ~self._is_special[input_ids]
        masked_ids, labels = self._mask(input_ids, maskable, draws)
        arrays = {
            "input_ids": masked_ids,
            "token_type_ids": token_type_ids,
            "attention_mask": attention_mask,
            "labels": labels,
        }
        if self.kd_positions < 1:
            arrays["kd_weights"] = kd_weights
        if "next_sentence_label" in features[0]:
            arrays["next_sentence_label"] = np.array([f["next_sentence_label"] for f in features], dtype=np.int64)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _generator(self, feature: Mapping[str, Any]) -> np.random.Generator:
        if "index" not in feature:
            raise ValueError(
                f"a feature has no 'index' (found {', '.join(feature)}); masks are drawn per example. Keep the column "
                "index of the pairs data set (with the library's Trainer: remove_unused_columns=False)."
            )
        epoch = self.epoch if self.fixed_epoch is None else self.fixed_epoch
        entropy = np.random.SeedSequence([self.seed, epoch, int(feature["index"])])
        return np.random.Generator(np.random.Philox(entropy))

    def _mask(self, input_ids: np.ndarray, maskable: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Masked ids and labels from three uniform draws per token: selected?, what becomes of it, which token."""
        selecting, replacing, choosing = draws
        selected = maskable & (selecting < self.selection_probability)
        labels = np.where(selected, input_ids, IGNORED_LABEL)
        to_mask = selected & (replacing < MASK_SHARE)
        to_random = selected & ~to_mask & (replacing < MASK_SHARE + RANDOM_SHARE)
        random_ids = (choosing * self.vocabulary_size).astype(np.int64)
        masked_ids = np.where(to_mask, self.mask_id, np.where(to_random, random_ids, input_ids))
        return masked_ids, labels
