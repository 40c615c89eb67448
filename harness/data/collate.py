"""Dynamic padding for the tasks: a batch is as long as its longest example. (Pre-training: `harness.data.masking`.)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

TENSOR_COLUMNS = ("input_ids", "token_type_ids", "attention_mask", "labels", "start_positions", "end_positions")


class PaddingCollator:
    """Batches of task features: input_ids, token_type_ids and attention_mask padded, labels or positions stacked.

    Every other column (index, length, offsets, ids of questions) stays behind. Padding is the library's, on the
    tokenizer's padding side; pad positions have attention_mask 0.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import DataCollatorWithPadding

        self._pad = DataCollatorWithPadding(tokenizer)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Tensors [batch, length] for the padded columns, [batch] for the others, all int64."""
        return dict(self._pad([{name: f[name] for name in TENSOR_COLUMNS if name in f} for f in features]))
